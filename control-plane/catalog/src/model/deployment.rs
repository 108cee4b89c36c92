use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, EnvironmentId, OrganizationId, PolicyId, ProjectId};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::probe::Probe;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::Settings;
use outrigger_scaling::{Combine, GuardConfig};

/// The life cycle of a deployment; API.md fixes the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeploymentStatus {
    Pending,
    Provisioning,
    Building,
    Running,
    Stopping,
    Stopped,
    Failed,
    Destroyed,
}

impl DeploymentStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Provisioning => "PROVISIONING",
            Self::Building => "BUILDING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
            Self::Destroyed => "DESTROYED",
        }
    }

    /// Whether it runs or is about to. Then, and only then, its agents are offered its environment, and a change with
    /// which it could not run is refused.
    #[must_use]
    pub const fn is_started(self) -> bool {
        matches!(self, Self::Provisioning | Self::Building | Self::Running)
    }
}

/// What each instance may use; absent means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Resources {
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
}

/// Where the agents find what the program says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The program's metrics page.
    pub scrape: Option<Scrape>,
    /// The program sends StatsD or DogStatsD.
    pub statsd: bool,
    /// What becomes what: rules of `outrigger_protocol::rule`, as they were written.
    pub metrics: Vec<String>,
}

/// A page in Prometheus' text format or in `OpenMetrics`, beside the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// `None` is `$PORT`, which the program has of its own in each instance.
    pub port: Option<u16>,
    /// Path and query.
    pub path: String,
    /// At least so long from one reading to the next; `None` is with every sample.
    pub interval: Option<Duration>,
}

/// How a policy takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyMode {
    Active,
    /// Evaluated and recorded, never acted on.
    Shadow,
    Disabled,
}

impl PolicyMode {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
            Self::Disabled => "disabled",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PolicyBinding {
    /// Unique within the deployment.
    pub name: String,
    pub policy: PolicyId,
    /// JSON, valid against the policy's schema.
    pub config: String,
    pub mode: PolicyMode,
}

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSpec {
    pub name: String,
    pub project: ProjectId,
    pub environment: EnvironmentId,
    /// A driver's name: `process`, `dry-run`.
    pub driver: String,
    /// Program and arguments; at least one element.
    pub command: Vec<String>,
    pub resources: Resources,
    pub min_replicas: u32,
    pub max_replicas: u32,
    pub initial_replicas: u32,
    pub apply: ApplyStrategy,
    /// Variables that the program reads at its start alone: a change of one is not applied before its next start, whatever
    /// the strategy.
    pub start_only: Vec<String>,
    /// How long new configuration is on trial in an instance; `None` leaves it to the agent.
    pub bake_time: Option<Duration>,
    /// How a new generation spreads over the instances.
    pub rollout: Settings,
    pub probes: Vec<Probe>,
    /// Dangerous variable names that are allowed here by name.
    pub allowed_names: Vec<String>,
    /// The program serves HTTP on `$PORT`: the agent measures its requests as a reverse proxy in front of it.
    pub http: bool,
    pub observe: Observation,
    pub sample_interval: Duration,
    pub guards: GuardConfig,
    pub combine: Combine,
    pub policies: Vec<PolicyBinding>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub organization: OrganizationId,
    pub spec: DeploymentSpec,
    pub status: DeploymentStatus,
    /// In words, when the status is `Failed`.
    pub status_reason: Option<String>,
    /// How many replicas there should be; 0 unless it is meant to run.
    pub desired_replicas: u32,
    /// Automatic scaling is off.
    pub paused: bool,
    pub last_scale_up: Option<UnixMillis>,
    pub last_scale_down: Option<UnixMillis>,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}
