//! Watches: the changes of a range of keys, in order, from a revision on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};

use crate::Revision;
use crate::error::StoreError;
use crate::key::Key;

/// What one transaction did to the watched keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    /// At least one, in key order, each key once.
    pub changes: Vec<Change>,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    pub kind: ChangeKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    Put(Bytes),
    Delete,
}

/// How far a watch has looked, shared between the watch and the backend that feeds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchProgress(Arc<AtomicU64>);

impl WatchProgress {
    pub(crate) fn advance(&self, revision: Revision) {
        self.0.store(revision, Ordering::Release);
    }
}

/// A running watch. It holds no queue: a slow reader falls behind in the store's own change log, and is told
/// [`StoreError::Compacted`] when what it still needs has been dropped from there.
pub struct Watch {
    events: Pin<Box<dyn Stream<Item = Result<Event, StoreError>> + Send>>,
    progress: WatchProgress,
}

impl Watch {
    /// `events` must be in order and end after its first error.
    pub(crate) fn new(
        progress: WatchProgress,
        events: impl Stream<Item = Result<Event, StoreError>> + Send + 'static,
    ) -> Self {
        Self { events: Box::pin(events), progress }
    }

    /// Waits for the next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when the reader must list again; [`StoreError::Closed`] when the store is shut
    /// down, and on every call after an error.
    pub async fn next(&mut self) -> Result<Event, StoreError> {
        self.events.next().await.unwrap_or(Err(StoreError::Closed))
    }

    /// The last revision that this watch has looked at, whether or not it concerned the watched keys. A new watch
    /// from the revision after it continues without a gap.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.progress.0.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
