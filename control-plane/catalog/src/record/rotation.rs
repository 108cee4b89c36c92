use outrigger_protocol::id::KeyId;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::Key;

use super::scalar::{Base64, Text};
use super::{Record, RecordError, v1};

/// How far the replacement of a key has come; the last one of a project or of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotationRow {
    /// Of a data key the one that is brought in.
    pub(crate) id: KeyId,
    pub(crate) started_at: UnixMillis,
    /// Rows that were under older keys when they were counted; absent before.
    pub(crate) total: Option<u64>,
    /// Rows that were sealed anew.
    pub(crate) done: u64,
    /// Rows of the present pass that did not open.
    pub(crate) unreadable: u64,
    /// The last row that the present pass has looked at.
    pub(crate) cursor: Option<Key>,
    pub(crate) finished_at: Option<UnixMillis>,
}

impl RotationRow {
    pub(crate) const fn new(id: KeyId, started_at: UnixMillis) -> Self {
        Self { id, started_at, total: None, done: 0, unreadable: 0, cursor: None, finished_at: None }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.finished_at.is_none()
    }
}

impl Record for RotationRow {
    const ROW: &'static str = "key rotation";
    type Stored = v1::Rotation;

    fn to_stored(&self) -> v1::Rotation {
        let Self { id, started_at, total, done, unreadable, cursor, finished_at } = self;
        v1::Rotation {
            id: Text(*id),
            started_at: started_at.as_millis(),
            total: *total,
            done: *done,
            unreadable: *unreadable,
            cursor: cursor.as_ref().map(|key| Base64(key.as_bytes().to_vec())),
            finished_at: finished_at.map(UnixMillis::as_millis),
        }
    }

    fn from_stored(stored: v1::Rotation) -> Result<Self, RecordError> {
        let v1::Rotation { id, started_at, total, done, unreadable, cursor, finished_at } = stored;
        Ok(Self {
            id: id.0,
            started_at: UnixMillis::from_millis(started_at),
            total,
            done,
            unreadable,
            cursor: cursor.map(|bytes| Key::from(bytes.0)),
            finished_at: finished_at.map(UnixMillis::from_millis),
        })
    }
}
