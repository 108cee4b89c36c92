//! How new configuration spreads over the instances of a deployment: what is wished of it, and where one stands.

use std::time::Duration;

use jiff::Timestamp;
use outrigger_catalog::model;
use outrigger_engine::RolloutView;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::time::write_duration;
use outrigger_rollout as rollout;
use outrigger_rollout::{OnFailure, OnInconclusive, OnSilence, Reach};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{DURATION, Problems};
use crate::error::ApiError;
use crate::text::{parse_duration, write_time};

/// How new configuration spreads over the instances, what is held against it, and what happens then. What is left out has
/// its default, which an answer shows.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RolloutSettings {
    /// all-at-once by default
    strategy: Option<RolloutStrategy>,
    /// How long everything has to go well with all instances before a generation counts as good.
    final_bake: Option<String>,
    /// How many instances may be without service at once.
    max_unhealthy: Option<RolloutAmount>,
    /// How long an instance has to run new content without falling ill before it counts as in service again.
    min_ready: Option<String>,
    /// From an offer until its final answer, and from a lost connection until the instance is given up.
    answer_timeout: Option<String>,
    /// For how long a step may go on without getting further.
    patience: Option<String>,
    /// fail or tolerate: what an instance is that does not answer in time
    on_silence: Option<String>,
    /// How many instances may fail before the rollout does.
    tolerated_failures: Option<RolloutAmount>,
    /// roll-back or hold
    on_failure: Option<String>,
    /// promote, hold or roll-back: what happens when requests could not be compared in time
    on_inconclusive: Option<String>,
    #[serde(default)]
    gates: RolloutGates,
}

/// Who gets a new generation when.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RolloutStrategy {
    /// Everybody at once.
    AllAtOnce {},
    /// `percent` of the instances more at each step.
    Linear { percent: f64, interval: String },
    /// `initial` percent of the instances, then `factor` times as many at each step.
    Exponential { initial: f64, factor: f64, interval: String },
    /// `percent` of the instances for the time of `bake`, then the rest.
    Canary {
        percent: f64,
        bake: String,
        #[serde(default)]
        rest: RolloutRest,
    },
}

/// What follows a canary.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RolloutRest {
    /// Everybody else at once; the default.
    AllAtOnce {},
    /// `percent` of all instances more at each step.
    Linear { percent: f64, interval: String },
    /// `factor` times as many at each step.
    Exponential { factor: f64, interval: String },
}

impl Default for RolloutRest {
    fn default() -> Self {
        Self::AllAtOnce {}
    }
}

/// Exactly one of both.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutAmount {
    /// Of the instances that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// Instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

/// What is held against an instance, or against all that run the new generation.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RolloutGates {
    /// Consecutive failures of one probe with which an instance has failed.
    probe_failures: Option<u32>,
    /// Restarts of the program after crashes with which an instance has failed.
    restarts: Option<u32>,
    /// Requests of an instance count from this long after it got its configuration.
    warm_up: Option<String>,
    /// The share of failed requests against that of the old generation; null does not compare.
    #[serde(default, deserialize_with = "given_or_null")]
    #[schema(value_type = Option<ErrorRateGate>)]
    error_rate: Option<Option<ErrorRateGate>>,
    /// A quantile of the response times against that of the old generation; null does not compare.
    #[serde(default, deserialize_with = "given_or_null")]
    #[schema(value_type = Option<LatencyGate>)]
    latency: Option<Option<LatencyGate>>,
}

/// A field that may be left out, which is not the same as null.
fn given_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ErrorRateGate {
    /// Requests that each side needs.
    min_requests: Option<u64>,
    /// A share of requests, 0 to 1: less of a difference does not matter.
    floor: Option<f64>,
    /// How many times the old rate it has to be at least.
    ratio: Option<f64>,
    /// Standard deviations.
    z: Option<f64>,
}

#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LatencyGate {
    /// 0.95 for the response time that 95 % of requests stay below.
    quantile: Option<f64>,
    /// Requests that each side needs.
    min_requests: Option<u64>,
    /// Less of a difference does not matter.
    floor: Option<String>,
    /// How many times the old response time it has to be at least.
    ratio: Option<f64>,
    /// Standard deviations.
    z: Option<f64>,
}

/// The value that a name of an enum stands for, and back.
type Names<T> = [(&'static str, T)];

const ON_SILENCE: [(&str, OnSilence); 2] = [("fail", OnSilence::Fail), ("tolerate", OnSilence::Tolerate)];
const ON_FAILURE: [(&str, OnFailure); 2] = [("roll-back", OnFailure::RollBack), ("hold", OnFailure::Hold)];
const ON_INCONCLUSIVE: [(&str, OnInconclusive); 3] =
    [("promote", OnInconclusive::Promote), ("hold", OnInconclusive::Hold), ("roll-back", OnInconclusive::RollBack)];
const REACH: [(&str, Reach); 2] = [("next", Reach::Step), ("all", Reach::All)];

fn name_of<T: PartialEq>(names: &Names<T>, value: &T) -> Option<String> {
    names.iter().find(|(_, one)| one == value).map(|(name, _)| (*name).to_owned())
}

/// Reads the fields below one of a request; what is left out or wrong is the default.
struct Fields<'a> {
    below: &'static str,
    problems: &'a mut Problems,
}

impl Fields<'_> {
    fn duration(&mut self, field: &str, text: Option<&String>, default: Duration) -> Duration {
        let field = format!("{}.{field}", self.below);
        self.problems.parse(&field, text.map(String::as_str), DURATION, parse_duration).unwrap_or(default)
    }

    fn name<T: Copy>(&mut self, field: &str, text: Option<&String>, names: &Names<T>, default: T) -> T {
        let expected: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let field = format!("{}.{field}", self.below);
        let find = |text: &str| names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        let expected = format!("one of {}", expected.join(", "));
        self.problems.parse(&field, text.map(String::as_str), &expected, find).unwrap_or(default)
    }

    fn amount(&mut self, field: &str, amount: Option<RolloutAmount>, default: rollout::Amount) -> rollout::Amount {
        match amount {
            None => default,
            Some(RolloutAmount { percent: Some(percent), count: None }) => rollout::Amount::Percent(percent),
            Some(RolloutAmount { percent: None, count: Some(count) }) => rollout::Amount::Count(count),
            Some(_) => {
                self.problems.add(format!("{}.{field}", self.below), "has to have exactly one of percent, count");
                default
            }
        }
    }
}

impl RolloutSettings {
    /// What its own text says; whether that may be is the catalog's to check.
    pub(crate) fn check(self, problems: &mut Problems) -> rollout::Settings {
        let strategy = self.strategy.map_or(rollout::Strategy::AllAtOnce, |strategy| strategy.check(problems));
        let default = rollout::Settings::new(strategy);
        let gates = self.gates.check(problems);
        let mut fields = Fields { below: "rollout", problems };
        rollout::Settings {
            final_bake: fields.duration("finalBake", self.final_bake.as_ref(), default.final_bake),
            max_unhealthy: fields.amount("maxUnhealthy", self.max_unhealthy, default.max_unhealthy),
            min_ready: fields.duration("minReady", self.min_ready.as_ref(), default.min_ready),
            answer_timeout: fields.duration("answerTimeout", self.answer_timeout.as_ref(), default.answer_timeout),
            patience: fields.duration("patience", self.patience.as_ref(), default.patience),
            on_silence: fields.name("onSilence", self.on_silence.as_ref(), &ON_SILENCE, default.on_silence),
            tolerated_failures: fields.amount("toleratedFailures", self.tolerated_failures, default.tolerated_failures),
            on_failure: fields.name("onFailure", self.on_failure.as_ref(), &ON_FAILURE, default.on_failure),
            on_inconclusive: fields.name(
                "onInconclusive",
                self.on_inconclusive.as_ref(),
                &ON_INCONCLUSIVE,
                default.on_inconclusive,
            ),
            gates,
            strategy: default.strategy,
        }
    }

    /// With everything that was left out.
    pub(crate) fn show(settings: rollout::Settings) -> Self {
        Self {
            strategy: Some(RolloutStrategy::show(settings.strategy)),
            final_bake: Some(write_duration(settings.final_bake)),
            max_unhealthy: Some(settings.max_unhealthy.into()),
            min_ready: Some(write_duration(settings.min_ready)),
            answer_timeout: Some(write_duration(settings.answer_timeout)),
            patience: Some(write_duration(settings.patience)),
            on_silence: name_of(&ON_SILENCE, &settings.on_silence),
            tolerated_failures: Some(settings.tolerated_failures.into()),
            on_failure: name_of(&ON_FAILURE, &settings.on_failure),
            on_inconclusive: name_of(&ON_INCONCLUSIVE, &settings.on_inconclusive),
            gates: RolloutGates::show(settings.gates),
        }
    }
}

impl RolloutStrategy {
    fn check(self, problems: &mut Problems) -> rollout::Strategy {
        let mut fields = Fields { below: "rollout.strategy", problems };
        let mut time = |field: &str, text: &String| fields.duration(field, Some(text), Duration::ZERO);
        match self {
            Self::AllAtOnce {} => rollout::Strategy::AllAtOnce,
            Self::Linear { percent, interval } => {
                rollout::Strategy::Linear { percent, interval: time("interval", &interval) }
            }
            Self::Exponential { initial, factor, interval } => {
                rollout::Strategy::Exponential { initial, factor, interval: time("interval", &interval) }
            }
            Self::Canary { percent, bake, rest } => {
                let bake = time("bake", &bake);
                rollout::Strategy::Canary { percent, bake, rest: rest.check(problems) }
            }
        }
    }

    fn show(strategy: rollout::Strategy) -> Self {
        match strategy {
            rollout::Strategy::AllAtOnce => Self::AllAtOnce {},
            rollout::Strategy::Linear { percent, interval } => {
                Self::Linear { percent, interval: write_duration(interval) }
            }
            rollout::Strategy::Exponential { initial, factor, interval } => {
                Self::Exponential { initial, factor, interval: write_duration(interval) }
            }
            rollout::Strategy::Canary { percent, bake, rest } => {
                Self::Canary { percent, bake: write_duration(bake), rest: RolloutRest::show(&rest) }
            }
        }
    }
}

impl RolloutRest {
    fn check(self, problems: &mut Problems) -> rollout::Rest {
        let mut fields = Fields { below: "rollout.strategy.rest", problems };
        let mut time = |text: &String| fields.duration("interval", Some(text), Duration::ZERO);
        match self {
            Self::AllAtOnce {} => rollout::Rest::AtOnce,
            Self::Linear { percent, interval } => rollout::Rest::Linear { percent, interval: time(&interval) },
            Self::Exponential { factor, interval } => rollout::Rest::Exponential { factor, interval: time(&interval) },
        }
    }

    fn show(rest: &rollout::Rest) -> Self {
        match *rest {
            rollout::Rest::AtOnce => Self::AllAtOnce {},
            rollout::Rest::Linear { percent, interval } => Self::Linear { percent, interval: write_duration(interval) },
            rollout::Rest::Exponential { factor, interval } => {
                Self::Exponential { factor, interval: write_duration(interval) }
            }
        }
    }
}

impl From<rollout::Amount> for RolloutAmount {
    fn from(amount: rollout::Amount) -> Self {
        match amount {
            rollout::Amount::Percent(percent) => Self { percent: Some(percent), count: None },
            rollout::Amount::Count(count) => Self { percent: None, count: Some(count) },
        }
    }
}

impl RolloutGates {
    fn check(self, problems: &mut Problems) -> rollout::Gates {
        let default = rollout::Gates::default();
        let mut fields = Fields { below: "rollout.gates", problems };
        rollout::Gates {
            probe_failures: self.probe_failures.unwrap_or(default.probe_failures),
            restarts: self.restarts.unwrap_or(default.restarts),
            warm_up: fields.duration("warmUp", self.warm_up.as_ref(), default.warm_up),
            // What is left out of a gate has the default of a gate that compares.
            error_rate: match self.error_rate {
                None => default.error_rate,
                Some(gate) => gate.zip(default.error_rate).map(|(gate, default)| gate.check(&default)),
            },
            latency: match self.latency {
                None => default.latency,
                Some(gate) => gate.zip(default.latency).map(|(gate, default)| gate.check(&default, &mut fields)),
            },
        }
    }

    fn show(gates: rollout::Gates) -> Self {
        Self {
            probe_failures: Some(gates.probe_failures),
            restarts: Some(gates.restarts),
            warm_up: Some(write_duration(gates.warm_up)),
            error_rate: Some(gates.error_rate.map(|gate| ErrorRateGate {
                min_requests: Some(gate.min_requests),
                floor: Some(gate.floor),
                ratio: Some(gate.ratio),
                z: Some(gate.z),
            })),
            latency: Some(gates.latency.map(|gate| LatencyGate {
                quantile: Some(gate.quantile),
                min_requests: Some(gate.min_requests),
                floor: Some(write_duration(gate.floor)),
                ratio: Some(gate.ratio),
                z: Some(gate.z),
            })),
        }
    }
}

impl ErrorRateGate {
    fn check(self, default: &rollout::ErrorRateGate) -> rollout::ErrorRateGate {
        rollout::ErrorRateGate {
            min_requests: self.min_requests.unwrap_or(default.min_requests),
            floor: self.floor.unwrap_or(default.floor),
            ratio: self.ratio.unwrap_or(default.ratio),
            z: self.z.unwrap_or(default.z),
        }
    }
}

impl LatencyGate {
    fn check(self, default: &rollout::LatencyGate, fields: &mut Fields<'_>) -> rollout::LatencyGate {
        rollout::LatencyGate {
            quantile: self.quantile.unwrap_or(default.quantile),
            min_requests: self.min_requests.unwrap_or(default.min_requests),
            floor: fields.duration("latency.floor", self.floor.as_ref(), default.floor),
            ratio: self.ratio.unwrap_or(default.ratio),
            z: self.z.unwrap_or(default.z),
        }
    }
}

/// How far to promote.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    /// next (default): to the next step; all: to the last one
    to: Option<String>,
}

impl Promotion {
    pub(crate) fn check(self) -> Result<Reach, ApiError> {
        let mut problems = Problems::default();
        let reach = problems.parse("to", self.to.as_deref(), "one of next, all", |text| {
            REACH.iter().find(|(name, _)| *name == text).map(|(_, reach)| *reach)
        });
        problems.finish(|| reach.unwrap_or(Reach::Step))
    }
}

/// One generation on its way to the instances of a deployment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rollout {
    id: String,
    deployment_id: String,
    environment_id: String,
    /// The generation that is rolled out.
    generation: u64,
    /// The last one before it that has been rolled out completely, to whose content it goes back if it has to.
    from: Option<u64>,
    /// all-at-once, linear, exponential or canary
    strategy: String,
    /// progressing, paused, held, rolling-back, restoring, closing, completed, rolled-back, failed or superseded
    state: &'static str,
    /// Why it is held, goes back or has failed.
    reason: Option<String>,
    /// The step that it is at, from 1.
    step: u32,
    steps: u32,
    /// The share of the instances that the step is for, in percent.
    share: f64,
    /// The generation that has brought the content of `from` back.
    restored_as: Option<u64>,
    paused_by: Option<String>,
    overridden_by: Option<String>,
    /// Instances that take part.
    total: u32,
    /// Run the generation, or what it was rolled back to.
    applied: u32,
    /// Have it and will run it after their next start.
    deferred: u32,
    /// Refused it or rolled it back.
    refused: u32,
    /// Have been offered it and have not answered yet.
    pending: u32,
    /// Did not answer in time.
    silent: u32,
    /// Have not been offered it.
    waiting: u32,
    /// Are without service, for whatever reason.
    unhealthy: u32,
    /// Were ever offered the generation that is rolled out, those that have left included.
    touched: u32,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Who refuses the newest generation and why; at most 100 of them. Not told in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Vec<ConfigProblem>>,
    /// What happened, oldest first. Told of one rollout that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<Moment>>,
}

/// Something that happened in a rollout.
#[derive(Serialize, ToSchema)]
pub(crate) struct Moment {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    message: String,
}

impl From<model::RolloutEntry> for Moment {
    fn from(entry: model::RolloutEntry) -> Self {
        Self { at: write_time(entry.at), message: entry.message }
    }
}

impl From<model::Rollout> for Rollout {
    fn from(rollout: model::Rollout) -> Self {
        let tally = rollout.tally;
        Self {
            id: rollout.id.to_string(),
            deployment_id: rollout.deployment.to_string(),
            environment_id: rollout.environment.to_string(),
            generation: rollout.generation,
            from: rollout.from,
            strategy: rollout.strategy,
            state: rollout.state.name(),
            reason: rollout.reason,
            step: rollout.step,
            steps: rollout.steps,
            share: rollout.share,
            restored_as: rollout.restored_as,
            paused_by: rollout.paused_by,
            overridden_by: rollout.overridden_by,
            total: tally.total,
            applied: tally.running,
            deferred: tally.deferred,
            refused: tally.refused,
            pending: tally.pending,
            silent: tally.silent,
            waiting: tally.waiting,
            unhealthy: tally.unhealthy,
            touched: tally.touched,
            started_at: write_time(rollout.started_at),
            ended_at: rollout.ended_at.map(write_time),
            failed: None,
            timeline: None,
        }
    }
}

impl Rollout {
    /// Where it stands, and with whom it did not work.
    pub(crate) fn standing(view: RolloutView) -> Self {
        let failed = Some(problems(view.failed));
        Self { failed, ..Self::from(view.rollout) }
    }

    /// With its story.
    pub(crate) fn told(mut view: RolloutView) -> Self {
        let timeline = std::mem::take(&mut view.rollout.timeline);
        Self { timeline: Some(timeline.into_iter().map(Moment::from).collect()), ..Self::standing(view) }
    }
}

/// How far the newest configuration has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigProgress {
    /// The newest that instances have been offered; after a rollback, the generation with the old content.
    generation: u64,
    /// Instances that run it.
    running: u32,
    total: u32,
    failed: Vec<ConfigProblem>,
}

impl From<RolloutView> for ConfigProgress {
    fn from(RolloutView { rollout, failed }: RolloutView) -> Self {
        Self {
            generation: rollout.restored_as.unwrap_or(rollout.generation),
            running: rollout.tally.running,
            total: rollout.tally.total,
            failed: problems(failed),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigProblem {
    instance_id: String,
    error: String,
}

fn problems(failed: Vec<(InstanceId, String)>) -> Vec<ConfigProblem> {
    failed.into_iter().map(|(id, error)| ConfigProblem { instance_id: id.to_string(), error }).collect()
}
