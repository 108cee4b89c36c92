//! Append-only logs: numbered entries under a name, written inside transactions, trimmed from the old end.

use bytes::Bytes;

use crate::Revision;
use crate::key::Key;

/// The name of a log. Built like a key, in a space of its own: a log and a key may share a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(Key);

impl LogName {
    #[must_use]
    pub fn as_key(&self) -> &Key {
        &self.0
    }
}

impl From<Key> for LogName {
    fn from(key: Key) -> Self {
        Self(key)
    }
}

impl From<&str> for LogName {
    fn from(text: &str) -> Self {
        Self(Key::from(text))
    }
}

/// The place of an entry in its log. Positions start at 0, have no gaps, and are never used again after a trim.
pub type LogPosition = u64;

/// Which way a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the given position towards newer entries.
    Forward,
    /// From the given position towards older entries. Start at [`LogPosition::MAX`] for the newest.
    Backward,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub position: LogPosition,
    /// The transaction that appended it.
    pub revision: Revision,
    pub value: Bytes,
}

/// A stretch of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// In the direction of the read.
    pub entries: Vec<LogEntry>,
    /// Whether entries are left in that direction.
    pub more: bool,
    /// The position that the next append will get; 0 for a log that was never written.
    pub next_position: LogPosition,
}
