//! Who asks. Every method of the catalog takes one, and builds its keys from the organisation in it: a row of
//! another tenant is not forbidden, it is not there.

use std::fmt;
use std::net::IpAddr;

use outrigger_protocol::id::{OrganizationId, TokenId, UserId};

/// Ordered: each role may do all that the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads, except secrets.
    Viewer,
    /// Changes projects' content: variables, deployments, policies.
    Developer,
    /// Creates and deletes projects, reveals secrets, manages members.
    Admin,
    Owner,
}

impl Role {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// The identity behind a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(UserId),
    /// The holder of the operator token; acts in the operator's own organisation and on the installation.
    Operator,
    /// The control plane itself, for what nobody asked for: scaling, reconciliation.
    System,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
        }
    }
}

/// Where a call came from; kept in the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    /// The token that the caller showed, by its id: what was done in one session has the same.
    pub session: Option<TokenId>,
}

/// A caller's promise that the same key means the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// As the client sent it, at most 128 bytes.
    pub key: String,
    /// SHA-256 over method, path and body: the same key with another digest is a conflict.
    pub request_digest: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub organization: OrganizationId,
    pub subject: Subject,
    pub role: Role,
    pub origin: Origin,
    pub idempotency: Option<Idempotency>,
}

impl Actor {
    /// The control plane acting for an organisation on its own account.
    #[must_use]
    pub fn system(organization: OrganizationId) -> Self {
        Self { organization, subject: Subject::System, role: Role::Owner, origin: Origin::default(), idempotency: None }
    }
}
