//! A deployment's metrics over time, out of its history.

use std::time::Duration;

use axum::extract::State;
use outrigger_archive::{Aggregate, Query as Question, QueryError};
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::metric::{Metric, Unit};
use outrigger_protocol::time::UnixMillis;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Detail, Failure};
use crate::extract::{Id, Query, shown};
use crate::shape::Problems;
use crate::shape::instance::InstanceMetrics;
use crate::shape::metric::MetricSeries;
use crate::state::ApiState;
use crate::text::{TIME, parse_duration, parse_time};

const DEFAULT_METRICS: &str = "cpu,memory,requests,response_time_p95";
const DEFAULT_SPAN: Duration = Duration::from_secs(300);
/// The steps that can be asked for: whole multiples of the shortest.
const SHORTEST_STEP: Duration = Duration::from_secs(1);
const LONGEST_STEP: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How far back the newest values are looked for that stand for now.
const NOW_POINTS: usize = 5;
/// Series in one answer.
const MOST_SERIES: usize = 64;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(query))
}

/// The parameters as they are: `metric` may be there more than once.
type Pairs = Vec<(String, String)>;

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Range {
    /// Names, separated by commas or given one by one; `cpu,memory,requests,response_time_p95` by default.
    metric: Option<String>,
    /// RFC 3339 or Unix milliseconds; five minutes before `to` by default.
    from: Option<String>,
    /// RFC 3339 or Unix milliseconds; now by default. What is at `to` is not in the answer.
    to: Option<String>,
    /// Whole seconds, 1s to 30d; by default one that gives at most some 500 points. Steps begin at its multiples.
    step: Option<String>,
    /// What is told of the samples of a step: `avg` (default), `min`, `max`, `sum`, `last`, `count`, `total`, `rate`; of
    /// `response_time` also `p50`, `p95`, `p99`.
    aggregate: Option<String>,
    /// The id of one instance; the deployment as a whole by default.
    instance: Option<String>,
}

/// Metrics over time, of a deployment as a whole or of one of its instances
#[utoipa::path(
    operation_id = "queryMetrics",
    get, path = "/api/deployments/{id}/metrics", tag = "instances", params(("id" = String, Path), Range),
    responses((status = 200, body = Envelope<Vec<MetricSeries>>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn query(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    Query(pairs): Query<Pairs>,
) -> Result<Answer<Vec<MetricSeries>>, ApiError> {
    state.catalog.deployment(&actor, id).await?;
    let asked = Range::from_pairs(pairs)?.check(UnixMillis::now())?;
    let mut series = Vec::with_capacity(asked.metrics.len());
    for metric in &asked.metrics {
        let answer = state.archive.query(asked.question(id, metric)).await.map_err(refused)?;
        series.push(MetricSeries {
            metric: metric.clone(),
            unit: unit(metric, asked.aggregate),
            aggregate: asked.aggregate.name(),
            instance: asked.instance.map(|instance| instance.to_string()),
            step_ms: millis(answer.step),
            resolution_ms: millis(answer.resolution),
            points: answer
                .timed()
                .map(|(at, value)| (at.as_millis(), value.filter(|value| value.is_finite())))
                .collect(),
        });
    }
    Ok(ok(series))
}

fn refused(error: QueryError) -> ApiError {
    use outrigger_archive::RangeError;
    let field = match &error {
        QueryError::Asked(RangeError::Range) => "from",
        QueryError::Asked(RangeError::Step | RangeError::TooManyPoints { .. }) => "step",
        QueryError::Asked(_) | QueryError::Aggregate { .. } => "aggregate",
        _ => return ApiError::internal(&error),
    };
    ApiError::validation(vec![Detail::new(field, error.to_string())])
}

/// What the numbers of an answer count; of a program's own metric nobody knows.
fn unit(metric: &str, aggregate: Aggregate) -> Option<&'static str> {
    let own = match metric {
        "response_time" => Some(Unit::Milliseconds),
        name => name.parse::<Metric>().ok().map(Metric::unit),
    };
    match aggregate {
        Aggregate::Count => Some(Unit::Count.name()),
        Aggregate::Rate if own.is_some() => Some(Unit::PerSecond.name()),
        _ => own.map(Unit::name),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The readings of this moment.
pub(super) fn now(state: &ApiState, id: DeploymentId) -> InstanceMetrics {
    let latest = |name: &str| {
        let series = |window: &outrigger_scaling::window::DeploymentWindow| {
            window.series(name, UnixMillis::now(), SHORTEST_STEP, NOW_POINTS)
        };
        let values = state.ingest.window(id, series);
        values.into_iter().flatten().rev().find(|value| value.is_finite())
    };
    InstanceMetrics {
        cpu: latest(Metric::Cpu.name()),
        memory: latest(Metric::Memory.name()),
        requests: latest(Metric::Requests.name()),
        response_time: latest(Metric::ResponseTimeP95.name()),
    }
}

#[derive(Debug)]
struct Asked {
    metrics: Vec<String>,
    from: UnixMillis,
    to: UnixMillis,
    step: Option<Duration>,
    aggregate: Aggregate,
    instance: Option<InstanceId>,
}

impl Asked {
    fn question(&self, deployment: DeploymentId, metric: &str) -> Question {
        let Self { from, to, step, aggregate, instance, .. } = *self;
        Question { deployment, instance, metric: metric.to_owned(), from, to, step, aggregate }
    }
}

impl Range {
    fn from_pairs(pairs: Pairs) -> Result<Self, ApiError> {
        let mut range = Self::default();
        let mut problems = Problems::default();
        for (name, value) in pairs {
            let field = match name.as_str() {
                "metric" => {
                    let metric = range.metric.get_or_insert_default();
                    metric.push(',');
                    metric.push_str(&value);
                    continue;
                }
                "from" => &mut range.from,
                "to" => &mut range.to,
                "step" => &mut range.step,
                "aggregate" => &mut range.aggregate,
                "instance" => &mut range.instance,
                _ => {
                    let known = "metric, from, to, step, aggregate, instance";
                    problems.add(shown(&name), format!("is not a field of this request; known: {known}"));
                    continue;
                }
            };
            if field.replace(value).is_some() {
                problems.add(name, "is given twice");
            }
        }
        problems.finish(|| range)
    }

    fn check(&self, now: UnixMillis) -> Result<Asked, ApiError> {
        let mut problems = Problems::default();
        // Nothing is known of the future.
        let to = problems.parse("to", self.to.as_deref(), TIME, parse_time).unwrap_or(now).min(now);
        let from = problems.parse("from", self.from.as_deref(), TIME, parse_time);
        let from = from.unwrap_or_else(|| to.saturating_sub(DEFAULT_SPAN));
        let step = problems.parse("step", self.step.as_deref(), "whole seconds, 1s to 30d", |text| {
            let is_whole = |step: &Duration| step.as_millis().is_multiple_of(SHORTEST_STEP.as_millis());
            parse_duration(text).filter(|step| (SHORTEST_STEP..=LONGEST_STEP).contains(step)).filter(is_whole)
        });
        if from >= to {
            problems.add("from", "has to be before `to` and not in the future");
        }
        let names = Aggregate::ALL.map(Aggregate::name).join(", ");
        let aggregate = problems.parse("aggregate", self.aggregate.as_deref(), &names, Aggregate::of_name);
        let instance = problems.parse("instance", self.instance.as_deref(), "the id of an instance", |text| {
            text.parse::<InstanceId>().ok()
        });
        let names = self.metric.as_deref().unwrap_or(DEFAULT_METRICS);
        let mut metrics: Vec<String> = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !metrics.iter().any(|present| present == name) {
                metrics.push(name.to_owned());
            }
        }
        if metrics.is_empty() || metrics.len() > MOST_SERIES {
            problems.add("metric", format!("has to name 1 to {MOST_SERIES} metrics"));
        }
        let aggregate = aggregate.unwrap_or(Aggregate::Avg);
        problems.finish(|| Asked { metrics, from, to, step, aggregate, instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(10_000_000);

    #[test]
    fn a_range_defaults_to_the_last_five_minutes() {
        let asked = Range::default().check(NOW).unwrap();
        assert_eq!((asked.to.since(asked.from), asked.metrics.len()), (DEFAULT_SPAN, 4));
        assert_eq!((asked.step, asked.aggregate, asked.instance), (None, Aggregate::Avg, None));
    }

    #[test]
    fn a_metric_may_be_named_more_than_once_and_nothing_else_may() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let range = Range::from_pairs(vec![pair("metric", "cpu,memory"), pair("metric", "cpu"), pair("metric", "x")]);
        assert_eq!(range.unwrap().check(NOW).unwrap().metrics, ["cpu", "memory", "x"]);
        for pairs in [vec![pair("step", "1s"), pair("step", "2s")], vec![pair("metrics", "cpu")]] {
            assert_eq!(Range::from_pairs(pairs).unwrap_err().details.len(), 1);
        }
    }

    #[test]
    fn every_problem_of_a_range_is_named_at_once() {
        let range = Range {
            metric: Some(String::new()),
            from: Some("yesterday".to_owned()),
            to: None,
            step: Some("0s".to_owned()),
            aggregate: Some("mean".to_owned()),
            instance: Some("web-1".to_owned()),
        };
        let error = range.check(NOW).unwrap_err();
        let fields: Vec<&str> = error.details.iter().map(|d| d.field.as_str()).collect();
        assert_eq!(fields, ["from", "step", "aggregate", "instance", "metric"]);
    }

    #[test]
    fn the_unit_follows_from_what_is_told() {
        assert_eq!(unit("cpu", Aggregate::Max), Some("percent"));
        assert_eq!(unit("cpu", Aggregate::Count), Some("count"));
        assert_eq!(unit("response_time", Aggregate::P95), Some("ms"));
        assert_eq!(unit("jobs_total", Aggregate::Rate), None);
    }
}
