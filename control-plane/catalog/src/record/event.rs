use outrigger_protocol::time::UnixMillis;

use super::scalar::Text;
use super::{Record, RecordError, v1};
use crate::model::{Event, EventKind};

impl From<&EventKind> for v1::EventKind {
    fn from(kind: &EventKind) -> Self {
        match kind {
            EventKind::StatusChanged { from, to } => Self::StatusChanged { from: from.clone(), to: to.clone() },
            EventKind::ScaledUp { from, to } => Self::ScaledUp { from: *from, to: *to },
            EventKind::ScaledDown { from, to } => Self::ScaledDown { from: *from, to: *to },
            EventKind::InstanceCreated { instance } => Self::InstanceCreated { instance: Text(*instance) },
            EventKind::InstanceDestroyed { instance } => Self::InstanceDestroyed { instance: Text(*instance) },
            EventKind::InstanceLost { instance } => Self::InstanceLost { instance: Text(*instance) },
            EventKind::DriverFailed { instance, operation } => {
                Self::DriverFailed { instance: Text(*instance), operation: operation.clone() }
            }
            EventKind::ConfigPushed { generation } => Self::ConfigPushed { generation: *generation },
            EventKind::ConfigRunning { generation, instances } => {
                Self::ConfigRunning { generation: *generation, instances: *instances }
            }
            EventKind::ConfigFailed { generation, instance } => {
                Self::ConfigFailed { generation: *generation, instance: Text(*instance) }
            }
            EventKind::ConfigRolledBack { generation, restored } => {
                Self::ConfigRolledBack { generation: *generation, restored: *restored }
            }
            EventKind::PolicyFaulted { policy } => Self::PolicyFaulted { policy: policy.clone() },
            EventKind::TokenMisused => Self::TokenMisused,
        }
    }
}

impl From<v1::EventKind> for EventKind {
    fn from(stored: v1::EventKind) -> Self {
        match stored {
            v1::EventKind::StatusChanged { from, to } => Self::StatusChanged { from, to },
            v1::EventKind::ScaledUp { from, to } => Self::ScaledUp { from, to },
            v1::EventKind::ScaledDown { from, to } => Self::ScaledDown { from, to },
            v1::EventKind::InstanceCreated { instance } => Self::InstanceCreated { instance: instance.0 },
            v1::EventKind::InstanceDestroyed { instance } => Self::InstanceDestroyed { instance: instance.0 },
            v1::EventKind::InstanceLost { instance } => Self::InstanceLost { instance: instance.0 },
            v1::EventKind::DriverFailed { instance, operation } => {
                Self::DriverFailed { instance: instance.0, operation }
            }
            v1::EventKind::ConfigPushed { generation } => Self::ConfigPushed { generation },
            v1::EventKind::ConfigRunning { generation, instances } => Self::ConfigRunning { generation, instances },
            v1::EventKind::ConfigFailed { generation, instance } => {
                Self::ConfigFailed { generation, instance: instance.0 }
            }
            v1::EventKind::ConfigRolledBack { generation, restored } => Self::ConfigRolledBack { generation, restored },
            v1::EventKind::PolicyFaulted { policy } => Self::PolicyFaulted { policy },
            v1::EventKind::TokenMisused => Self::TokenMisused,
        }
    }
}

impl Record for Event {
    const ROW: &'static str = "event";
    type Stored = v1::Event;

    fn to_stored(&self) -> v1::Event {
        v1::Event {
            id: Text(self.id),
            organization: Text(self.organization),
            deployment: Text(self.deployment),
            at: self.at.as_millis(),
            kind: (&self.kind).into(),
            message: self.message.clone(),
            decision: self.decision.map(Text),
        }
    }

    fn from_stored(stored: v1::Event) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            at: UnixMillis::from_millis(stored.at),
            kind: stored.kind.into(),
            message: stored.message,
            decision: stored.decision.map(|decision| decision.0),
        })
    }
}
