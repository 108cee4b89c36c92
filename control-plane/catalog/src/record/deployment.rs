use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig};

use super::scalar::Text;
use super::{Record, RecordError, v1};
use crate::model::{
    Deployment, DeploymentSpec, DeploymentStatus, Observation, PolicyBinding, PolicyMode, Resources, Scrape,
};

impl From<DeploymentStatus> for v1::DeploymentStatus {
    fn from(status: DeploymentStatus) -> Self {
        match status {
            DeploymentStatus::Pending => Self::Pending,
            DeploymentStatus::Provisioning => Self::Provisioning,
            DeploymentStatus::Building => Self::Building,
            DeploymentStatus::Running => Self::Running,
            DeploymentStatus::Stopping => Self::Stopping,
            DeploymentStatus::Stopped => Self::Stopped,
            DeploymentStatus::Failed => Self::Failed,
            DeploymentStatus::Destroyed => Self::Destroyed,
        }
    }
}

impl From<v1::DeploymentStatus> for DeploymentStatus {
    fn from(status: v1::DeploymentStatus) -> Self {
        match status {
            v1::DeploymentStatus::Pending => Self::Pending,
            v1::DeploymentStatus::Provisioning => Self::Provisioning,
            v1::DeploymentStatus::Building => Self::Building,
            v1::DeploymentStatus::Running => Self::Running,
            v1::DeploymentStatus::Stopping => Self::Stopping,
            v1::DeploymentStatus::Stopped => Self::Stopped,
            v1::DeploymentStatus::Failed => Self::Failed,
            v1::DeploymentStatus::Destroyed => Self::Destroyed,
        }
    }
}

impl From<&PolicyBinding> for v1::PolicyBinding {
    fn from(binding: &PolicyBinding) -> Self {
        let mode = match binding.mode {
            PolicyMode::Active => v1::PolicyMode::Active,
            PolicyMode::Shadow => v1::PolicyMode::Shadow,
            PolicyMode::Disabled => v1::PolicyMode::Disabled,
        };
        Self { name: binding.name.clone(), policy: Text(binding.policy), config: binding.config.clone(), mode }
    }
}

impl From<v1::PolicyBinding> for PolicyBinding {
    fn from(stored: v1::PolicyBinding) -> Self {
        let mode = match stored.mode {
            v1::PolicyMode::Active => PolicyMode::Active,
            v1::PolicyMode::Shadow => PolicyMode::Shadow,
            v1::PolicyMode::Disabled => PolicyMode::Disabled,
        };
        Self { name: stored.name, policy: stored.policy.0, config: stored.config, mode }
    }
}

impl From<ApplyStrategy> for v1::Apply {
    fn from(apply: ApplyStrategy) -> Self {
        match apply {
            ApplyStrategy::Restart { jitter } => Self::Restart { jitter: jitter.into() },
            ApplyStrategy::Signal { signal } => Self::Signal { signal },
            ApplyStrategy::File => Self::File,
            ApplyStrategy::None => Self::None,
        }
    }
}

impl From<v1::Apply> for ApplyStrategy {
    fn from(apply: v1::Apply) -> Self {
        match apply {
            v1::Apply::Restart { jitter } => Self::Restart { jitter: jitter.into() },
            v1::Apply::Signal { signal } => Self::Signal { signal },
            v1::Apply::File => Self::File,
            v1::Apply::None => Self::None,
        }
    }
}

impl From<GuardConfig> for v1::Guards {
    fn from(config: GuardConfig) -> Self {
        let GuardConfig { freshness, cooldown_up, cooldown_down, max_step_up, max_step_down } = config;
        Self {
            freshness: freshness.into(),
            cooldown_up: cooldown_up.into(),
            cooldown_down: cooldown_down.into(),
            max_step_up,
            max_step_down,
        }
    }
}

impl From<v1::Guards> for GuardConfig {
    fn from(stored: v1::Guards) -> Self {
        let v1::Guards { freshness, cooldown_up, cooldown_down, max_step_up, max_step_down } = stored;
        Self {
            freshness: freshness.into(),
            cooldown_up: cooldown_up.into(),
            cooldown_down: cooldown_down.into(),
            max_step_up,
            max_step_down,
        }
    }
}

impl From<&Observation> for v1::Observation {
    fn from(observe: &Observation) -> Self {
        let scrape = observe.scrape.clone().map(|Scrape { port, path, interval }| v1::Scrape {
            port,
            path,
            interval: interval.map(Into::into),
        });
        Self { scrape, statsd: observe.statsd, metrics: observe.metrics.clone() }
    }
}

impl From<v1::Observation> for Observation {
    fn from(stored: v1::Observation) -> Self {
        let scrape = stored.scrape.map(|v1::Scrape { port, path, interval }| Scrape {
            port,
            path,
            interval: interval.map(Into::into),
        });
        Self { scrape, statsd: stored.statsd, metrics: stored.metrics }
    }
}

impl From<&DeploymentSpec> for v1::DeploymentSpec {
    fn from(spec: &DeploymentSpec) -> Self {
        Self {
            name: spec.name.clone(),
            project: Text(spec.project),
            environment: Text(spec.environment),
            driver: spec.driver.clone(),
            command: spec.command.clone(),
            resources: v1::Resources { cpu_cores: spec.resources.cpu_cores, memory_bytes: spec.resources.memory_bytes },
            min_replicas: spec.min_replicas,
            max_replicas: spec.max_replicas,
            initial_replicas: spec.initial_replicas,
            apply: spec.apply.into(),
            start_only: spec.start_only.clone(),
            bake_time: spec.bake_time.map(Into::into),
            rollout: Some((&spec.rollout).into()),
            probes: spec.probes.iter().map(Into::into).collect(),
            allowed_names: spec.allowed_names.clone(),
            http: spec.http,
            observe: (spec.observe != Observation::default()).then(|| (&spec.observe).into()),
            sample_interval: spec.sample_interval.into(),
            guards: spec.guards.into(),
            combine: match spec.combine {
                Combine::Max => v1::Combine::Max,
                Combine::Min => v1::Combine::Min,
                Combine::Weighted => v1::Combine::Weighted,
            },
            policies: spec.policies.iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::DeploymentSpec> for DeploymentSpec {
    fn from(stored: v1::DeploymentSpec) -> Self {
        Self {
            name: stored.name,
            project: stored.project.0,
            environment: stored.environment.0,
            driver: stored.driver,
            command: stored.command,
            resources: Resources { cpu_cores: stored.resources.cpu_cores, memory_bytes: stored.resources.memory_bytes },
            min_replicas: stored.min_replicas,
            max_replicas: stored.max_replicas,
            initial_replicas: stored.initial_replicas,
            apply: stored.apply.into(),
            start_only: stored.start_only,
            bake_time: stored.bake_time.map(Into::into),
            rollout: stored.rollout.map_or_else(|| Settings::new(Strategy::AllAtOnce), Into::into),
            probes: stored.probes.into_iter().map(Into::into).collect(),
            allowed_names: stored.allowed_names,
            http: stored.http,
            observe: stored.observe.map(Into::into).unwrap_or_default(),
            sample_interval: stored.sample_interval.into(),
            guards: stored.guards.into(),
            combine: match stored.combine {
                v1::Combine::Max => Combine::Max,
                v1::Combine::Min => Combine::Min,
                v1::Combine::Weighted => Combine::Weighted,
            },
            policies: stored.policies.into_iter().map(Into::into).collect(),
        }
    }
}

impl Record for Deployment {
    const ROW: &'static str = "deployment";
    type Stored = v1::Deployment;

    fn to_stored(&self) -> v1::Deployment {
        v1::Deployment {
            id: Text(self.id),
            organization: Text(self.organization),
            spec: (&self.spec).into(),
            status: self.status.into(),
            status_reason: self.status_reason.clone(),
            desired_replicas: self.desired_replicas,
            paused: self.paused,
            last_scale_up: self.last_scale_up.map(UnixMillis::as_millis),
            last_scale_down: self.last_scale_down.map(UnixMillis::as_millis),
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Deployment) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            spec: stored.spec.into(),
            status: stored.status.into(),
            status_reason: stored.status_reason,
            desired_replicas: stored.desired_replicas,
            paused: stored.paused,
            last_scale_up: stored.last_scale_up.map(UnixMillis::from_millis),
            last_scale_down: stored.last_scale_down.map(UnixMillis::from_millis),
            created_at: UnixMillis::from_millis(stored.created_at),
            updated_at: UnixMillis::from_millis(stored.updated_at),
        })
    }
}
