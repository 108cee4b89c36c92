//! What the state machine wants done.

use std::rc::Rc;

use outrigger_protocol::message::{ApplyState, ConfigStatus, ProgramState};

use super::Nonce;
use crate::environment::Prepared;
use crate::supervisor::ExitStatus;

#[derive(Debug)]
pub enum Effect {
    /// Start the program; to be answered with `started`.
    Start(Rc<Prepared>),
    /// TERM, grace, KILL; `ended` tells when it is over.
    Stop,
    /// Send a signal to the program.
    Signal(i32),
    /// Write the environment file; to be answered with `file_written`.
    WriteFile(Rc<Prepared>),
    /// The running program has other content: its probes are asked anew.
    AskAnew,
    /// Look for what was good before this process; to be answered with `recalled`.
    Recall,
    /// Answer an offer.
    Report { nonce: Nonce, state: ApplyState, status: ConfigStatus },
    /// Tell the control plane about the program.
    Announce(ProgramState),
    /// Keep this as the last known good configuration.
    Remember(Rc<Prepared>),
    /// Leave. Always the last effect.
    Finish(Outcome),
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    pub exit_code: i32,
    /// In words, without a value.
    pub error: String,
}

/// How it all ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran, and this is how its last run ended.
    Exited(ExitStatus),
    /// The agent was told to stop by a signal while no program ran.
    Signalled(i32),
    /// The control plane told the agent to stop while no program ran.
    Dismissed,
    /// The first configuration cannot be used.
    Refused { error: String },
    /// The program could not be started.
    NotStarted(StartFailure),
}

impl Outcome {
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Exited(status) => status.code(),
            Self::Signalled(signal) => 128 + *signal,
            Self::Dismissed => 0,
            Self::Refused { .. } => 1,
            Self::NotStarted(failure) => failure.exit_code,
        }
    }

    /// What to say on stderr; nothing when the program itself has spoken.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Exited(_) | Self::Signalled(_) | Self::Dismissed => None,
            Self::Refused { error } => Some(format!("the environment cannot be used, so nothing was started: {error}")),
            Self::NotStarted(failure) => Some(failure.error.clone()),
        }
    }
}
