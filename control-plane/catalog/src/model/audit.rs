use outrigger_protocol::id::{AuditId, ProjectId};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::Fingerprint;

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
    /// All values of an environment were handed out.
    Export,
    /// A key was replaced by a new one.
    Rotate,
    /// Variables were taken over from a file or a template.
    Import,
    /// An environment went back to old variables.
    Rollback,
    /// A change was published that somebody else had asked for.
    Approve,
    /// A change that was asked for is not published.
    Reject,
    /// A change was published that somebody else should have approved.
    Override,
    /// Somebody promoted, aborted, paused, resumed or overrode a rollout.
    Rollout,
}

impl AuditAction {
    pub const ALL: [Self; 17] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Reveal,
        Self::Reload,
        Self::Scale,
        Self::Login,
        Self::Enroll,
        Self::Failure,
        Self::Export,
        Self::Import,
        Self::Rollback,
        Self::Rotate,
        Self::Approve,
        Self::Reject,
        Self::Override,
        Self::Rollout,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Reveal => "reveal",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Login => "login",
            Self::Enroll => "enroll",
            Self::Failure => "failure",
            Self::Export => "export",
            Self::Import => "import",
            Self::Rollback => "rollback",
            Self::Rotate => "rotate",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Override => "override",
            Self::Rollout => "rollout",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
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
    /// The project that it happened in. Entries of releases that did not write it down have none.
    pub project: Option<ProjectId>,
    /// Of a variable's value before the change, when it had one.
    pub before: Option<Fingerprint>,
    /// Of its value after the change, when it has one. Equal to an earlier one: the value was changed back.
    pub after: Option<Fingerprint>,
}
