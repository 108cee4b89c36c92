//! What an installation may set, and the defaults with their reasons.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger_protocol::transport::ServerLimits;

use crate::budget::{LaneLimits, Rate};

/// What strangers may ask for. Tokens have 256 bits and cannot be guessed: this bounds the work that asking makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnrollLimits {
    /// Requests per address (IPv6: per /64).
    pub rate: Rate,
    /// What a refused request costs of that rate, where a good one costs 1.
    pub refusal_cost: f64,
    /// Addresses that are remembered at a time.
    pub addresses: usize,
    /// Enrolments under way at a time; more wait.
    pub concurrency: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IngestConfig {
    /// UDP address for agents; port 0 takes a free one.
    pub listen: SocketAddr,
    /// DNS names and IP addresses by which agents know this server; at least one.
    pub server_names: Vec<String>,
    /// How long an agent's certificate lives.
    pub certificate_lifetime: Duration,
    /// How long the server's own certificate lives. It is made anew at every start, and when two thirds of it are over.
    pub server_certificate_lifetime: Duration,
    /// Silence after which the server asks an agent whether it is there; agents speak at least this often.
    pub heartbeat_interval: Duration,
    /// Intervals of silence after which a session is over.
    pub missed_heartbeats: u32,
    /// Time for a verified connection to become a session.
    pub hello_timeout: Duration,
    /// Connections and handshakes at a time: what is over is turned away before it costs anything, and comes back
    /// with jitter.
    pub endpoint: ServerLimits,
    /// Sessions at a time; one more is told to come back later.
    pub sessions: usize,
    /// What a full server tells an agent to wait.
    pub retry_after: Duration,
    /// Budget of each session's control stream, metrics and logs.
    pub control: LaneLimits,
    pub metrics: LaneLimits,
    pub logs: LaneLimits,
    /// What is older than this when it arrives is not believed: samples are dropped, lines get the time of their arrival.
    /// Agents tell after an absence what they saw meanwhile. Decisions read nothing of it, history does.
    pub oldest_sample: Duration,
    /// Requests that were served longer ago than this are not told to those who judge by them.
    pub oldest_traffic: Duration,
    /// Deployments with a window of samples.
    pub windows: usize,
    pub enroll: EnrollLimits,
    /// How long an agent that is gone is still shown.
    pub absent_after: Duration,
    /// Plaintext environments kept in memory for delivery, in bytes of their canonical form.
    pub environments_bytes: usize,
}

impl IngestConfig {
    /// The defaults, for agents that know the server by `server_names`.
    #[must_use]
    pub fn new(listen: SocketAddr, server_names: Vec<String>) -> Self {
        const MIB: f64 = 1024.0 * 1024.0;
        Self {
            listen,
            server_names,
            certificate_lifetime: Duration::from_secs(24 * 3600),
            server_certificate_lifetime: Duration::from_secs(365 * 24 * 3600),
            heartbeat_interval: Duration::from_secs(10),
            missed_heartbeats: 3,
            hello_timeout: Duration::from_secs(10),
            endpoint: ServerLimits::default(),
            sessions: 50_000,
            retry_after: Duration::from_secs(30),
            control: LaneLimits {
                frames: Rate { per_second: 10.0, burst: 200.0 },
                bytes: Rate { per_second: MIB / 16.0, burst: MIB },
                patience: Duration::from_secs(10),
            },
            // One batch a second is the rule; the burst is a whole spool that is sent again after a cut.
            metrics: LaneLimits {
                frames: Rate { per_second: 20.0, burst: 2_000.0 },
                bytes: Rate { per_second: MIB / 4.0, burst: 8.0 * MIB },
                patience: Duration::from_secs(30),
            },
            // Agents send what their programs print every 10 ms; whoever follows a log sees it as soon as it is here.
            logs: LaneLimits {
                frames: Rate { per_second: 200.0, burst: 400.0 },
                bytes: Rate { per_second: MIB, burst: 8.0 * MIB },
                patience: Duration::from_secs(30),
            },
            // As long as minutes are kept: of an older time there is nothing finer than five of them.
            oldest_sample: Duration::from_secs(7 * 24 * 3600),
            oldest_traffic: Duration::from_secs(15 * 60),
            windows: 10_000,
            enroll: EnrollLimits {
                rate: Rate { per_second: 128.0, burst: 512.0 },
                refusal_cost: 32.0,
                addresses: 16 * 1024,
                concurrency: 32,
            },
            absent_after: Duration::from_secs(60),
            environments_bytes: 32 * 1024 * 1024,
        }
    }

    /// Silence after which a session is over.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.heartbeat_interval.saturating_mul(self.missed_heartbeats)
    }
}
