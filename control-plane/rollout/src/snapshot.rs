//! Everything that a rollout knows, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;

use crate::action::{Cause, Outcome};
use crate::member::{Departed, Member};
use crate::settings::{InvalidSettings, Settings};
use crate::signal::Finding;
use crate::traffic::{Evidence, Traffic};
use crate::watched::Watched;

/// The whole state of a [`Rollout`](crate::Rollout): what is stored, and what one is restored from. The record of it
/// belongs to whoever stores it; nothing here depends on how that looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub settings: Settings,
    /// The generation that is being rolled out.
    pub target: ConfigRef,
    /// The last one that was fully promoted; `None` for the first of a deployment.
    pub stable: Option<ConfigRef>,
    /// Decides the order of instances.
    pub seed: u64,
    /// What the deployment served before the rollout.
    pub baseline: Option<Traffic>,
    pub phase: Phase,
    /// Who has paused it.
    pub paused: Option<String>,
    /// Who has overridden the gates.
    pub overridden: Option<String>,
    pub step: StepState,
    pub watched: Watched,
    pub evidence: Evidence,
    pub members: BTreeMap<InstanceId, Member>,
    pub departed: BTreeMap<InstanceId, Departed>,
    /// See [`Rollout::revision`](crate::Rollout::revision).
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Goes from step to step.
    Progressing,
    /// Waits for a person.
    Held {
        finding: Finding,
        why: Hold,
    },
    /// The rollback was asked for, in watched time, and is not known to be published.
    RollingBack {
        cause: Cause,
        asked_at: Duration,
    },
    /// Everybody gets `config`, whose content is that of the last promoted generation. Without a cause it was a person
    /// who published that content.
    Restoring {
        config: ConfigRef,
        cause: Option<Cause>,
        began_at: Duration,
    },
    /// Nothing new is offered; the last answers are waited for.
    Closing(Outcome),
    Ended(Outcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A gate has failed: override or abort.
    Failed,
    /// The gate could not tell: promote or abort.
    Inconclusive,
}

/// Where the present step stands. Its times stand still while the rollout is paused or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepState {
    /// Which one, from 0.
    pub index: usize,
    /// When it was opened or filled again: by the rollout's time, and by the clock.
    pub opened_at: Duration,
    pub opened: UnixMillis,
    /// For how long it has gone on.
    pub elapsed: Duration,
    /// How many instances had settled at most, and what `elapsed` was when that was reached.
    pub settled: usize,
    pub progress_at: Duration,
    /// How long it has baked; `None` while the cohort is being filled.
    pub baked: Option<Duration>,
    /// When it began to bake, in the rollout's time: whoever joined later may still enter the cohort.
    pub filled_at: Duration,
    /// The value of `elapsed` at which it has to be decided; known from its first filling on.
    pub due: Option<Duration>,
    /// Somebody has promoted it: the rest of its bake time is waived.
    pub waived: bool,
}

impl StepState {
    pub(crate) const fn open(index: usize, watched: Duration, now: UnixMillis) -> Self {
        Self {
            index,
            opened_at: watched,
            opened: now,
            elapsed: Duration::ZERO,
            settled: 0,
            progress_at: Duration::ZERO,
            baked: None,
            filled_at: watched,
            due: None,
            waived: false,
        }
    }
}

/// A snapshot that no rollout can have made: it is damaged, or of a newer release.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RestoreError {
    #[error("the stored settings are not valid")]
    Settings(#[source] InvalidSettings),
    #[error("the stored rollout is at step {index} of {steps}")]
    Step { index: usize, steps: usize },
    #[error("the stored rollout has {members} members, and {limit} are possible")]
    Members { members: usize, limit: usize },
    #[error("the stored rollout goes from generation {stable} to {target}, which is not newer")]
    Backwards { stable: u64, target: u64 },
    #[error("the stored rollout restores generation {config}, which is older than {target}")]
    RestoresBackwards { config: u64, target: u64 },
    #[error("the stored rollout goes back to a generation, and has none to go back to")]
    NothingBefore,
}
