use outrigger_protocol::id::{OrganizationId, TokenId, UserId};
use outrigger_protocol::time::UnixMillis;

use super::Role;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// The organisation that was made at registration.
    pub organization: OrganizationId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub created_at: UnixMillis,
}

/// What is known of a bearer token; the token itself is shown once and kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: TokenId,
    pub user: Option<UserId>,
    pub created_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
}
