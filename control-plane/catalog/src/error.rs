use std::fmt;

use outrigger_secrets::{OpenSealedError, SealError};
use outrigger_store::StoreError;

use crate::model::{ReviewedChange, Role};
use crate::record::RecordError;

/// Why a call of the catalog did nothing. None of the texts holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Absent, or another tenant's: nobody can tell.
    #[error("{what} not found")]
    NotFound { what: &'static str },
    /// The caller's own organisation, but not the caller's to do.
    #[error("the role {} is needed", need.name())]
    Forbidden { need: Role },
    /// Concerns the installation, and is for nobody's role.
    #[error("this is for the operator of the installation")]
    OperatorOnly,
    /// Everything that is wrong with what was asked, at least one.
    #[error("validation: {}", Problems(.0))]
    Validation(Vec<FieldProblem>),
    /// The state does not allow it, or is no longer what the caller took it for.
    #[error("{what}")]
    Conflict { what: String },
    /// Nothing was published: it is kept as a change request until somebody else approves it.
    #[error("the change awaits approval as {}", _0.request.id)]
    AwaitsApproval(Box<ReviewedChange>),
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    #[error("{0}")]
    Unauthenticated(Unauthenticated),
    /// No room on the storage. Reads go on.
    #[error("the storage is full")]
    Full,
    /// Too much at once: try again a little later.
    #[error("overloaded")]
    Overloaded,
    #[error("the store failed while {operation}")]
    Store { operation: &'static str, source: StoreError },
    /// A row that this release cannot read: written by a newer one, or damaged.
    #[error("the {row} row is unreadable")]
    Record { row: &'static str, source: RecordError },
    /// A sealed row does not open at its place: it was moved, changed, or belongs to another key.
    #[error("the sealed {row} does not open")]
    Open { row: &'static str, source: OpenSealedError },
    #[error("the {row} could not be sealed")]
    Seal { row: &'static str, source: SealError },
    /// The key has sealed as many values as its nonces allow.
    #[error(
        "the project's data key has sealed {limit} values, which is all that it is good for; an operator has to replace \
         it: `outrigger keys rotate --project ID`"
    )]
    KeyExhausted { limit: u64 },
    /// Another process has replaced the master key by one that this process does not have.
    #[error("the master key was replaced, and this process has the old one: start it again with the new one")]
    MasterKeyReplaced,
    /// A stored component is not what its digest says.
    #[error("the stored policy component is damaged")]
    DamagedComponent,
    /// The operating system gives no randomness that a secret could be made of.
    #[error("a random secret could not be made")]
    Randomness { source: outrigger_templates::ApplyError },
    /// Hashing a password failed; says nothing of the password.
    #[error("hashing failed: {reason}")]
    Hashing { reason: String },
}

impl CatalogError {
    pub(crate) fn store(operation: &'static str) -> impl Fn(StoreError) -> Self {
        move |source| match source {
            StoreError::Full => Self::Full,
            StoreError::Overloaded => Self::Overloaded,
            source => Self::Store { operation, source },
        }
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Validation(vec![FieldProblem { field: field.into(), problem: problem.into() }])
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Wrong password or unknown e-mail address: nobody can tell which.
    #[error("Invalid credentials")]
    InvalidCredentials,
    #[error("Invalid token")]
    InvalidToken,
    #[error("The token has expired")]
    ExpiredToken,
}

/// One thing that is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's name as the HTTP API has it, `replicas.min`; for a variable its key.
    pub field: String,
    /// In words, without the value.
    pub problem: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

struct Problems<'a>(&'a [FieldProblem]);

impl Problems<'_> {
    /// The details name all of them; a sentence with hundreds helps nobody.
    const SHOWN: usize = 5;
}

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(Self::SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Why the catalog of a database could not be opened. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the master key is not the one that protects this database{}",
        name.as_ref().map_or_else(String::new, |name| format!(", which is {name}"))
    )]
    WrongMasterKey {
        /// What the right one is called, if that is known.
        name: Option<String>,
    },
    /// A rotation of the master key was begun and is not over: there are things under each of the two keys.
    #[error(
        "the master key is being replaced, and of the two keys that are needed until that is over the {missing} one, \
         {name}, is missing"
    )]
    HalfRotated {
        /// `old` or `new`.
        missing: &'static str,
        /// What it is called, or that it has no name.
        name: String,
    },
    /// The database has content but no key check: it is not a catalog's, or its beginning was lost.
    #[error("the database has content, but nothing says which master key protects it")]
    MissingKeyCheck,
    #[error("the database could not be read or written")]
    Catalog {
        #[source]
        source: CatalogError,
    },
}

impl From<CatalogError> for OpenError {
    fn from(source: CatalogError) -> Self {
        Self::Catalog { source }
    }
}

/// Why an agent was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// No such token, a wrong secret, or what it was for is gone.
    #[error("the join token is unknown")]
    Unknown,
    #[error("the join token has expired")]
    Expired,
    /// Consumed by another key, which is worth an alarm and has raised one.
    #[error("the join token was used by another key")]
    UsedByOther,
    #[error("the enrolment could not be stored")]
    Unavailable {
        #[source]
        source: CatalogError,
    },
}

impl From<CatalogError> for EnrollError {
    fn from(source: CatalogError) -> Self {
        Self::Unavailable { source }
    }
}
