//! One agent, as the control plane has heard of it.

use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ConfigFailure, ConfigRef, ConfigStatus, ProgramState};
use outrigger_protocol::probe::{ProbeKind, ProbeLevel, ProbeStatus, ProbeVerdict};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Arrival, Event};

/// What an agent does with an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Applies it at once, and all is well.
    Applies,
    /// Applies it, and then its probes fail, once a second.
    FailsProbes,
    Refuses,
    /// Accepts it for its next start.
    Defers,
    Mute,
}

/// An agent, as the control plane has heard of it.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) status: ConfigStatus,
    pub(crate) program: ProgramState,
    pub(crate) probe_failures: u32,
    /// The newest offer that it has not answered.
    pub(crate) pending: Option<ConfigRef>,
    /// What it has accepted for its next start.
    pub(crate) deferred: Option<ConfigRef>,
    pub(crate) connected: bool,
    pub(crate) highest: u64,
    pub(crate) touched: bool,
    /// When it began to run this content.
    pub(crate) changed_at: Option<Duration>,
    /// Reports that were sent, for replays.
    pub(crate) said: Vec<Event>,
}

impl Agent {
    pub(crate) fn new(status: ConfigStatus, program: ProgramState) -> Self {
        let highest = status.last_received.map_or(0, |config| config.generation);
        let connected = true;
        Self {
            status,
            program,
            probe_failures: 0,
            pending: None,
            deferred: None,
            connected,
            highest,
            touched: false,
            changed_at: None,
            said: Vec::new(),
        }
    }

    pub(crate) fn arrival(&self, instance: InstanceId) -> Arrival {
        Arrival { instance, status: self.status.clone(), program: self.program }
    }

    pub(crate) fn changes_with(&self, offer: ConfigRef) -> bool {
        self.status.running.is_none_or(|running| running.hash != offer.hash)
    }

    pub(crate) fn is_in_service(&self, lived: Duration, min_ready: Duration) -> bool {
        let (is_down, is_done) = match self.program {
            ProgramState::Backoff { .. } => (true, false),
            ProgramState::Exited { code } if [0, 130, 143].contains(&code) => (false, true),
            ProgramState::Exited { .. } => (true, false),
            _ => (false, false),
        };
        // Nobody probes a program that is done.
        let is_well = !is_down && (is_done || self.probe_failures == 0);
        let is_new = self.changed_at.is_some_and(|at| lived - at < min_ready);
        let is_changing = self.pending.is_some_and(|offer| self.changes_with(offer));
        let refused = self.status.last_failed.as_ref().map(|failure| failure.config);
        let is_applying = self
            .status
            .last_received
            .is_some_and(|received| self.changes_with(received) && ![self.deferred, refused].contains(&Some(received)));
        let runs = self.connected && self.status.running.is_some();
        runs && is_well && !is_new && !is_changing && !is_applying
    }

    pub(crate) fn runs(&mut self, config: ConfigRef) {
        self.status.running = Some(config);
        self.status.last_failed = self.status.last_failed.take().filter(|failure| failure.config != config);
        self.pending = None;
        self.program = UP;
    }

    pub(crate) fn has_refused(&self, config: ConfigRef) -> bool {
        self.status.last_failed.as_ref().is_some_and(|failure| failure.config == config)
    }

    pub(crate) fn refuses(&mut self, config: ConfigRef, error: &str) {
        self.status.last_failed = Some(ConfigFailure { config, error: error.to_owned() });
        self.pending = None;
    }
}

pub(crate) fn config(generation: u64, content: u8) -> ConfigRef {
    ConfigRef { generation, hash: [content; 32] }
}

pub(crate) fn instance(number: u32) -> InstanceId {
    let mut entropy = [0; 10];
    entropy[6..].copy_from_slice(&number.to_be_bytes());
    InstanceId::new(UnixMillis::from_millis(1_000), entropy)
}

/// A readiness probe that has failed so many times; three are a verdict.
pub(crate) fn probes(consecutive_failures: u32) -> Vec<ProbeStatus> {
    vec![ProbeStatus {
        name: "ready".to_owned(),
        kind: ProbeKind::Readiness,
        level: ProbeLevel::Service,
        verdict: if consecutive_failures < 3 { ProbeVerdict::Passing } else { ProbeVerdict::Failing },
        consecutive_failures,
        last_error: (consecutive_failures > 0).then(|| "503 instead of 200".to_owned()),
    }]
}

pub(crate) fn runs(config: ConfigRef) -> ConfigStatus {
    ConfigStatus { last_received: Some(config), running: Some(config), last_failed: None }
}

pub(crate) const UP: ProgramState = ProgramState::Running { pid: 7, restarts: 0 };
