use std::time::Duration;

use jiff::Timestamp;
use outrigger_catalog::model;
use outrigger_protocol::id::{EnvironmentId, PolicyId, ProjectId};
use outrigger_protocol::time::write_duration;
use outrigger_scaling::{Combine, GuardConfig};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::apply::{Applied, Apply};
use super::decision::Decision;
use super::instance::InstanceMetrics;
use super::observation::Observe;
use super::probe::{NewProbe, Probe};
use super::rollout::{ConfigProgress, Rollout, RolloutSettings};
use super::{DURATION, Problems};
use crate::error::ApiError;
use crate::text::{parse_bytes, parse_duration, write_time};

const DEFAULT_SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A number of bytes, or text such as `256MiB`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "has to be bytes, or text such as 256MiB")]
pub(crate) enum Size {
    Bytes(u64),
    Text(String),
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewResources {
    /// CPU cores, such as 0.5.
    cpu: Option<f64>,
    memory: Option<Size>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Replicas {
    #[serde(default = "one")]
    min: u32,
    max: Option<u32>,
    initial: Option<u32>,
}

fn one() -> u32 {
    1
}

impl Default for Replicas {
    fn default() -> Self {
        Self { min: 1, max: None, initial: None }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewScaling {
    /// max (default), min or weighted
    combine: Option<String>,
    /// Metrics older than this never scale anything down.
    freshness: Option<String>,
    cooldown_up: Option<String>,
    cooldown_down: Option<String>,
    max_step_up: Option<u32>,
    max_step_down: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewPolicyBinding {
    pub(crate) name: String,
    /// The policy's id, or the name of a built-in one.
    pub(crate) policy_id: String,
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub(crate) config: serde_json::Value,
    /// active (default), shadow or disabled
    pub(crate) mode: Option<String>,
}

/// A binding whose name stands in the path.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicyBindingBody {
    /// The policy's id, or the name of a built-in one.
    pub(crate) policy_id: String,
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub(crate) config: serde_json::Value,
    /// active (default), shadow or disabled
    pub(crate) mode: Option<String>,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewDeployment {
    name: String,
    pub(crate) project_id: String,
    /// An environment's id, or a stage that has one active environment in the project.
    pub(crate) environment: String,
    /// process or dry-run
    driver: String,
    /// The program and its arguments.
    command: Vec<String>,
    #[serde(default)]
    resources: NewResources,
    #[serde(default)]
    replicas: Replicas,
    apply_strategy: Option<Apply>,
    #[serde(default)]
    rollout: RolloutSettings,
    /// At most 16.
    #[serde(default)]
    probes: Vec<NewProbe>,
    /// Variable names that are dangerous in general and wanted here, such as NODE_OPTIONS.
    #[serde(default)]
    allowed_names: Vec<String>,
    /// The program serves HTTP on `$PORT`.
    #[serde(default)]
    http: bool,
    #[serde(default)]
    observe: Observe,
    sample_interval: Option<String>,
    #[serde(default)]
    scaling: NewScaling,
    #[serde(default)]
    pub(crate) policies: Vec<NewPolicyBinding>,
}

/// What a route has looked up before a request can be checked as a whole.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) project: ProjectId,
    pub(crate) environment: EnvironmentId,
    /// In the order of the request's policies.
    pub(crate) policies: Vec<PolicyId>,
}

impl NewDeployment {
    /// Everything that can be checked without the catalog; the rest is the catalog's.
    pub(crate) fn check(self, resolved: Resolved) -> Result<model::DeploymentSpec, ApiError> {
        let mut problems = Problems::default();
        let memory_bytes = self.resources.memory.as_ref().and_then(|size| match size {
            Size::Bytes(bytes) => Some(*bytes),
            Size::Text(text) => {
                problems.parse("resources.memory", Some(text), "bytes, or text such as 256MiB", parse_bytes)
            }
        });
        let apply = self.apply_strategy.unwrap_or_default().check(&mut problems);
        let rollout = self.rollout.check(&mut problems);
        let probes: Vec<_> =
            self.probes.into_iter().enumerate().map(|(at, one)| one.check(at, &mut problems)).collect();
        let observe = self.observe.check(&mut problems);
        let sample_interval =
            problems.parse("sampleInterval", self.sample_interval.as_deref(), DURATION, parse_duration);
        let (combine, guards) = self.scaling.check(&mut problems);
        let policies = self
            .policies
            .into_iter()
            .zip(&resolved.policies)
            .enumerate()
            .map(|(at, (binding, id))| binding.check(*id, &format!("policies[{at}].mode"), &mut problems))
            .collect();
        let Replicas { min, max, initial } = self.replicas;
        problems.finish(|| {
            let Applied { strategy, start_only, bake_time } = apply.expect("an unreadable strategy is a problem");
            model::DeploymentSpec {
                name: self.name,
                project: resolved.project,
                environment: resolved.environment,
                driver: self.driver,
                command: self.command,
                resources: model::Resources { cpu_cores: self.resources.cpu, memory_bytes },
                min_replicas: min,
                max_replicas: max.unwrap_or(min.max(1)),
                initial_replicas: initial.unwrap_or(min),
                apply: strategy,
                start_only,
                bake_time,
                rollout,
                // One that cannot be read is a problem.
                probes: probes.into_iter().flatten().collect(),
                allowed_names: self.allowed_names,
                http: self.http,
                observe,
                sample_interval: sample_interval.unwrap_or(DEFAULT_SAMPLE_INTERVAL),
                guards,
                combine,
                policies,
            }
        })
    }
}

impl NewScaling {
    fn check(&self, problems: &mut Problems) -> (Combine, GuardConfig) {
        let default = GuardConfig::default();
        let combine = problems.parse("scaling.combine", self.combine.as_deref(), "one of max, min, weighted", |text| {
            [Combine::Max, Combine::Min, Combine::Weighted].into_iter().find(|mode| mode.name() == text)
        });
        let mut duration = |field: &str, text: &Option<String>, default| {
            problems.parse(field, text.as_deref(), DURATION, parse_duration).unwrap_or(default)
        };
        let guards = GuardConfig {
            freshness: duration("scaling.freshness", &self.freshness, default.freshness),
            cooldown_up: duration("scaling.cooldownUp", &self.cooldown_up, default.cooldown_up),
            cooldown_down: duration("scaling.cooldownDown", &self.cooldown_down, default.cooldown_down),
            max_step_up: self.max_step_up,
            max_step_down: self.max_step_down,
        };
        (combine.unwrap_or_default(), guards)
    }
}

impl NewPolicyBinding {
    fn check(self, policy: PolicyId, mode_field: &str, problems: &mut Problems) -> model::PolicyBinding {
        let mode = problems.parse(mode_field, self.mode.as_deref(), "one of active, shadow, disabled", parse_mode);
        model::PolicyBinding {
            name: self.name,
            policy,
            config: self.config.to_string(),
            mode: mode.unwrap_or(model::PolicyMode::Active),
        }
    }
}

impl PolicyBindingBody {
    pub(crate) fn check(self, name: String, policy: PolicyId) -> Result<model::PolicyBinding, ApiError> {
        let Self { policy_id, config, mode } = self;
        let mut problems = Problems::default();
        let binding = NewPolicyBinding { name, policy_id, config, mode }.check(policy, "mode", &mut problems);
        problems.finish(|| binding)
    }
}

fn parse_mode(text: &str) -> Option<model::PolicyMode> {
    match text {
        "active" => Some(model::PolicyMode::Active),
        "shadow" => Some(model::PolicyMode::Shadow),
        "disabled" => Some(model::PolicyMode::Disabled),
        _ => None,
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Resources {
    /// CPU cores; null means unlimited.
    cpu: Option<f64>,
    /// Bytes; null means unlimited.
    memory: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ReplicaBounds {
    min: u32,
    max: u32,
    initial: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scaling {
    combine: &'static str,
    freshness: String,
    cooldown_up: String,
    cooldown_down: String,
    max_step_up: Option<u32>,
    max_step_down: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyBinding {
    name: String,
    policy_id: String,
    #[schema(value_type = Object)]
    config: serde_json::Value,
    mode: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deployment {
    id: String,
    name: String,
    project_id: String,
    environment_id: String,
    driver: String,
    command: Vec<String>,
    resources: Resources,
    replicas: ReplicaBounds,
    apply_strategy: Apply,
    rollout: RolloutSettings,
    probes: Vec<Probe>,
    allowed_names: Vec<String>,
    http: bool,
    observe: Observe,
    sample_interval: String,
    scaling: Scaling,
    policies: Vec<PolicyBinding>,
    /// PENDING, PROVISIONING, BUILDING, RUNNING, STOPPING, STOPPED, FAILED or DESTROYED
    status: &'static str,
    status_reason: Option<String>,
    desired_replicas: u32,
    ready_replicas: u32,
    paused: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_scale_up: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_scale_down: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl Deployment {
    pub(crate) fn new(deployment: model::Deployment, ready_replicas: u32) -> Self {
        let spec = deployment.spec;
        Self {
            id: deployment.id.to_string(),
            name: spec.name,
            project_id: spec.project.to_string(),
            environment_id: spec.environment.to_string(),
            driver: spec.driver,
            command: spec.command,
            resources: Resources { cpu: spec.resources.cpu_cores, memory: spec.resources.memory_bytes },
            replicas: ReplicaBounds { min: spec.min_replicas, max: spec.max_replicas, initial: spec.initial_replicas },
            apply_strategy: Apply::show(spec.apply, spec.start_only, spec.bake_time),
            rollout: RolloutSettings::show(spec.rollout),
            probes: spec.probes.into_iter().map(Probe::from).collect(),
            allowed_names: spec.allowed_names,
            http: spec.http,
            observe: Observe::show(spec.observe),
            sample_interval: write_duration(spec.sample_interval),
            scaling: Scaling {
                combine: spec.combine.name(),
                freshness: write_duration(spec.guards.freshness),
                cooldown_up: write_duration(spec.guards.cooldown_up),
                cooldown_down: write_duration(spec.guards.cooldown_down),
                max_step_up: spec.guards.max_step_up,
                max_step_down: spec.guards.max_step_down,
            },
            policies: spec.policies.into_iter().map(PolicyBinding::from).collect(),
            status: deployment.status.name(),
            status_reason: deployment.status_reason,
            desired_replicas: deployment.desired_replicas,
            ready_replicas,
            paused: deployment.paused,
            last_scale_up: deployment.last_scale_up.map(write_time),
            last_scale_down: deployment.last_scale_down.map(write_time),
            created_at: write_time(deployment.created_at),
            updated_at: write_time(deployment.updated_at),
        }
    }
}

impl From<model::PolicyBinding> for PolicyBinding {
    fn from(binding: model::PolicyBinding) -> Self {
        Self {
            name: binding.name,
            policy_id: binding.policy.to_string(),
            // It was valid JSON when it was stored; damage is shown as null rather than hidden behind an error.
            config: serde_json::from_str(&binding.config).unwrap_or_default(),
            mode: match binding.mode {
                model::PolicyMode::Active => "active",
                model::PolicyMode::Shadow => "shadow",
                model::PolicyMode::Disabled => "disabled",
            },
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Scale {
    pub(crate) replicas: u32,
    /// Why, for the history.
    #[serde(default)]
    pub(crate) reason: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) deployment_id: String,
    pub(crate) status: &'static str,
    pub(crate) status_reason: Option<String>,
    pub(crate) desired_replicas: u32,
    pub(crate) ready_replicas: u32,
    pub(crate) connected_replicas: u32,
    pub(crate) paused: bool,
    pub(crate) config: Option<ConfigProgress>,
    /// The rollout that is under way, or the last one since the deployment was started; null while it is stopped.
    pub(crate) rollout: Option<Rollout>,
    pub(crate) metrics: InstanceMetrics,
    pub(crate) last_decision: Option<Decision>,
}
