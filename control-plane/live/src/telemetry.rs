//! What the control plane knows, as updates.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, Deployment, DeploymentStatus};
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
    pub logs: LogBook,
    pub engine: Engine,
    pub ingest: Ingest,
}

impl Source for Telemetry {
    fn updates(&self, topic: Topic, subject: Subject) -> BoxStream<'static, Feed> {
        match topic {
            Topic::Logs => self.logs(subject.deployment),
            Topic::Status => self.status(subject),
            Topic::Metrics => self.metrics(subject.deployment),
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

    fn metrics(&self, deployment: DeploymentId) -> BoxStream<'static, Feed> {
        let ingest = self.ingest.clone();
        stream::unfold((ingest, every(EVERY)), move |(ingest, mut ticks)| async move {
            ticks.tick().await;
            let timestamp = UnixMillis::now();
            let usage = ingest.window(deployment, |window| window.usage(timestamp, RECENT)).unwrap_or_default();
            let metrics = Metrics {
                cpu: usage.mean(Metric::Cpu),
                memory: usage.mean(Metric::Memory),
                requests: usage.sum(Metric::Requests),
                response_time: usage.latency.quantile(QUANTILE).map(|time| time.as_secs_f64() * 1e3),
            };
            let update = MetricsUpdate { deployment_id: deployment, timestamp, metrics };
            Some((Feed::Update(Update::Metrics(update)), (ingest, ticks)))
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
        };
        let next = |mut watch: StatusWatch| async move {
            let update = watch.next().await?;
            Some((Feed::Update(Update::Status(update)), watch))
        };
        stream::unfold(watch, next).boxed()
    }
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
    /// What was told last.
    told: Option<StatusUpdate>,
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
                    Ok(News::Deployment(deployment)) if deployment.id == self.deployment => {
                        let ready = self.told.as_ref().map_or(0, |told| told.ready_replicas);
                        Some(status_update(&deployment, ready))
                    }
                    // What was missed is seen at the next look.
                    Ok(_) | Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ticks.tick() => self.look().await,
            };
            if let Some(seen) = seen
                && self.told.as_ref().is_none_or(|told| !told.says_as(&seen))
            {
                self.told = Some(seen.clone());
                return Some(seen);
            }
        }
    }

    async fn look(&self) -> Option<StatusUpdate> {
        match self.engine.status(&self.actor, self.deployment).await {
            Ok(view) => Some(status_update(&view.deployment, view.ready)),
            Err(EngineError::Catalog(CatalogError::NotFound { .. })) => self.told.as_ref().map(|told| StatusUpdate {
                status: DeploymentStatus::Destroyed.name(),
                desired_replicas: 0,
                ready_replicas: 0,
                timestamp: UnixMillis::now(),
                ..told.clone()
            }),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a status could not be read");
                None
            }
        }
    }
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
