//! What a rollout is told.

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ConfigStatus, ProgramState};
use outrigger_protocol::probe::ProbeStatus;

use crate::traffic::Span;

/// Something that happened. All of it is state or carries its own position, so hearing it twice, or late, does no harm:
/// what is older than what is known already is ignored, as is everything about instances that are not there.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed: see [`Rollout::next_deadline`](crate::Rollout::next_deadline).
    Tick,
    /// An agent has connected, for the first time or again.
    Joined(Arrival),
    Left {
        instance: InstanceId,
        departure: Departure,
    },
    /// An agent answers an offer, or tells that what it had applied is no longer good.
    Report {
        instance: InstanceId,
        state: ApplyState,
        status: ConfigStatus,
    },
    Program {
        instance: InstanceId,
        state: ProgramState,
    },
    /// How the probes of an instance stand, all of them.
    Probes {
        instance: InstanceId,
        probes: Vec<ProbeStatus>,
    },
    /// What an instance has served since the last time.
    Traffic {
        instance: InstanceId,
        span: Span,
    },
    /// The control plane has started again: nobody is connected until they join, and whatever was asked for and is not
    /// known to be done is asked for again.
    Restarted,
}

/// An agent that connects, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub instance: InstanceId,
    pub status: ConfigStatus,
    pub program: ProgramState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// On purpose: it was scaled away, or said goodbye. Has to be told before the program is stopped for it, or the
    /// program's end counts as a crash.
    Planned,
    /// The connection is gone, and nobody knows why.
    Lost,
}

/// What a person may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Skip what is left of the bake time, or decide a gate that could not.
    Promote(Reach),
    /// Roll back.
    Abort,
    /// No further step until resumed. Gates go on: what fails meanwhile is rolled back.
    Pause,
    Resume,
    /// Go on although a gate has failed, or whatever the gates will say. The share of instances that may be without
    /// service is not overridden.
    Override,
}

impl Command {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote(_) => "promote",
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Override => "override",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the next step.
    Step,
    /// To the last step at once.
    All,
}
