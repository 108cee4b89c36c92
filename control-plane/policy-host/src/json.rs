//! Inputs and proposals as JSON: for `outrigger policy eval`, for decision records, for tests.
//!
//! The fields are those of the WIT records in camelCase. NaN is `null`. The state is Base64. A list of named values is
//! a list of pairs, `[["replica-hour", 0.12]]`, or an object. Numbers come back as they went in, bit for bit, so a
//! stored input can be replayed.
//!
//! What a person would rather not write may be left out of an input: everything but `now` and `deployment.replicas`.

mod fields;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::fields::{Bytes, Pairs, Points};
use crate::input::{Column, Deployment, Input, InputError, Instances, LocalTime, Series};
use crate::limits::REPLICAS;
use crate::proposal::Proposal;

/// The agent's sampling interval; what `step` is when an input does not say.
const DEFAULT_STEP_MS: u64 = 1000;

/// A text that is not an input.
#[derive(Debug, thiserror::Error)]
pub enum InputJsonError {
    /// Not JSON, an unknown or missing field, a value of another type; says where.
    #[error("the input does not parse")]
    Parse(#[source] serde_json::Error),
    #[error("the input does not fit together")]
    Check(#[source] InputError),
}

/// Reads an input and checks it.
///
/// # Errors
/// With line and column, or with the field whose value does not fit the others.
pub fn input_from_json(text: &str) -> Result<Input, InputJsonError> {
    let parsed: InputJson = serde_json::from_str(text).map_err(InputJsonError::Parse)?;
    let input = Input::from(parsed);
    input.check().map_err(InputJsonError::Check)?;
    Ok(input)
}

/// Writes an input so that [`input_from_json`] gives the same one back. Infinities become `null`, as they become NaN
/// for a policy.
#[must_use]
pub fn input_to_json(input: &Input) -> Value {
    serde_json::to_value(InputJson::from(input)).expect("no map with keys other than text, no value that can fail")
}

/// Writes a proposal; `nextLookMs` is `null` when the policy has no wish.
#[must_use]
pub fn proposal_to_json(proposal: &Proposal) -> Value {
    let next_look_ms = proposal.next_look.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    json!({
        "replicas": proposal.replicas,
        "confidence": proposal.confidence,
        "reason": proposal.reason,
        "signals": proposal.signals,
        "state": Bytes(proposal.state.clone()),
        "nextLookMs": next_look_ms,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InputJson {
    now: u64,
    local: Option<LocalTimeJson>,
    #[serde(default = "default_step")]
    step: u64,
    deployment: DeploymentJson,
    series_start: Option<u64>,
    #[serde(default)]
    series: Vec<SeriesJson>,
    #[serde(default)]
    instances: InstancesJson,
    history_start: Option<u64>,
    #[serde(default)]
    history_step: u64,
    #[serde(default)]
    history: Vec<SeriesJson>,
    #[serde(default)]
    prices: Pairs<f64>,
    #[serde(default = "default_config")]
    config: String,
    #[serde(default)]
    labels: Pairs<String>,
    #[serde(default)]
    state: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LocalTimeJson {
    year: i32,
    month: u8,
    day: u8,
    weekday: u8,
    hour: u8,
    minute: u8,
    second: u8,
    utc_offset_seconds: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeploymentJson {
    replicas: u32,
    ready_replicas: Option<u32>,
    #[serde(default)]
    min: u32,
    #[serde(default = "default_max")]
    max: u32,
    last_scale_up: Option<u64>,
    last_scale_down: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeriesJson {
    name: String,
    unit: Option<String>,
    points: Points,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InstancesJson {
    ids: Vec<String>,
    ready: Option<Vec<bool>>,
    age_ms: Option<Vec<u64>>,
    #[serde(default)]
    latest: Vec<ColumnJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ColumnJson {
    name: String,
    values: Points,
}

const fn default_step() -> u64 {
    DEFAULT_STEP_MS
}

const fn default_max() -> u32 {
    REPLICAS
}

fn default_config() -> String {
    "{}".to_owned()
}

impl From<InputJson> for Input {
    fn from(json: InputJson) -> Self {
        let series: Vec<Series> = json.series.into_iter().map(Series::from).collect();
        let history: Vec<Series> = json.history.into_iter().map(Series::from).collect();
        // Unless it is said, the last point was taken now.
        let start = |list: &[Series], step: u64| {
            let steps = list.first().map_or(0, |one| one.points.len().saturating_sub(1)) as u64;
            json.now.saturating_sub(steps.saturating_mul(step))
        };
        Self {
            now: json.now,
            local: json.local.map_or_else(|| LocalTime::utc(json.now), LocalTime::from),
            step: json.step,
            deployment: json.deployment.into(),
            series_start: json.series_start.unwrap_or_else(|| start(&series, json.step)),
            series,
            instances: json.instances.into(),
            history_start: json.history_start.unwrap_or_else(|| start(&history, json.history_step)),
            history_step: json.history_step,
            history,
            prices: json.prices.0,
            config: json.config,
            labels: json.labels.0,
            state: json.state.0,
        }
    }
}

impl From<&Input> for InputJson {
    fn from(input: &Input) -> Self {
        Self {
            now: input.now,
            local: Some(input.local.into()),
            step: input.step,
            deployment: input.deployment.into(),
            series_start: Some(input.series_start),
            series: input.series.iter().map(SeriesJson::from).collect(),
            instances: (&input.instances).into(),
            history_start: Some(input.history_start),
            history_step: input.history_step,
            history: input.history.iter().map(SeriesJson::from).collect(),
            prices: Pairs(input.prices.clone()),
            config: input.config.clone(),
            labels: Pairs(input.labels.clone()),
            state: Bytes(input.state.clone()),
        }
    }
}

impl From<LocalTimeJson> for LocalTime {
    fn from(json: LocalTimeJson) -> Self {
        let LocalTimeJson { year, month, day, weekday, hour, minute, second, utc_offset_seconds } = json;
        Self { year, month, day, weekday, hour, minute, second, utc_offset_seconds }
    }
}

impl From<LocalTime> for LocalTimeJson {
    fn from(local: LocalTime) -> Self {
        let LocalTime { year, month, day, weekday, hour, minute, second, utc_offset_seconds } = local;
        Self { year, month, day, weekday, hour, minute, second, utc_offset_seconds }
    }
}

impl From<DeploymentJson> for Deployment {
    fn from(json: DeploymentJson) -> Self {
        let DeploymentJson { replicas, ready_replicas, min, max, last_scale_up, last_scale_down } = json;
        let ready_replicas = ready_replicas.unwrap_or(replicas);
        Self { replicas, ready_replicas, min, max, last_scale_up, last_scale_down }
    }
}

impl From<Deployment> for DeploymentJson {
    fn from(deployment: Deployment) -> Self {
        let Deployment { replicas, ready_replicas, min, max, last_scale_up, last_scale_down } = deployment;
        Self { replicas, ready_replicas: Some(ready_replicas), min, max, last_scale_up, last_scale_down }
    }
}

impl From<SeriesJson> for Series {
    fn from(json: SeriesJson) -> Self {
        Self { name: json.name, unit: json.unit, points: json.points.0 }
    }
}

impl From<&Series> for SeriesJson {
    fn from(series: &Series) -> Self {
        Self { name: series.name.clone(), unit: series.unit.clone(), points: Points(series.points.clone()) }
    }
}

impl From<InstancesJson> for Instances {
    fn from(json: InstancesJson) -> Self {
        let rows = json.ids.len();
        let latest = json.latest.into_iter().map(|one| Column { name: one.name, values: one.values.0 }).collect();
        Self {
            ready: json.ready.unwrap_or_else(|| vec![true; rows]),
            age_ms: json.age_ms.unwrap_or_else(|| vec![0; rows]),
            ids: json.ids,
            latest,
        }
    }
}

impl From<&Instances> for InstancesJson {
    fn from(instances: &Instances) -> Self {
        let column = |one: &Column| ColumnJson { name: one.name.clone(), values: Points(one.values.clone()) };
        Self {
            ids: instances.ids.clone(),
            ready: Some(instances.ready.clone()),
            age_ms: Some(instances.age_ms.clone()),
            latest: instances.latest.iter().map(column).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
