//! Why work on the tables stops: because the request is refused, or because the storage is.

use redb::{CommitError, SetDurabilityError, StorageError, TableError, TransactionError};

use super::rows::Malformed;
use crate::error::StoreError;

/// The two reasons, kept apart because a refusal concerns one request and a failure concerns everybody.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(StoreError),
    Storage(redb::Error),
}

impl From<StoreError> for Stop {
    fn from(refusal: StoreError) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Malformed> for Stop {
    fn from(Malformed(row): Malformed) -> Self {
        Self::Refused(StoreError::Malformed { row })
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<TableError> for Stop {
    fn from(error: TableError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<TransactionError> for Stop {
    fn from(error: TransactionError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<SetDurabilityError> for Stop {
    fn from(error: SetDurabilityError) -> Self {
        Self::Storage(error.into())
    }
}
