//! What can go wrong once a store is open.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::Revision;
use crate::lease::LeaseName;

/// Why an operation did not happen.
///
/// Cloneable, because one failed write answers every transaction that shared it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing was changed. Read again and decide again.
    #[error("compare {index} of the transaction does not hold")]
    Conflict {
        /// Its place in [`Transaction::compares`](crate::Transaction::compares).
        index: usize,
    },
    /// Nothing was changed.
    #[error("{actual} {limit} are more than the {maximum} that are allowed")]
    TooLarge { limit: Limit, actual: usize, maximum: usize },
    /// Nothing was changed.
    #[error("a key, log name or lease name is empty")]
    EmptyKey,
    /// That part of the past is gone: list again at the latest revision.
    #[error("revision {requested} is compacted; the oldest available is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    /// This store has not seen that revision. With several processes, it may arrive.
    #[error("revision {requested} does not exist yet; the latest is {latest}")]
    FutureRevision { requested: Revision, latest: Revision },
    /// Somebody else holds the lease and it has not expired.
    #[error("lease {name} is held by {holder} until {expires_ms} ms")]
    LeaseTaken { name: LeaseName, holder: String, expires_ms: u64 },
    /// The lease was released, or acquired again with a newer epoch.
    #[error("lease {name} is not held with epoch {epoch}")]
    LeaseLost { name: LeaseName, epoch: u64 },
    /// Nothing was changed. The queue of the writer is full: shed load, or try again later.
    #[error("the store's write queue is full")]
    Overloaded,
    /// Nothing was changed. Reads go on; writes work again as soon as there is room.
    #[error("the store's storage is full")]
    Full,
    /// The storage failed. Whether this write will be there after a restart is unknown; every later write is
    /// refused with this same error, and reads go on as long as the storage can be read.
    #[error("the store stopped writing after its storage failed")]
    Failed { source: Cause },
    /// A read failed. Others may succeed.
    #[error("the store could not read its storage")]
    ReadFailed { source: Cause },
    /// What was read is not what this program writes.
    #[error("the store holds a malformed {row}")]
    Malformed { row: &'static str },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    KeyBytes,
    ValueBytes,
    Compares,
    Operations,
    Changes,
    TransactionBytes,
    HolderBytes,
    LeaseMillis,
}

impl Limit {
    pub(crate) fn check(self, actual: usize, maximum: usize) -> Result<(), StoreError> {
        if actual <= maximum { Ok(()) } else { Err(StoreError::TooLarge { limit: self, actual, maximum }) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyBytes => "bytes of key",
            Self::ValueBytes => "bytes of value",
            Self::Compares => "compares",
            Self::Operations => "operations",
            Self::Changes => "changed keys",
            Self::TransactionBytes => "bytes of transaction",
            Self::HolderBytes => "bytes of lease holder",
            Self::LeaseMillis => "milliseconds of lease",
        })
    }
}

/// The backend's own error behind a [`StoreError`], kept for the log.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
