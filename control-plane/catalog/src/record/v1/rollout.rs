//! Rollouts: the settings of a deployment, summaries, and whole states.
//!
//! A state may have ten thousand members and is written often. So its members have short names for their fields, leave out
//! what is as it mostly is, and name configurations by their place in one list.

use outrigger_protocol::id::{DeploymentId, EnvironmentId, InstanceId, OrganizationId, ProjectId, RolloutId};
use serde::{Deserialize, Serialize};

use super::{Digest, Nanos, Number, Text};

/// Rows of which there are many.
macro_rules! compact {
    ($($(#[$doc:meta])* $name:ident { $($field:ident = $short:literal: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                #[serde(rename = $short, default, skip_serializing_if = "is_default")]
                pub(crate) $field: $type,
            )*
        }
    )+};
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

names! {
    OnSilence { Fail, Tolerate }
    OnFailure { RollBack, Hold }
    OnInconclusive { Promote, Hold, RollBack }
    Hold { Failed, Inconclusive }
    Reference { OldCohort, Baseline, EarlierCohort }
    RolloutState {
        Progressing, Paused, Held, RollingBack, Restoring, Closing, Completed, RolledBack, Failed, Superseded,
    }
}

rows! {
    ErrorRateGate { min_requests: u64, floor: f64, ratio: f64, z: f64, }
    LatencyGate { quantile: f64, min_requests: u64, floor: Nanos, ratio: f64, z: f64, }
    Gates {
        probe_failures: u32,
        restarts: u32,
        warm_up: Nanos,
        error_rate: Option<ErrorRateGate>,
        latency: Option<LatencyGate>,
    }
    RolloutSettings {
        strategy: Strategy,
        final_bake: Nanos,
        max_unhealthy: Amount,
        min_ready: Nanos,
        answer_timeout: Nanos,
        patience: Nanos,
        on_silence: OnSilence,
        tolerated_failures: Amount,
        on_failure: OnFailure,
        on_inconclusive: OnInconclusive,
        gates: Gates,
    }
    Tally {
        total: u32,
        running: u32,
        deferred: u32,
        refused: u32,
        silent: u32,
        pending: u32,
        waiting: u32,
        unhealthy: u32,
        touched: u32,
    }
    RolloutEntry { at: u64, message: String, }
    Rollout {
        id: Text<RolloutId>,
        organization: Text<OrganizationId>,
        project: Text<ProjectId>,
        deployment: Text<DeploymentId>,
        environment: Text<EnvironmentId>,
        generation: u64,
        from: Option<u64>,
        strategy: String,
        state: RolloutState,
        reason: Option<String>,
        step: u32,
        steps: u32,
        share: Number,
        tally: Tally,
        restored_as: Option<u64>,
        overridden_by: Option<String>,
        paused_by: Option<String>,
        started_at: u64,
        ended_at: Option<u64>,
        timeline: Vec<RolloutEntry>,
    }
    RolloutHome { deployment: Text<DeploymentId>, }
    /// Everything that a rollout knows.
    RolloutSnapshot {
        /// Whose row is beside it.
        rollout: Text<RolloutId>,
        settings: RolloutSettings,
        /// What the places mean that everything else names configurations by.
        configs: Vec<Config>,
        target: Place,
        stable: Option<Place>,
        seed: u64,
        baseline: Option<Traffic>,
        phase: Phase,
        paused: Option<String>,
        overridden: Option<String>,
        step: StepState,
        watched: Watched,
        evidence: Evidence,
        members: Vec<(Text<InstanceId>, Member)>,
        departed: Vec<(Text<InstanceId>, Departed)>,
        revision: u64,
    }
    Config { generation: u64, hash: Digest, }
    Histogram { buckets: Vec<(u8, u32)>, sum_us: u64, min_us: u32, max_us: u32, }
    Traffic { requests: u64, errors: u64, latency: Histogram, }
    Evidence { new: Traffic, old: Traffic, earlier: Traffic, }
    Rate { errors: u64, requests: u64, }
    Finding { instance: Option<Text<InstanceId>>, signal: Signal, }
    Watched { last: u64, elapsed: Nanos, }
    StepState {
        index: u64,
        opened_at: Nanos,
        opened: u64,
        elapsed: Nanos,
        settled: u64,
        progress_at: Nanos,
        baked: Option<Nanos>,
        filled_at: Nanos,
        due: Option<Nanos>,
        waived: bool,
    }
}

/// Of a configuration in the state's list.
pub(crate) type Place = u32;

compact! {
    Member {
        joined_at = "j": Nanos,
        lost_at = "l": Option<Nanos>,
        awaited = "w": bool,
        running = "r": Option<Place>,
        running_since = "s": u64,
        applied_at = "a": Option<Nanos>,
        deferred = "d": Option<Place>,
        refused = "f": Option<Place>,
        received = "c": Option<Place>,
        highest = "h": u64,
        offer = "o": Option<Offered>,
        silent = "n": Option<Place>,
        ask_again = "g": Option<Place>,
        touched = "t": bool,
        convicted = "v": bool,
        health = "H": Health,
        served = "S": Served,
    }
    Offered { config = "c": Place, at = "a": Nanos, disrupts = "d": bool, }
    Departed {
        touched = "t": bool,
        convicted = "v": bool,
        deferred = "d": Option<Place>,
        counted = "c": bool,
        highest = "h": u64,
    }
    Health {
        program = "p": Program,
        failing = "f": Option<ProbeFailure>,
        waiting = "w": bool,
        failures_before = "b": u32,
        was_unwell = "u": bool,
        was_down = "d": bool,
        restarts = "r": u32,
        restarts_before = "R": u32,
        crashes_before = "C": u32,
        crashes = "c": u32,
    }
    ProbeFailure { probe = "p": String, consecutive = "n": u32, error = "e": String, }
    Served { requests = "r": u64, errors = "e": u64, latency = "l": Option<Nanos>, until = "u": u64, }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Program {
    #[default]
    Up,
    Down,
    Ended,
    Crashed {
        code: i32,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Strategy {
    AllAtOnce,
    Linear { percent: f64, interval: Nanos },
    Exponential { initial: f64, factor: f64, interval: Nanos },
    Canary { percent: f64, bake: Nanos, rest: Rest },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Rest {
    AtOnce,
    Linear { percent: f64, interval: Nanos },
    Exponential { factor: f64, interval: Nanos },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Amount {
    Percent(f64),
    Count(u32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Phase {
    Progressing,
    Held { finding: Finding, why: Hold },
    RollingBack { cause: Cause, asked_at: Nanos },
    Restoring { config: Place, cause: Option<Cause>, began_at: Nanos },
    Closing(Outcome),
    Ended(Outcome),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Cause {
    Gate(Finding),
    Aborted { actor: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Outcome {
    Completed,
    RolledBack { cause: Cause, config: Place },
    Failed { cause: Cause },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Signal {
    Refused {
        error: String,
    },
    RolledBackLocally {
        error: String,
    },
    Silent {
        after: Nanos,
    },
    Lost {
        after: Nanos,
    },
    ProbeFailing {
        probe: String,
        consecutive: u32,
        limit: u32,
        error: String,
    },
    Restarting {
        restarts: u32,
        limit: u32,
    },
    Exited {
        code: i32,
    },
    ErrorRate {
        new: Rate,
        old: Rate,
        reference: Reference,
        at_least: Number,
        floor: Number,
    },
    Latency {
        quantile: Number,
        new: Nanos,
        new_at_least: Nanos,
        old: Nanos,
        old_at_most: Nanos,
        reference: Reference,
        requests: (u64, u64),
    },
    Stalled {
        after: Nanos,
        unhealthy: u32,
        allowed: u32,
    },
    Unwell,
    TooFewRequests {
        new: u64,
        old: u64,
        needed: u64,
    },
    NobodyLeft,
}
