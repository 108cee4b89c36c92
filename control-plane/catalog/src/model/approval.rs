use outrigger_configuration::diff::Difference;
use outrigger_protocol::id::{ChangeId, EnvironmentId, ProjectId};
use outrigger_protocol::time::UnixMillis;

use super::Role;

/// How much a change of an environment may break. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    Low,
    Medium,
    High,
}

impl Risk {
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.name() == name)
    }
}

/// Why a change has its risk: one rule, and what it found. Never has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskReason {
    pub risk: Risk,
    pub text: String,
}

/// What somebody did of which the change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Variables were set or removed one by one.
    Variables,
    /// A file was taken over.
    Import,
    /// A file was taken over, and what it does not have was removed.
    Replacement,
    Rollback,
    /// Something about the environment itself, such as what it extends.
    Environment,
}

impl ChangeKind {
    pub const ALL: [Self; 5] = [Self::Variables, Self::Import, Self::Replacement, Self::Rollback, Self::Environment];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Variables => "variables",
            Self::Import => "import",
            Self::Replacement => "replacement",
            Self::Rollback => "rollback",
            Self::Environment => "environment",
        }
    }
}

/// A change that is not published before somebody else than its author has approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    pub id: ChangeId,
    pub project: ProjectId,
    /// The environment that is to be changed.
    pub environment: EnvironmentId,
    pub kind: ChangeKind,
    /// Who asked for it.
    pub author: String,
    pub message: String,
    /// The generation that it was made on.
    pub base: u64,
    pub risk: Risk,
    pub reasons: Vec<RiskReason>,
    /// The role that whoever approves it has to have.
    pub approver: Role,
    pub created_at: UnixMillis,
    /// It counts for nothing from then on.
    pub expires_at: UnixMillis,
    /// What became of it.
    pub decision: Option<ChangeDecision>,
}

/// The end of a change request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeDecision {
    pub outcome: ChangeOutcome,
    pub by: String,
    pub at: UnixMillis,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// Published, as this generation.
    Approved {
        generation: u64,
    },
    /// Published by an owner without anybody else, as this generation.
    Overridden {
        generation: u64,
    },
    Rejected,
    /// Taken back by its author.
    Withdrawn,
}

impl ChangeOutcome {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approved { .. } => "approved",
            Self::Overridden { .. } => "overridden",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The generation that it was published as.
    #[must_use]
    pub const fn generation(self) -> Option<u64> {
        match self {
            Self::Approved { generation } | Self::Overridden { generation } => Some(generation),
            Self::Rejected | Self::Withdrawn => None,
        }
    }
}

/// A field of an environment that is to be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// As the HTTP API calls it.
    pub field: &'static str,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A change request as whoever decides on it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewedChange {
    pub request: ChangeRequest,
    /// What it would change of the variables as they are now; secrets as changed or equal, never as text. Nothing once it
    /// is decided or has expired.
    pub differences: Vec<Difference>,
    /// What it would change, or has changed, about the environment itself.
    pub fields: Vec<FieldChange>,
    /// What it would change that somebody has changed since: with any of them it cannot be published.
    pub outdated: Vec<String>,
}
