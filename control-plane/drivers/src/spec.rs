use std::net::SocketAddr;
use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_secrets::SecretString;

/// All that a driver has to know to make an instance.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Also the idempotency key.
    pub instance: InstanceId,
    pub deployment: DeploymentId,
    /// Program and arguments; at least one element.
    pub command: Vec<String>,
    pub limits: Limits,
    /// The program serves HTTP on `$PORT`; the agent measures its requests as a proxy in front of it.
    pub http: bool,
    pub observe: Observation,
    /// The text with which the agent enrols.
    pub join_token: SecretString,
    /// Where agents reach the control plane.
    pub agents_address: SocketAddr,
    /// The name that the control plane's certificate carries.
    pub server_name: String,
    /// What the agent leaves its program between TERM and KILL.
    pub stop_grace: Duration,
}

/// What an instance may use; absent means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
}

/// What the agent asks its program for, and hears from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    pub scrape: Option<Scrape>,
    /// The agent listens for StatsD, where no other instance does, and tells its program where.
    pub statsd: bool,
    /// The agent's rules for what becomes what, `[NAME=]SELECTOR`.
    pub metrics: Vec<String>,
}

/// The program's metrics page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// `None`: the program has a port of its own in `$PORT`, whether it serves otherwise or not.
    pub port: Option<u16>,
    /// Path and query.
    pub path: String,
    /// At least so long from one reading to the next.
    pub interval: Option<Duration>,
}

impl InstanceSpec {
    /// Whether the program is told a port of its own in `$PORT`.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.http || self.observe.scrape.as_ref().is_some_and(|scrape| scrape.port.is_none())
    }
}

/// An instance that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// How to reach the program, when it serves (`127.0.0.1:20412`).
    pub endpoint: Option<String>,
}

/// An instance as the driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    pub instance: InstanceId,
    /// Its agent is alive.
    pub running: bool,
}
