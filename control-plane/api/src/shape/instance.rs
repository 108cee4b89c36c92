use jiff::Timestamp;
use outrigger_engine::InstanceView;
use outrigger_protocol::message::ProgramState;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::probe::InstanceProbe;
use crate::text::write_time;

/// The latest readings; null where nothing is known.
#[derive(Debug, Default, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceMetrics {
    /// Percent of the CPU limit.
    pub(crate) cpu: Option<f64>,
    /// Working set in percent of the memory limit.
    pub(crate) memory: Option<f64>,
    /// Requests per second.
    pub(crate) requests: Option<f64>,
    /// 95th percentile, milliseconds.
    pub(crate) response_time: Option<f64>,
}

impl From<&Sample> for InstanceMetrics {
    fn from(sample: &Sample) -> Self {
        let slowest = sample.latency.as_ref().and_then(|histogram| histogram.quantile(0.95));
        Self {
            cpu: sample.value(Metric::Cpu),
            memory: sample.value(Metric::Memory),
            requests: sample.value(Metric::Requests),
            response_time: slowest.map(|time| time.as_secs_f64() * 1e3),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Program {
    /// waiting, running, backoff or exited
    state: &'static str,
    pid: Option<u32>,
    restarts: Option<u32>,
    exit_code: Option<i32>,
}

impl From<ProgramState> for Program {
    fn from(state: ProgramState) -> Self {
        let none = Self { state: "waiting", pid: None, restarts: None, exit_code: None };
        match state {
            ProgramState::Waiting => none,
            ProgramState::Running { pid, restarts } => {
                Self { state: "running", pid: Some(pid), restarts: Some(restarts), ..none }
            }
            ProgramState::Backoff { restarts } => Self { state: "backoff", restarts: Some(restarts), ..none },
            ProgramState::Exited { code } => Self { state: "exited", exit_code: Some(code), ..none },
        }
    }
}

/// Generations on their way into the program.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceConfig {
    running: Option<u64>,
    last_received: Option<u64>,
    last_failed: Option<FailedConfig>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailedConfig {
    generation: u64,
    error: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    id: String,
    agent_id: Option<String>,
    /// CREATING, RUNNING, DESTROYING or GONE
    phase: &'static str,
    connected: bool,
    /// Connected, running, and past its startup and readiness probes.
    ready: bool,
    /// Where the program answers, when it serves.
    endpoint: Option<String>,
    program: Option<Program>,
    /// As its agent has reported them last; none before it has.
    probes: Vec<InstanceProbe>,
    config: InstanceConfig,
    agent_version: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen: Option<Timestamp>,
    metrics: InstanceMetrics,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<InstanceView> for Instance {
    /// What is stored of an instance, with what its agent says right now.
    fn from(InstanceView { instance: stored, live, ready }: InstanceView) -> Self {
        let live = live.as_ref();
        let config = live.map(|live| InstanceConfig {
            running: live.config.running.map(|config| config.generation),
            last_received: live.config.last_received.map(|config| config.generation),
            last_failed: live
                .config
                .last_failed
                .as_ref()
                .map(|failure| FailedConfig { generation: failure.config.generation, error: failure.error.clone() }),
        });
        Self {
            id: stored.id.to_string(),
            agent_id: stored.agent.map(|agent| agent.to_string()),
            phase: stored.phase.name(),
            connected: live.is_some_and(|live| live.connected),
            ready,
            endpoint: stored.endpoint,
            program: live.map(|live| Program::from(live.program)),
            probes: live
                .and_then(|live| live.health.as_deref())
                .map(|health| health.probes.iter().map(InstanceProbe::from).collect())
                .unwrap_or_default(),
            config: config.unwrap_or_default(),
            agent_version: live.map(|live| live.agent_version.to_string()),
            last_seen: live.map(|live| write_time(live.last_seen)),
            metrics: live.and_then(|live| live.latest.as_deref()).map(InstanceMetrics::from).unwrap_or_default(),
            created_at: write_time(stored.created_at),
        }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewJoinToken {
    /// How long it may be used, 10m by default.
    pub(crate) ttl: Option<String>,
}

/// A one-time token, shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinToken {
    pub(crate) id: String,
    pub(crate) token: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: Timestamp,
    /// A command line to run in the sandbox, with the token in the variable OUTRIGGER_JOIN_TOKEN.
    pub(crate) command: String,
}
