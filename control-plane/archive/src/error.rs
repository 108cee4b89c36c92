//! What can go wrong with the archive.

use outrigger_store::StoreError;

/// Why an archive cannot be opened, or could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    #[error("the step of tier {tier}, {step_ms} ms, does not divide an hour")]
    Step { tier: usize, step_ms: u64 },
    #[error("cannot {action} the history")]
    Store { action: &'static str, source: StoreError },
    #[error("the work on the history was cut off")]
    CutOff,
}

impl ArchiveError {
    pub(crate) const fn store(action: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { action, source }
    }
}

/// A query that has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    #[error(transparent)]
    Asked(#[from] outrigger_history::QueryError),
    #[error("{aggregate} is not told of {metric}: {instead}")]
    Aggregate { metric: String, aggregate: &'static str, instead: &'static str },
    #[error("the history cannot be read")]
    Archive(#[source] ArchiveError),
}

impl From<ArchiveError> for QueryError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}
