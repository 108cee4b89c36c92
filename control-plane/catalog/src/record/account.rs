use outrigger_protocol::time::UnixMillis;

use super::scalar::{Digest, Text};
use super::{Record, RecordError, TokenRow, UserRow, v1};
use crate::model::{AuditAction, AuditEntry, Origin, Role, TokenInfo, User};

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Developer => Self::Developer,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<v1::Role> for Role {
    fn from(role: v1::Role) -> Self {
        match role {
            v1::Role::Viewer => Self::Viewer,
            v1::Role::Developer => Self::Developer,
            v1::Role::Admin => Self::Admin,
            v1::Role::Owner => Self::Owner,
        }
    }
}

impl Record for UserRow {
    const ROW: &'static str = "user";
    type Stored = v1::User;

    fn to_stored(&self) -> v1::User {
        let User { id, organization, email, name, role, created_at } = &self.user;
        v1::User {
            id: Text(*id),
            organization: Text(*organization),
            email: email.clone(),
            name: name.clone(),
            role: (*role).into(),
            created_at: created_at.as_millis(),
            password: self.password.clone(),
        }
    }

    fn from_stored(stored: v1::User) -> Result<Self, RecordError> {
        let v1::User { id, organization, email, name, role, created_at, password } = stored;
        let created_at = UnixMillis::from_millis(created_at);
        let user = User { id: id.0, organization: organization.0, email, name, role: role.into(), created_at };
        Ok(Self { user, password })
    }
}

impl Record for TokenRow {
    const ROW: &'static str = "token";
    type Stored = v1::Token;

    fn to_stored(&self) -> v1::Token {
        let TokenInfo { id, user, created_at, expires_at } = self.info;
        v1::Token {
            id: Text(id),
            user: user.map(Text),
            hash: Digest(self.hash),
            created_at: created_at.as_millis(),
            expires_at: expires_at.map(UnixMillis::as_millis),
        }
    }

    fn from_stored(stored: v1::Token) -> Result<Self, RecordError> {
        let v1::Token { id, user, hash, created_at, expires_at } = stored;
        let info = TokenInfo {
            id: id.0,
            user: user.map(|user| user.0),
            created_at: UnixMillis::from_millis(created_at),
            expires_at: expires_at.map(UnixMillis::from_millis),
        };
        Ok(Self { info, hash: hash.0 })
    }
}

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
        }
    }
}

impl Record for AuditEntry {
    const ROW: &'static str = "audit";
    type Stored = v1::AuditEntry;

    fn to_stored(&self) -> v1::AuditEntry {
        let Origin { address, user_agent, request_id } = self.origin.clone();
        v1::AuditEntry {
            id: Text(self.id),
            at: self.at.as_millis(),
            actor: self.actor.clone(),
            origin: v1::Origin { address, user_agent, request_id },
            action: self.action.into(),
            target: self.target.clone(),
            detail: self.detail.clone(),
        }
    }

    fn from_stored(stored: v1::AuditEntry) -> Result<Self, RecordError> {
        let v1::AuditEntry { id, at, actor, origin, action, target, detail } = stored;
        let v1::Origin { address, user_agent, request_id } = origin;
        Ok(Self {
            id: id.0,
            at: UnixMillis::from_millis(at),
            actor,
            origin: Origin { address, user_agent, request_id },
            action: action.into(),
            target,
            detail,
        })
    }
}
