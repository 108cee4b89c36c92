//! Rollouts as people read them, and the settings that they follow. Whole states are [`super::rollout_state`]'s.

use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{
    Amount, ErrorRateGate, Gates, LatencyGate, OnFailure, OnInconclusive, OnSilence, Rest, Settings, Strategy, Tally,
};

use super::scalar::{Number, Text};
use super::v1::rollout as v1;
use super::{Record, RecordError};
use crate::model::{Rollout, RolloutEntry, RolloutState};

/// The deployment of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RolloutHome(pub(crate) DeploymentId);

impl Record for RolloutHome {
    const ROW: &'static str = "rollout directory";
    type Stored = v1::RolloutHome;

    fn to_stored(&self) -> v1::RolloutHome {
        v1::RolloutHome { deployment: Text(self.0) }
    }

    fn from_stored(stored: v1::RolloutHome) -> Result<Self, RecordError> {
        Ok(Self(stored.deployment.0))
    }
}

impl From<RolloutState> for v1::RolloutState {
    fn from(state: RolloutState) -> Self {
        match state {
            RolloutState::Progressing => Self::Progressing,
            RolloutState::Paused => Self::Paused,
            RolloutState::Held => Self::Held,
            RolloutState::RollingBack => Self::RollingBack,
            RolloutState::Restoring => Self::Restoring,
            RolloutState::Closing => Self::Closing,
            RolloutState::Completed => Self::Completed,
            RolloutState::RolledBack => Self::RolledBack,
            RolloutState::Failed => Self::Failed,
            RolloutState::Superseded => Self::Superseded,
        }
    }
}

impl From<v1::RolloutState> for RolloutState {
    fn from(stored: v1::RolloutState) -> Self {
        match stored {
            v1::RolloutState::Progressing => Self::Progressing,
            v1::RolloutState::Paused => Self::Paused,
            v1::RolloutState::Held => Self::Held,
            v1::RolloutState::RollingBack => Self::RollingBack,
            v1::RolloutState::Restoring => Self::Restoring,
            v1::RolloutState::Closing => Self::Closing,
            v1::RolloutState::Completed => Self::Completed,
            v1::RolloutState::RolledBack => Self::RolledBack,
            v1::RolloutState::Failed => Self::Failed,
            v1::RolloutState::Superseded => Self::Superseded,
        }
    }
}

impl From<Tally> for v1::Tally {
    fn from(tally: Tally) -> Self {
        let Tally { total, running, deferred, refused, silent, pending, waiting, unhealthy, touched } = tally;
        Self { total, running, deferred, refused, silent, pending, waiting, unhealthy, touched }
    }
}

impl From<v1::Tally> for Tally {
    fn from(stored: v1::Tally) -> Self {
        let v1::Tally { total, running, deferred, refused, silent, pending, waiting, unhealthy, touched } = stored;
        Self { total, running, deferred, refused, silent, pending, waiting, unhealthy, touched }
    }
}

impl Record for Rollout {
    const ROW: &'static str = "rollout";
    type Stored = v1::Rollout;

    fn to_stored(&self) -> v1::Rollout {
        let entry =
            |entry: &RolloutEntry| v1::RolloutEntry { at: entry.at.as_millis(), message: entry.message.clone() };
        v1::Rollout {
            id: Text(self.id),
            organization: Text(self.organization),
            project: Text(self.project),
            deployment: Text(self.deployment),
            environment: Text(self.environment),
            generation: self.generation,
            from: self.from,
            strategy: self.strategy.clone(),
            state: self.state.into(),
            reason: self.reason.clone(),
            step: self.step,
            steps: self.steps,
            share: Number(self.share),
            tally: self.tally.into(),
            restored_as: self.restored_as,
            overridden_by: self.overridden_by.clone(),
            paused_by: self.paused_by.clone(),
            started_at: self.started_at.as_millis(),
            ended_at: self.ended_at.map(UnixMillis::as_millis),
            timeline: self.timeline.iter().map(entry).collect(),
        }
    }

    fn from_stored(stored: v1::Rollout) -> Result<Self, RecordError> {
        let entry =
            |entry: v1::RolloutEntry| RolloutEntry { at: UnixMillis::from_millis(entry.at), message: entry.message };
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            project: stored.project.0,
            deployment: stored.deployment.0,
            environment: stored.environment.0,
            generation: stored.generation,
            from: stored.from,
            strategy: stored.strategy,
            state: stored.state.into(),
            reason: stored.reason,
            step: stored.step,
            steps: stored.steps,
            share: stored.share.0,
            tally: stored.tally.into(),
            restored_as: stored.restored_as,
            overridden_by: stored.overridden_by,
            paused_by: stored.paused_by,
            started_at: UnixMillis::from_millis(stored.started_at),
            ended_at: stored.ended_at.map(UnixMillis::from_millis),
            timeline: stored.timeline.into_iter().map(entry).collect(),
        })
    }
}

impl From<&Strategy> for v1::Strategy {
    fn from(strategy: &Strategy) -> Self {
        match *strategy {
            Strategy::AllAtOnce => Self::AllAtOnce,
            Strategy::Linear { percent, interval } => Self::Linear { percent, interval: interval.into() },
            Strategy::Exponential { initial, factor, interval } => {
                Self::Exponential { initial, factor, interval: interval.into() }
            }
            Strategy::Canary { percent, bake, ref rest } => {
                Self::Canary { percent, bake: bake.into(), rest: rest.into() }
            }
        }
    }
}

impl From<v1::Strategy> for Strategy {
    fn from(stored: v1::Strategy) -> Self {
        match stored {
            v1::Strategy::AllAtOnce => Self::AllAtOnce,
            v1::Strategy::Linear { percent, interval } => Self::Linear { percent, interval: interval.into() },
            v1::Strategy::Exponential { initial, factor, interval } => {
                Self::Exponential { initial, factor, interval: interval.into() }
            }
            v1::Strategy::Canary { percent, bake, rest } => {
                Self::Canary { percent, bake: bake.into(), rest: rest.into() }
            }
        }
    }
}

impl From<&Rest> for v1::Rest {
    fn from(rest: &Rest) -> Self {
        match *rest {
            Rest::AtOnce => Self::AtOnce,
            Rest::Linear { percent, interval } => Self::Linear { percent, interval: interval.into() },
            Rest::Exponential { factor, interval } => Self::Exponential { factor, interval: interval.into() },
        }
    }
}

impl From<v1::Rest> for Rest {
    fn from(stored: v1::Rest) -> Self {
        match stored {
            v1::Rest::AtOnce => Self::AtOnce,
            v1::Rest::Linear { percent, interval } => Self::Linear { percent, interval: interval.into() },
            v1::Rest::Exponential { factor, interval } => Self::Exponential { factor, interval: interval.into() },
        }
    }
}

impl From<Amount> for v1::Amount {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Percent(percent) => Self::Percent(percent),
            Amount::Count(count) => Self::Count(count),
        }
    }
}

impl From<v1::Amount> for Amount {
    fn from(stored: v1::Amount) -> Self {
        match stored {
            v1::Amount::Percent(percent) => Self::Percent(percent),
            v1::Amount::Count(count) => Self::Count(count),
        }
    }
}

impl From<&Gates> for v1::Gates {
    fn from(gates: &Gates) -> Self {
        let error_rate = |gate: &ErrorRateGate| {
            let ErrorRateGate { min_requests, floor, ratio, z } = *gate;
            v1::ErrorRateGate { min_requests, floor, ratio, z }
        };
        let latency = |gate: &LatencyGate| {
            let LatencyGate { quantile, min_requests, floor, ratio, z } = *gate;
            v1::LatencyGate { quantile, min_requests, floor: floor.into(), ratio, z }
        };
        Self {
            probe_failures: gates.probe_failures,
            restarts: gates.restarts,
            warm_up: gates.warm_up.into(),
            error_rate: gates.error_rate.as_ref().map(error_rate),
            latency: gates.latency.as_ref().map(latency),
        }
    }
}

impl From<v1::Gates> for Gates {
    fn from(stored: v1::Gates) -> Self {
        let error_rate = |gate: v1::ErrorRateGate| {
            let v1::ErrorRateGate { min_requests, floor, ratio, z } = gate;
            ErrorRateGate { min_requests, floor, ratio, z }
        };
        let latency = |gate: v1::LatencyGate| {
            let v1::LatencyGate { quantile, min_requests, floor, ratio, z } = gate;
            LatencyGate { quantile, min_requests, floor: floor.into(), ratio, z }
        };
        Self {
            probe_failures: stored.probe_failures,
            restarts: stored.restarts,
            warm_up: stored.warm_up.into(),
            error_rate: stored.error_rate.map(error_rate),
            latency: stored.latency.map(latency),
        }
    }
}

impl From<&Settings> for v1::RolloutSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            strategy: (&settings.strategy).into(),
            final_bake: settings.final_bake.into(),
            max_unhealthy: settings.max_unhealthy.into(),
            min_ready: settings.min_ready.into(),
            answer_timeout: settings.answer_timeout.into(),
            patience: settings.patience.into(),
            on_silence: match settings.on_silence {
                OnSilence::Fail => v1::OnSilence::Fail,
                OnSilence::Tolerate => v1::OnSilence::Tolerate,
            },
            tolerated_failures: settings.tolerated_failures.into(),
            on_failure: match settings.on_failure {
                OnFailure::RollBack => v1::OnFailure::RollBack,
                OnFailure::Hold => v1::OnFailure::Hold,
            },
            on_inconclusive: match settings.on_inconclusive {
                OnInconclusive::Promote => v1::OnInconclusive::Promote,
                OnInconclusive::Hold => v1::OnInconclusive::Hold,
                OnInconclusive::RollBack => v1::OnInconclusive::RollBack,
            },
            gates: (&settings.gates).into(),
        }
    }
}

impl From<v1::RolloutSettings> for Settings {
    fn from(stored: v1::RolloutSettings) -> Self {
        Self {
            strategy: stored.strategy.into(),
            final_bake: stored.final_bake.into(),
            max_unhealthy: stored.max_unhealthy.into(),
            min_ready: stored.min_ready.into(),
            answer_timeout: stored.answer_timeout.into(),
            patience: stored.patience.into(),
            on_silence: match stored.on_silence {
                v1::OnSilence::Fail => OnSilence::Fail,
                v1::OnSilence::Tolerate => OnSilence::Tolerate,
            },
            tolerated_failures: stored.tolerated_failures.into(),
            on_failure: match stored.on_failure {
                v1::OnFailure::RollBack => OnFailure::RollBack,
                v1::OnFailure::Hold => OnFailure::Hold,
            },
            on_inconclusive: match stored.on_inconclusive {
                v1::OnInconclusive::Promote => OnInconclusive::Promote,
                v1::OnInconclusive::Hold => OnInconclusive::Hold,
                v1::OnInconclusive::RollBack => OnInconclusive::RollBack,
            },
            gates: stored.gates.into(),
        }
    }
}
