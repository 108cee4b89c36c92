use outrigger_protocol::time::UnixMillis;

use super::scalar::{Digest, Text};
use super::{Record, RecordError, TokenRow, UserRow, v1};
use crate::model::{Role, TokenInfo, User};

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
