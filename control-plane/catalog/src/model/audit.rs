use outrigger_protocol::id::AuditId;
use outrigger_protocol::time::UnixMillis;

use super::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    Create,
    Update,
    Delete,
    Reveal,
    Reload,
    Scale,
    Login,
    Enroll,
    Failure,
}

/// Who did what to what. Written in the transaction of the change it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at: UnixMillis,
    /// A user's id, `operator`, `system` or an agent's id.
    pub actor: String,
    pub origin: Origin,
    pub action: AuditAction,
    /// The id or path of what it was done to, `env_…/DATABASE_URL`.
    pub target: String,
    /// In words; never holds a secret.
    pub detail: String,
}
