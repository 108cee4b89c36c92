//! What can go wrong. That lines cannot be written is no error of a caller: it is logged and counted.

use outrigger_store::StoreError;

/// Why the book could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("cannot begin a new range of line numbers")]
    Number { source: StoreError },
    #[error("the row that counts the ranges of line numbers is malformed")]
    Malformed,
    #[error("all line numbers are used up")]
    Exhausted,
}

/// Why lines could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read kept log lines")]
pub struct ReadError {
    #[from]
    source: StoreError,
}
