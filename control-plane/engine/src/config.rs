use std::net::SocketAddr;
use std::time::Duration;

use outrigger_policy_host::{BreakerConfig, PoolConfig};
use outrigger_scaling::WindowConfig;

use crate::ambient::Ambient;

/// How the engine is set up. [`EngineConfig::new`] gives the defaults with their reasons.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where agents reach the control plane.
    pub agents_address: SocketAddr,
    /// The name in the control plane's certificate.
    pub server_name: String,
    pub scaler: ScalerConfig,
    pub executor: ExecutorConfig,
    pub reconciler: ReconcilerConfig,
    pub policies: PoolConfig,
    pub breaker: BreakerConfig,
    /// Where time and randomness come from.
    pub ambient: Ambient,
}

impl EngineConfig {
    #[must_use]
    pub fn new(agents_address: SocketAddr, server_name: String) -> Self {
        Self {
            agents_address,
            server_name,
            scaler: ScalerConfig::default(),
            executor: ExecutorConfig::default(),
            reconciler: ReconcilerConfig::default(),
            policies: PoolConfig::default(),
            breaker: BreakerConfig::default(),
            ambient: Ambient::system(),
        }
    }
}

/// When deployments are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalerConfig {
    /// Between two looks at one deployment: what arrives together is looked at together. Less than a person notices, and
    /// what a sample may wait for its decision.
    pub min_interval: Duration,
    /// A deployment from which nothing is heard is looked at this often: metrics go stale in silence.
    pub tick: Duration,
    /// Deployments that are looked at at the same time.
    pub concurrency: usize,
    /// Points of the series that a policy which names no window gets.
    pub points: usize,
    /// A hold that repeats the one before is written down this often.
    pub repeat_holds: Duration,
    /// From the start of a deployment until its replicas have to be ready.
    pub provision_timeout: Duration,
}

impl Default for ScalerConfig {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(20),
            tick: Duration::from_secs(5),
            concurrency: 64,
            points: 60,
            repeat_holds: Duration::from_secs(60),
            provision_timeout: Duration::from_secs(300),
        }
    }
}

/// How effects are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorConfig {
    /// Driver calls at the same time, over all deployments.
    pub concurrency: usize,
    /// Effects that wait in memory; further ones wait in the store until the reconciler brings them.
    pub queue: usize,
    /// Tries of one effect before it fails (a creation) or is left to the reconciler (a destruction).
    pub attempts: u32,
    /// The wait after the first failure; doubled by each further one.
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// A driver that takes longer has failed.
    pub call_timeout: Duration,
    /// What an agent leaves its program between TERM and KILL.
    pub stop_grace: Duration,
    /// What an agent gets beyond that before it is killed itself.
    pub agent_grace: Duration,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            concurrency: 16,
            queue: 4096,
            attempts: 4,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
            agent_grace: Duration::from_secs(3),
        }
    }
}

/// How what is wanted is held against what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconcilerConfig {
    pub interval: Duration,
    /// Between two rounds that something asked for.
    pub min_interval: Duration,
    /// An instance that no driver knows and whose agent is silent for this long is lost.
    pub lost_after: Duration,
    /// The wait before an instance that was lost soon after the one before is replaced; doubled by each further one.
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// An instance that lived this long was not part of a crash loop.
    pub steady_after: Duration,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            min_interval: Duration::from_millis(500),
            lost_after: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            steady_after: Duration::from_secs(60),
        }
    }
}

/// The most points that a policy can get: what windows keep.
pub(crate) fn most_points() -> usize {
    WindowConfig::default().points
}
