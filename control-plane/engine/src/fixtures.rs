//! A deployment and its instances, as unit tests need them.

use std::time::Duration;

use outrigger_catalog::model::{
    Deployment, DeploymentSpec, DeploymentStatus, Instance, InstancePhase, Observation, Resources,
};
use outrigger_protocol::id::{AgentId, DeploymentId, EnvironmentId, InstanceId, OrganizationId, ProjectId};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig};

/// Not on a whole second: whoever cuts time into slots has something to cut.
pub(crate) const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_400);
/// How long an [`instance`] has been there.
pub(crate) const AGE: Duration = Duration::from_secs(120);

/// One by the process driver that wants `desired` replicas.
pub(crate) fn deployment(status: DeploymentStatus, desired: u32) -> Deployment {
    let spec = DeploymentSpec {
        name: "web".to_owned(),
        project: ProjectId::generate(),
        environment: EnvironmentId::generate(),
        driver: "process".to_owned(),
        command: vec!["true".to_owned()],
        resources: Resources::default(),
        min_replicas: 1,
        max_replicas: 10,
        initial_replicas: 1,
        apply: ApplyStrategy::None,
        start_only: Vec::new(),
        bake_time: None,
        rollout: Settings::new(Strategy::AllAtOnce),
        probes: Vec::new(),
        allowed_names: Vec::new(),
        http: false,
        observe: Observation::default(),
        sample_interval: Duration::from_secs(1),
        guards: GuardConfig::default(),
        combine: Combine::Max,
        policies: Vec::new(),
    };
    Deployment {
        id: DeploymentId::generate(),
        organization: OrganizationId::generate(),
        spec,
        status,
        status_reason: None,
        desired_replicas: desired,
        paused: false,
        last_scale_up: None,
        last_scale_down: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// One that the deployment's driver made, and that no agent has joined as.
pub(crate) fn instance(of: &Deployment, phase: InstancePhase) -> Instance {
    let then = NOW.saturating_sub(AGE);
    Instance {
        id: InstanceId::generate(),
        organization: of.organization,
        deployment: of.id,
        phase,
        endpoint: None,
        agent: None,
        outside: false,
        created_at: then,
        updated_at: then,
    }
}

/// The same with an agent.
pub(crate) fn joined(instance: Instance) -> Instance {
    Instance { agent: Some(AgentId::generate()), ..instance }
}

/// One whose agent joined from outside.
pub(crate) fn outside(of: &Deployment) -> Instance {
    Instance { outside: true, ..joined(instance(of, InstancePhase::Running)) }
}
