//! What the control plane knows, as updates.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use outrigger_catalog::model::{Actor, Deployment, DeploymentStatus};
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_engine::{Engine, EngineError, News};
use outrigger_ingest::Ingest;
use outrigger_logbook::{Followed, Follower, LogBook, LogEntry, LogFilter, LogLine};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::request::Topic;
use crate::source::{Feed, Source, Subject};
use crate::update::{LogUpdate, Metrics, MetricsUpdate, StatusUpdate, Update};

/// Between two updates of a deployment's metrics, and between two looks at its instances.
const EVERY: Duration = Duration::from_secs(1);
/// Response times of the last moments, so that a second without an answer is no gap.
const RECENT: Duration = Duration::from_secs(5);
/// Of the response times, in a hundred.
const QUANTILE: f64 = 0.95;

/// The log book, the engine and ingest as one source.
#[derive(Debug, Clone)]
pub struct Telemetry {
    pub catalog: Catalog,
    pub logs: LogBook,
    pub engine: Engine,
    pub ingest: Ingest,
}

impl Source for Telemetry {
    fn updates(&self, topic: Topic, subject: Subject) -> BoxStream<'static, Feed> {
        match topic {
            Topic::Logs => self.logs(subject.deployment),
            Topic::Status => self.status(subject),
            Topic::Metrics => self.metrics(subject),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Telemetry {
    fn logs(&self, deployment: DeploymentId) -> BoxStream<'static, Feed> {
        let follower = self.logs.follow(deployment, LogFilter::default(), None);
        let next = |mut follower: Follower| async move {
            match follower.next().await {
                Ok(followed) => Some((followed?, follower)),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a log could not be followed further");
                    None
                }
            }
        };
        let feeds = move |followed| match followed {
            Followed::Lines(lines) => {
                let updates =
                    lines.into_iter().map(move |line| Feed::Update(Update::Log(log_update(deployment, &line))));
                stream::iter(updates).left_stream()
            }
            Followed::Lagged(count) => stream::iter([Feed::Missed(count)]).right_stream(),
        };
        stream::unfold(follower, next).flat_map(feeds).boxed()
    }

    fn metrics(&self, subject: Subject) -> BoxStream<'static, Feed> {
        let Subject { organization, deployment } = subject;
        let (catalog, ingest) = (self.catalog.clone(), self.ingest.clone());
        let actor = Actor::system(organization);
        stream::unfold(every(EVERY), move |mut ticks| {
            let (catalog, ingest, actor) = (catalog.clone(), ingest.clone(), actor.clone());
            async move {
                ticks.tick().await;
                // Nobody tells of the end of a window.
                match catalog.deployment(&actor, deployment).await {
                    Ok(deployment) if deployment.status == DeploymentStatus::Destroyed => return None,
                    Err(CatalogError::NotFound { .. }) => return None,
                    // What there is in memory is told, whatever the store has.
                    Ok(_) | Err(_) => {}
                }
                Some((Feed::Update(Update::Metrics(metrics_update(&ingest, deployment))), ticks))
            }
        })
        .boxed()
    }

    fn status(&self, subject: Subject) -> BoxStream<'static, Feed> {
        let watch = StatusWatch {
            // Before the first look, so that nothing between the two is missed.
            news: self.engine.subscribe(),
            engine: self.engine.clone(),
            actor: Actor::system(subject.organization),
            deployment: subject.deployment,
            ticks: every(EVERY),
            told: None,
            changed_at: UnixMillis::EPOCH,
        };
        let next = |mut watch: StatusWatch| async move {
            let update = watch.next().await?;
            Some((Feed::Update(Update::Status(update)), watch))
        };
        stream::unfold(watch, next).boxed()
    }
}

fn metrics_update(ingest: &Ingest, deployment_id: DeploymentId) -> MetricsUpdate {
    let timestamp = UnixMillis::now();
    let usage = ingest.window(deployment_id, |window| window.usage(timestamp, RECENT)).unwrap_or_default();
    let metrics = Metrics {
        cpu: usage.mean(Metric::Cpu),
        memory: usage.mean(Metric::Memory),
        requests: usage.sum(Metric::Requests),
        response_time: usage.latency.quantile(QUANTILE).map(|time| time.as_secs_f64() * 1e3),
    };
    MetricsUpdate { deployment_id, timestamp, metrics }
}

fn log_update(deployment_id: DeploymentId, line: &LogLine) -> LogUpdate {
    let (stream, level, message, truncated, dropped) = match &line.entry {
        LogEntry::Written { stream, level, message, truncated } => {
            (*stream, *level, message.to_string(), *truncated, None)
        }
        LogEntry::Dropped { lines } => {
            let message = format!("{lines} lines were dropped here");
            (LogStream::Agent, Level::Warn, message, false, Some(*lines))
        }
    };
    let (instance_id, timestamp, number) = (line.instance, line.at, line.number);
    LogUpdate { deployment_id, instance_id, timestamp, level, stream, message, truncated, number, dropped }
}

/// Follows one deployment: what the engine tells of it at once, what its instances do at the next look.
struct StatusWatch {
    news: broadcast::Receiver<News>,
    engine: Engine,
    actor: Actor,
    deployment: DeploymentId,
    ticks: Interval,
    /// What was told last, and since when the deployment had been so.
    told: Option<StatusUpdate>,
    changed_at: UnixMillis,
}

impl StatusWatch {
    /// Waits until something is new. After the end of the deployment there is nothing.
    async fn next(&mut self) -> Option<StatusUpdate> {
        let destroyed = DeploymentStatus::Destroyed.name();
        if self.told.as_ref().is_some_and(|told| told.status == destroyed) {
            return None;
        }
        loop {
            let seen = tokio::select! {
                news = self.news.recv() => match news {
                    Ok(News::Deployment(deployment)) if self.is_newer(&deployment) => {
                        let ready = self.told.as_ref().map_or(0, |told| told.ready_replicas);
                        Some((status_update(&deployment, ready), deployment.updated_at))
                    }
                    // What was missed is seen at the next look.
                    Ok(_) | Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ticks.tick() => match self.look().await {
                    Look::Seen(update, changed_at) => Some((update, changed_at)),
                    Look::Gone => return None,
                    Look::Unknown => None,
                },
            };
            if let Some((seen, changed_at)) = seen
                && self.told.as_ref().is_none_or(|told| !told.says_as(&seen))
            {
                self.changed_at = changed_at;
                self.told = Some(seen.clone());
                return Some(seen);
            }
        }
    }

    /// Whether news are of this deployment, and not older than what a look has shown already.
    fn is_newer(&self, deployment: &Deployment) -> bool {
        deployment.id == self.deployment && deployment.updated_at >= self.changed_at
    }

    async fn look(&self) -> Look {
        match self.engine.status(&self.actor, self.deployment).await {
            Ok(view) => Look::Seen(status_update(&view.deployment, view.ready), view.deployment.updated_at),
            Err(EngineError::Catalog(CatalogError::NotFound { .. })) => Look::Gone,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a status could not be read");
                Look::Unknown
            }
        }
    }
}

/// What a look at a deployment shows.
enum Look {
    /// And since when it has been so.
    Seen(StatusUpdate, UnixMillis),
    Gone,
    Unknown,
}

fn status_update(deployment: &Deployment, ready_replicas: u32) -> StatusUpdate {
    StatusUpdate {
        deployment_id: deployment.id,
        status: deployment.status.name(),
        reason: deployment.status_reason.clone(),
        desired_replicas: deployment.desired_replicas,
        ready_replicas,
        paused: deployment.paused,
        timestamp: UnixMillis::now(),
    }
}
