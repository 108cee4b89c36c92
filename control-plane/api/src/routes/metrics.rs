//! A deployment's recent metrics, out of memory.

use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Query};
use crate::shape::instance::InstanceMetrics;
use crate::shape::metric::MetricSeries;
use crate::shape::{DURATION, Problems};
use crate::state::ApiState;
use crate::text::parse_duration;

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

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Range {
    /// Names, separated by commas; `cpu,memory,requests,response_time_p95` by default.
    metric: Option<String>,
    /// RFC 3339 or Unix milliseconds; five minutes before `to` by default.
    from: Option<String>,
    /// RFC 3339 or Unix milliseconds; now by default.
    to: Option<String>,
    /// 1s by default.
    step: Option<String>,
}

/// Recent metrics, averaged over the instances
#[utoipa::path(
    get, path = "/api/deployments/{id}/metrics", tag = "instances", params(("id" = String, Path), Range),
    responses((status = 200, body = Envelope<Vec<MetricSeries>>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn query(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    Query(range): Query<Range>,
) -> Result<Answer<Vec<MetricSeries>>, ApiError> {
    state.catalog.deployment(&actor, id).await?;
    let asked = range.check(UnixMillis::now())?;
    let step_ms = u64::try_from(asked.step.as_millis()).unwrap_or(u64::MAX);
    let series = asked.metrics.iter().map(|name| {
        let values = state.ingest.window(id, |window| window.series(name, asked.to, asked.step, asked.points));
        let start = asked.to.as_millis().saturating_sub(step_ms.saturating_mul(asked.points as u64 - 1));
        let values = values.unwrap_or_else(|| vec![f64::NAN; asked.points]);
        let times = (0u64..).map(|index| start + index * step_ms);
        let points = times.zip(values).map(|(time, value)| (time, Some(value).filter(|value| value.is_finite())));
        MetricSeries {
            metric: name.clone(),
            unit: name.parse::<Metric>().ok().map(|metric| metric.unit().name()),
            step_ms,
            points: points.collect(),
        }
    });
    Ok(ok(series.collect()))
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

impl Range {
    fn check(&self, now: UnixMillis) -> Result<Asked, ApiError> {
        const TIME: &str = "a time such as 2026-01-31T12:00:00Z, or Unix milliseconds";
        let mut problems = Problems::default();
        let to = problems.parse("to", self.to.as_deref(), TIME, parse_time).unwrap_or(now);
        let from = problems.parse("from", self.from.as_deref(), TIME, parse_time);
        let from = from.unwrap_or_else(|| to.saturating_sub(DEFAULT_SPAN));
        let step = problems
            .parse("step", self.step.as_deref(), DURATION, |text| parse_duration(text).filter(|step| !step.is_zero()));
        let step = step.unwrap_or(DEFAULT_STEP);
        if from >= to {
            problems.add("from", "has to be before `to`");
        }
        let points = usize::try_from(to.since(from).as_millis() / step.as_millis().max(1)).unwrap_or(usize::MAX).max(1);
        if points > MOST_POINTS {
            problems.add("step", format!("gives {points} points, more than {MOST_POINTS}: use a longer step"));
        }
        let names = self.metric.as_deref().unwrap_or(DEFAULT_METRICS);
        let metrics: Vec<String> =
            names.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        if metrics.is_empty() || metrics.len() > MOST_SERIES {
            problems.add("metric", format!("has to name 1 to {MOST_SERIES} metrics"));
        }
        problems.finish(|| Asked { metrics, to, step, points })
    }
}

fn parse_time(text: &str) -> Option<UnixMillis> {
    if let Ok(millis) = text.parse::<u64>() {
        return Some(UnixMillis::from_millis(millis));
    }
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis::from_millis)
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
