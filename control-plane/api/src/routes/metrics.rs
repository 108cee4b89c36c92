//! A deployment's recent metrics, out of memory.

use std::time::Duration;

use axum::extract::State;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::{UnixMillis, write_duration};
use outrigger_scaling::WindowConfig;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Query, shown};
use crate::shape::Problems;
use crate::shape::instance::InstanceMetrics;
use crate::shape::metric::MetricSeries;
use crate::state::ApiState;
use crate::text::{TIME, parse_duration, parse_time};

const DEFAULT_METRICS: &str = "cpu,memory,requests,response_time_p95";
const DEFAULT_SPAN: Duration = Duration::from_secs(300);
const DEFAULT_STEP: Duration = Duration::from_secs(1);
/// Points of one series in one answer.
const MOST_POINTS: usize = 3_600;
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
    /// RFC 3339 or Unix milliseconds; now by default.
    to: Option<String>,
    /// Whole seconds, 1s by default, at most as long as metrics are kept.
    step: Option<String>,
}

/// Recent metrics, averaged over the instances
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
    let series = asked.metrics.iter().map(|name| MetricSeries {
        metric: name.clone(),
        unit: name.parse::<Metric>().ok().map(|metric| metric.unit().name()),
        step_ms: millis(asked.step),
        points: asked.points(|kept| {
            state.ingest.window(id, |window| window.series(name, asked.to, asked.step, kept)).unwrap_or_default()
        }),
    });
    Ok(ok(series.collect()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The readings of this moment.
pub(super) fn now(state: &ApiState, id: DeploymentId) -> InstanceMetrics {
    let latest = |name: &str| {
        let values = state.ingest.window(id, |window| window.series(name, UnixMillis::now(), DEFAULT_STEP, 5));
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
    to: UnixMillis,
    step: Duration,
    points: usize,
}

impl Asked {
    /// Every point that was asked for with its time, ending at `to`. `values` gives the newest of them, as many as it is
    /// asked for or fewer: beyond what the window can hold, nothing is known and nothing is computed.
    fn points(&self, values: impl FnOnce(usize) -> Vec<f64>) -> Vec<(u64, Option<f64>)> {
        let memory = WindowConfig::default();
        let kept = (memory.resolution * u32::try_from(memory.points).unwrap_or(u32::MAX)).as_millis();
        let kept = usize::try_from(kept / self.step.as_millis().max(1)).unwrap_or(usize::MAX).saturating_add(1);
        let values = values(kept.min(self.points));
        let unknown = self.points.saturating_sub(values.len());
        let values = std::iter::repeat_n(f64::NAN, unknown).chain(values);
        let ages = (0..self.points as u64).rev();
        let (end, step) = (self.to.as_millis(), millis(self.step));
        values
            .zip(ages)
            .map(|(value, age)| (end.saturating_sub(age * step), Some(value).filter(|value| value.is_finite())))
            .collect()
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
                _ => {
                    problems.add(shown(&name), "is not a field of this request; known: metric, from, to, step");
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
        let memory = WindowConfig::default();
        let longest = memory.resolution * u32::try_from(memory.points).unwrap_or(u32::MAX);
        let expected = format!("whole seconds, {} to {}", write_duration(memory.resolution), write_duration(longest));
        let step = problems.parse("step", self.step.as_deref(), &expected, |text| {
            let is_whole = |step: &Duration| step.as_millis().is_multiple_of(memory.resolution.as_millis().max(1));
            parse_duration(text).filter(|step| (memory.resolution..=longest).contains(step)).filter(is_whole)
        });
        let step = step.unwrap_or(DEFAULT_STEP);
        if from >= to {
            problems.add("from", "has to be before `to` and not in the future");
        }
        let points = usize::try_from(to.since(from).as_millis() / step.as_millis().max(1)).unwrap_or(usize::MAX).max(1);
        if points > MOST_POINTS {
            problems.add("step", format!("gives {points} points, more than {MOST_POINTS}: use a longer step"));
        }
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
        problems.finish(|| Asked { metrics, to, step, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_defaults_to_the_last_five_minutes_by_the_second() {
        let asked = Range::default().check(UnixMillis::from_millis(10_000_000)).unwrap();
        assert_eq!((asked.points, asked.metrics.len()), (300, 4));
    }

    #[test]
    fn what_is_older_than_memory_is_shown_as_unknown_and_not_computed() {
        let range = Range { step: Some("10s".to_owned()), from: Some("0".to_owned()), ..Range::default() };
        let asked = range.check(UnixMillis::from_millis(10_000_000)).unwrap();
        assert_eq!(asked.points, 1_000);
        let points = asked.points(|kept| {
            assert!(kept < 100, "{kept} points are computed");
            vec![1.0, f64::NAN, 3.0]
        });
        assert_eq!(points.len(), 1_000);
        assert_eq!(
            points[996..],
            [(9_970_000, None), (9_980_000, Some(1.0)), (9_990_000, None), (10_000_000, Some(3.0))]
        );
    }

    #[test]
    fn a_metric_may_be_named_more_than_once_and_nothing_else_may() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let range = Range::from_pairs(vec![pair("metric", "cpu,memory"), pair("metric", "cpu"), pair("metric", "x")]);
        let asked = range.unwrap().check(UnixMillis::from_millis(10_000_000)).unwrap();
        assert_eq!(asked.metrics, ["cpu", "memory", "x"]);
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
        };
        let error = range.check(UnixMillis::from_millis(10_000_000)).unwrap_err();
        let fields: Vec<&str> = error.details.iter().map(|d| d.field.as_str()).collect();
        assert_eq!(fields, ["from", "step", "metric"]);
    }
}
