use outrigger_protocol::time::UnixMillis;

use super::scalar::{Digest, Text};
use super::{IssuedJoinToken, JoinTokenRow, Record, RecordError, v1};
use crate::model::{Agent, Instance, InstancePhase, Intent, IntentKind, JoinTokenInfo};
use crate::scaling::Recorded;

impl Record for Instance {
    const ROW: &'static str = "instance";
    type Stored = v1::Instance;

    fn to_stored(&self) -> v1::Instance {
        v1::Instance {
            id: Text(self.id),
            organization: Text(self.organization),
            deployment: Text(self.deployment),
            phase: match self.phase {
                InstancePhase::Creating => v1::InstancePhase::Creating,
                InstancePhase::Running => v1::InstancePhase::Running,
                InstancePhase::Destroying => v1::InstancePhase::Destroying,
                InstancePhase::Gone => v1::InstancePhase::Gone,
            },
            endpoint: self.endpoint.clone(),
            agent: self.agent.map(Text),
            outside: self.outside,
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Instance) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            phase: match stored.phase {
                v1::InstancePhase::Creating => InstancePhase::Creating,
                v1::InstancePhase::Running => InstancePhase::Running,
                v1::InstancePhase::Destroying => InstancePhase::Destroying,
                v1::InstancePhase::Gone => InstancePhase::Gone,
            },
            endpoint: stored.endpoint,
            agent: stored.agent.map(|agent| agent.0),
            outside: stored.outside,
            created_at: UnixMillis::from_millis(stored.created_at),
            updated_at: UnixMillis::from_millis(stored.updated_at),
        })
    }
}

impl Record for Agent {
    const ROW: &'static str = "agent";
    type Stored = v1::Agent;

    fn to_stored(&self) -> v1::Agent {
        v1::Agent {
            id: Text(self.id),
            organization: Text(self.organization),
            deployment: Text(self.deployment),
            instance: Text(self.instance),
            key_fingerprint: Digest(self.key_fingerprint),
            revoked: self.revoked,
            enrolled_at: self.enrolled_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Agent) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            instance: stored.instance.0,
            key_fingerprint: stored.key_fingerprint.0,
            revoked: stored.revoked,
            enrolled_at: UnixMillis::from_millis(stored.enrolled_at),
        })
    }
}

impl Record for JoinTokenRow {
    const ROW: &'static str = "join token";
    type Stored = v1::JoinToken;

    fn to_stored(&self) -> v1::JoinToken {
        let JoinTokenInfo { id, organization, deployment, instance, created_at, expires_at, used_by } = self.info;
        v1::JoinToken {
            id: Text(id),
            organization: Text(organization),
            deployment: Text(deployment),
            instance: instance.map(Text),
            created_at: created_at.as_millis(),
            expires_at: expires_at.as_millis(),
            used_by: used_by.map(Text),
            secret_hash: Digest(self.secret_hash),
        }
    }

    fn from_stored(stored: v1::JoinToken) -> Result<Self, RecordError> {
        let info = JoinTokenInfo {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            instance: stored.instance.map(|instance| instance.0),
            created_at: UnixMillis::from_millis(stored.created_at),
            expires_at: UnixMillis::from_millis(stored.expires_at),
            used_by: stored.used_by.map(|agent| agent.0),
        };
        Ok(Self { info, secret_hash: stored.secret_hash.0 })
    }
}

impl Record for IssuedJoinToken {
    const ROW: &'static str = "join token result";
    type Stored = v1::IssuedJoinToken;

    fn to_stored(&self) -> v1::IssuedJoinToken {
        v1::IssuedJoinToken { token: self.row.to_stored(), secret: Digest(self.secret) }
    }

    fn from_stored(stored: v1::IssuedJoinToken) -> Result<Self, RecordError> {
        Ok(Self { row: JoinTokenRow::from_stored(stored.token)?, secret: stored.secret.0 })
    }
}

impl Record for Intent {
    const ROW: &'static str = "intent";
    type Stored = v1::Intent;

    fn to_stored(&self) -> v1::Intent {
        v1::Intent {
            id: Text(self.id),
            organization: Text(self.organization),
            deployment: Text(self.deployment),
            instance: Text(self.instance),
            kind: match self.kind {
                IntentKind::Create => v1::IntentKind::Create,
                IntentKind::Destroy => v1::IntentKind::Destroy,
            },
            attempts: self.attempts,
            created_at: self.created_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Intent) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            instance: stored.instance.0,
            kind: match stored.kind {
                v1::IntentKind::Create => IntentKind::Create,
                v1::IntentKind::Destroy => IntentKind::Destroy,
            },
            attempts: stored.attempts,
            created_at: UnixMillis::from_millis(stored.created_at),
        })
    }
}

impl Record for Recorded {
    const ROW: &'static str = "scaling result";
    type Stored = v1::Recorded;

    fn to_stored(&self) -> v1::Recorded {
        v1::Recorded {
            deployment: self.deployment.to_stored(),
            intents: self.intents.iter().map(Record::to_stored).collect(),
        }
    }

    fn from_stored(stored: v1::Recorded) -> Result<Self, RecordError> {
        let intents = stored.intents.into_iter().map(Intent::from_stored).collect::<Result<_, _>>()?;
        Ok(Self { deployment: Record::from_stored(stored.deployment)?, intents })
    }
}
