use outrigger_protocol::time::UnixMillis;

use super::scalar::{Digest, Text};
use super::{Record, RecordError, v1};
use crate::audit::AuditHead;
use crate::model::{AuditAction, AuditEntry, Origin};

impl From<AuditAction> for v1::AuditAction {
    fn from(action: AuditAction) -> Self {
        match action {
            AuditAction::Create => Self::Create,
            AuditAction::Update => Self::Update,
            AuditAction::Delete => Self::Delete,
            AuditAction::Reveal => Self::Reveal,
            AuditAction::Reload => Self::Reload,
            AuditAction::Scale => Self::Scale,
            AuditAction::Login => Self::Login,
            AuditAction::Enroll => Self::Enroll,
            AuditAction::Failure => Self::Failure,
            AuditAction::Export => Self::Export,
            AuditAction::Import => Self::Import,
            AuditAction::Rollback => Self::Rollback,
            AuditAction::Rotate => Self::Rotate,
            AuditAction::Approve => Self::Approve,
            AuditAction::Reject => Self::Reject,
            AuditAction::Override => Self::Override,
            AuditAction::Rollout => Self::Rollout,
        }
    }
}

impl From<v1::AuditAction> for AuditAction {
    fn from(action: v1::AuditAction) -> Self {
        match action {
            v1::AuditAction::Create => Self::Create,
            v1::AuditAction::Update => Self::Update,
            v1::AuditAction::Delete => Self::Delete,
            v1::AuditAction::Reveal => Self::Reveal,
            v1::AuditAction::Reload => Self::Reload,
            v1::AuditAction::Scale => Self::Scale,
            v1::AuditAction::Login => Self::Login,
            v1::AuditAction::Enroll => Self::Enroll,
            v1::AuditAction::Failure => Self::Failure,
            v1::AuditAction::Export => Self::Export,
            v1::AuditAction::Import => Self::Import,
            v1::AuditAction::Rollback => Self::Rollback,
            v1::AuditAction::Rotate => Self::Rotate,
            v1::AuditAction::Approve => Self::Approve,
            v1::AuditAction::Reject => Self::Reject,
            v1::AuditAction::Override => Self::Override,
            v1::AuditAction::Rollout => Self::Rollout,
        }
    }
}

impl Record for AuditEntry {
    const ROW: &'static str = "audit";
    type Stored = v1::AuditEntry;

    fn to_stored(&self) -> v1::AuditEntry {
        let Origin { address, user_agent, request_id, session } = self.origin.clone();
        v1::AuditEntry {
            id: Text(self.id),
            at: self.at.as_millis(),
            actor: self.actor.clone(),
            origin: v1::Origin { address, user_agent, request_id, session: session.map(Text) },
            action: self.action.into(),
            target: self.target.clone(),
            detail: self.detail.clone(),
            project: self.project.map(Text),
            before: self.before.map(Text),
            after: self.after.map(Text),
        }
    }

    fn from_stored(stored: v1::AuditEntry) -> Result<Self, RecordError> {
        let v1::AuditEntry { id, at, actor, origin, action, target, detail, project, before, after } = stored;
        let v1::Origin { address, user_agent, request_id, session } = origin;
        Ok(Self {
            id: id.0,
            at: UnixMillis::from_millis(at),
            actor,
            origin: Origin { address, user_agent, request_id, session: session.map(|session| session.0) },
            action: action.into(),
            target,
            detail,
            project: project.map(|project| project.0),
            before: before.map(|print| print.0),
            after: after.map(|print| print.0),
        })
    }
}

impl Record for AuditHead {
    const ROW: &'static str = "audit head";
    type Stored = v1::AuditHead;

    fn to_stored(&self) -> v1::AuditHead {
        let Self { start, next, digest, signature } = *self;
        v1::AuditHead { start, next, digest: Digest(digest), signature: Digest(signature) }
    }

    fn from_stored(stored: v1::AuditHead) -> Result<Self, RecordError> {
        let v1::AuditHead { start, next, digest, signature } = stored;
        Ok(Self { start, next, digest: digest.0, signature: signature.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn an_entry_of_before_the_chain_still_reads() {
        let id = outrigger_protocol::id::AuditId::generate();
        let origin = r#"{"address":null,"userAgent":null,"requestId":null}"#;
        let row = format!(
            "\u{1}{{\"id\":\"{id}\",\"at\":7,\"actor\":\"operator\",\"origin\":{origin},\"action\":\"create\",\
             \"target\":\"t\",\"detail\":\"d\"}}"
        );
        let entry: AuditEntry = decode(row.as_bytes()).unwrap();
        assert_eq!((entry.id, entry.action, entry.origin), (id, AuditAction::Create, Origin::default()));
        assert_eq!((entry.project, entry.before, entry.after), (None, None, None));
    }
}
