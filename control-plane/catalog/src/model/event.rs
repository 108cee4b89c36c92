use outrigger_protocol::id::{DecisionId, DeploymentId, EventId, InstanceId, OrganizationId};
use outrigger_protocol::time::UnixMillis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    StatusChanged {
        from: String,
        to: String,
    },
    ScaledUp {
        from: u32,
        to: u32,
    },
    ScaledDown {
        from: u32,
        to: u32,
    },
    InstanceCreated {
        instance: InstanceId,
    },
    InstanceDestroyed {
        instance: InstanceId,
    },
    /// An instance that ended on its own and is replaced.
    InstanceLost {
        instance: InstanceId,
    },
    DriverFailed {
        instance: InstanceId,
        operation: String,
    },
    ConfigPushed {
        generation: u64,
    },
    ConfigRunning {
        generation: u64,
        instances: u32,
    },
    ConfigFailed {
        generation: u64,
        instance: InstanceId,
    },
    /// A gate failed, or somebody aborted a rollout: the content from before is generation `restored`.
    ConfigRolledBack {
        generation: u64,
        restored: u64,
    },
    PolicyFaulted {
        policy: String,
    },
    TokenMisused,
}

/// Something a person may want to know about a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub at: UnixMillis,
    pub kind: EventKind,
    /// In words.
    pub message: String,
    pub decision: Option<DecisionId>,
}
