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

#[cfg(test)]
mod tests {
    use super::super::{KeyCheckRow, NextKeyCheck, decode, encode};
    use super::*;

    #[test]
    fn a_rotation_reads_back_as_it_was_written() {
        let begun = RotationRow::new(KeyId::generate(), UnixMillis::from_millis(7));
        let later = RotationRow {
            total: Some(9),
            done: 3,
            unreadable: 1,
            cursor: Some(Key::from(vec![0, 255, 7])),
            finished_at: Some(UnixMillis::from_millis(8)),
            ..begun.clone()
        };
        for row in [begun, later] {
            assert_eq!(decode::<RotationRow>(&encode(&row)).unwrap(), row);
        }
    }

    #[test]
    fn a_key_check_of_before_keys_had_names_is_one_without() {
        let old = KeyCheckRow { check: vec![1, 2, 3], name: None, next: None };
        assert_eq!(decode::<KeyCheckRow>(b"\x01{\"check\":\"AQID\"}").unwrap(), old);
        assert_eq!(&encode(&old)[..], b"\x01{\"check\":\"AQID\"}");
        let next = NextKeyCheck { check: vec![4], name: "0123abcd".to_owned() };
        let both = KeyCheckRow { name: Some("89abcdef".to_owned()), next: Some(next), ..old };
        assert_eq!(decode::<KeyCheckRow>(&encode(&both)).unwrap(), both);
    }
}
