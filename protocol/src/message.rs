//! The control conversation, as domain types. [`crate::wire`] holds what is actually serialised.
//!
//! Every offer is answered, even one the agent already runs. A refusal is the presence of an error, never a
//! comparison of versions, and what failed last is reported beside what runs, so that a rolled-back offer does
//! not look like one that was never tried.

use std::time::Duration;

use crate::id::{AgentId, DeploymentId, InstanceId, JoinTokenId};
use crate::probe::{Probe, ProbeStatus};
use crate::sample::BatchId;
use crate::time::UnixMillis;

/// SHA-256 of a configuration's canonical plaintext.
pub type ContentHash = [u8; 32];

/// A generation and what it holds. Generations only grow; a rollback is a new one with old content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigRef {
    pub generation: u64,
    pub hash: ContentHash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFailure {
    pub config: ConfigRef,
    /// In words, without a value of any variable.
    pub error: String,
}

/// What an agent says about configuration, at connect and after every offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigStatus {
    pub last_received: Option<ConfigRef>,
    /// What the program runs with. Where there are startup or readiness probes, a configuration is not here before they
    /// have passed with it; until then the one before it stays.
    pub running: Option<ConfigRef>,
    pub last_failed: Option<ConfigFailure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyState {
    /// On its way: waits for its turn, or for the program's startup and readiness probes.
    Applying,
    /// Runs now, and startup and readiness probes pass with it.
    Applied,
    /// Accepted; takes effect when the program is started the next time.
    PendingRestart,
    /// Refused or rolled back; `status.last_failed` says why.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramState {
    /// Waiting for its first configuration.
    Waiting,
    Running {
        pid: u32,
        restarts: u32,
    },
    /// Exited and will be started again after a back-off.
    Backoff {
        restarts: u32,
    },
    Exited {
        code: i32,
    },
}

/// Agent to control plane, on the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// Always first.
    Hello {
        agent_version: String,
        /// The epoch of this process's batches.
        epoch: u64,
        now: UnixMillis,
        /// X25519 public key to which environments are sealed (see [`crate::seal`]).
        seal_key: [u8; 32],
        status: ConfigStatus,
        program: ProgramState,
    },
    ConfigReport {
        nonce: [u8; 16],
        state: ApplyState,
        status: ConfigStatus,
    },
    Program(ProgramState),
    /// The answer to [`ServerMessage::Heartbeat`], or sent when nothing else was said for an interval.
    Heartbeat {
        now: UnixMillis,
    },
    /// A certificate request for the renewal of this identity, DER.
    Renew {
        csr: Vec<u8>,
    },
    /// The agent leaves on purpose: the program ended or the agent was told to stop.
    Goodbye {
        reason: String,
    },
    /// How the probes stand, all of them: whenever one has changed, and first of all on a connection whose settings have
    /// any.
    Probes(Vec<ProbeStatus>),
}

/// How new configuration reaches a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyStrategy {
    /// Stop and start the program, after a random share of `jitter`.
    Restart { jitter: Duration },
    /// Write the environment file and send the signal (a number of signal(7)).
    Signal { signal: i32 },
    /// Write the environment file only.
    File,
    /// Keep it for the next start.
    None,
}

/// The agent's own settings, applied without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    pub sample_interval: Duration,
    pub heartbeat_interval: Duration,
    pub apply: ApplyStrategy,
    /// Dangerous names ([`crate::environment::danger_of`]) that this deployment allows.
    pub allowed_names: Vec<String>,
    /// Variables that the program reads at its start alone: a change of one is not applied before the next start, whatever
    /// the strategy.
    pub start_only: Vec<String>,
    /// How long new configuration is on trial; `None` leaves it to the agent.
    pub bake_time: Option<Duration>,
    pub probes: Vec<Probe>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOffer {
    pub config: ConfigRef,
    pub nonce: [u8; 16],
    /// The environment, sealed to the agent's key.
    pub sealed: crate::seal::Sealed,
}

/// Control plane to agent, on the control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// Always first, the answer to `Hello`.
    Welcome {
        agent: AgentId,
        instance: InstanceId,
        deployment: DeploymentId,
        now: UnixMillis,
        settings: AgentSettings,
    },
    Offer(Box<ConfigOffer>),
    Settings(AgentSettings),
    /// Everything up to here is safe: the agent may forget it.
    MetricsAccepted {
        id: BatchId,
    },
    LogsAccepted {
        id: BatchId,
    },
    Heartbeat {
        now: UnixMillis,
    },
    /// The renewed certificate chain, DER, leaf first.
    Renewed {
        chain: Vec<Vec<u8>>,
    },
    /// Stop the program and leave.
    Stop {
        reason: String,
    },
    /// The control plane goes down for a while: reconnect with jitter.
    Drain,
    /// Do not come back before this has passed.
    RetryAfter {
        delay: Duration,
    },
    /// Another control node serves this agent.
    Redirect {
        address: String,
    },
}

/// Asked on an enrolment connection, once.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollRequest {
    pub token: JoinTokenId,
    pub secret: [u8; 32],
    /// PKCS#10, DER. Its key is the agent's for good; asking again with the same key is answered again.
    pub csr: Vec<u8>,
    pub seal_key: [u8; 32],
    pub agent_version: String,
}

impl std::fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollRequest").field("token", &self.token).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrollResponse {
    Issued {
        agent: AgentId,
        instance: InstanceId,
        deployment: DeploymentId,
        /// DER, leaf first, the CA last.
        chain: Vec<Vec<u8>>,
        not_after: UnixMillis,
    },
    Refused {
        reason: EnrollRefusal,
        message: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollRefusal {
    UnknownToken,
    ExpiredToken,
    /// Consumed by another key. The server raises an alarm.
    UsedToken,
    BadRequest,
    /// Asked too often, or the server drains: try again later.
    TryLater,
}
