//! The bytes of the rows. Every row is read as if it came from a stranger: a short or overlong one is an error.

use bytes::{Buf, BufMut, Bytes};

use crate::key::Key;
use crate::lease::LeaseEpoch;
use crate::store::{Entry, Revision};

/// A row that cannot be what this program wrote; names the kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A value of `entries`: `create u64, mod u64, value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryRow {
    pub(super) create_revision: Revision,
    pub(super) mod_revision: Revision,
    pub(super) value: Bytes,
}

impl EntryRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(16 + self.value.len());
        row.put_u64_le(self.create_revision);
        row.put_u64_le(self.mod_revision);
        row.put_slice(&self.value);
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Cursor { rest: Bytes::copy_from_slice(row), kind: "entry" };
        Ok(Self { create_revision: rest.u64()?, mod_revision: rest.u64()?, value: rest.rest })
    }

    pub(super) fn into_entry(self, key: Key) -> Entry {
        let Self { create_revision, mod_revision, value } = self;
        Entry { key, value, create_revision, mod_revision }
    }
}

/// A value of `leases`: `epoch u64, expires u64, held u8, holder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRow {
    pub(super) epoch: LeaseEpoch,
    pub(super) expires_ms: u64,
    /// `None` once it was released.
    pub(super) holder: Option<String>,
}

impl LeaseRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(17 + self.holder.as_ref().map_or(0, String::len));
        row.put_u64_le(self.epoch);
        row.put_u64_le(self.expires_ms);
        row.put_u8(u8::from(self.holder.is_some()));
        row.put_slice(self.holder.as_deref().unwrap_or_default().as_bytes());
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Cursor { rest: Bytes::copy_from_slice(row), kind: "lease" };
        let (epoch, expires_ms, held) = (rest.u64()?, rest.u64()?, rest.u8()?);
        let holder = match held {
            0 if rest.rest.is_empty() => None,
            1 => Some(String::from_utf8(rest.rest.to_vec()).map_err(|_| Malformed("lease"))?),
            _ => return Err(Malformed("lease")),
        };
        Ok(Self { epoch, expires_ms, holder })
    }
}

/// A value of `log.entries`: `revision u64, value`.
pub(super) fn encode_log_entry(revision: Revision, value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + value.len());
    row.put_u64_le(revision);
    row.put_slice(value);
    row
}

pub(super) fn decode_log_entry(row: &[u8]) -> Result<(Revision, Bytes), Malformed> {
    let mut rest = Cursor { rest: Bytes::copy_from_slice(row), kind: "log entry" };
    Ok((rest.u64()?, rest.rest))
}

/// One key of a value of `changes`: `key length u32, key`, then twice `present u8` and, if 1, `value length u32,
/// create u64, mod u64, value`: first as the revision left it, then as it found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChangedKey {
    pub(super) key: Key,
    pub(super) after: Option<EntryRow>,
    pub(super) before: Option<EntryRow>,
}

pub(super) fn encode_change<'a>(
    row: &mut Vec<u8>,
    key: &Key,
    after: Option<&'a EntryRow>,
    before: Option<&'a EntryRow>,
) {
    put_length(row, key.len());
    row.put_slice(key.as_bytes());
    for side in [after, before] {
        row.put_u8(u8::from(side.is_some()));
        if let Some(entry) = side {
            put_length(row, entry.value.len());
            row.put_u64_le(entry.create_revision);
            row.put_u64_le(entry.mod_revision);
            row.put_slice(&entry.value);
        }
    }
}

pub(super) fn decode_changes(row: &[u8]) -> Result<Vec<ChangedKey>, Malformed> {
    let mut rest = Cursor { rest: Bytes::copy_from_slice(row), kind: "change" };
    let mut changes = Vec::new();
    while !rest.rest.is_empty() {
        let length = rest.length()?;
        let key = Key::from(rest.take(length)?);
        changes.push(ChangedKey { key, after: rest.side()?, before: rest.side()? });
    }
    Ok(changes)
}

fn put_length(row: &mut Vec<u8>, length: usize) {
    // The limits on keys and values are far below 4 GiB.
    row.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
}

struct Cursor {
    rest: Bytes,
    kind: &'static str,
}

impl Cursor {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.rest.try_get_u8().map_err(|_| Malformed(self.kind))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.rest.try_get_u64_le().map_err(|_| Malformed(self.kind))
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.rest.try_get_u32_le().map_err(|_| Malformed(self.kind))?;
        usize::try_from(length).map_err(|_| Malformed(self.kind))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(Malformed(self.kind));
        }
        Ok(self.rest.split_to(length))
    }

    fn side(&mut self) -> Result<Option<EntryRow>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => {
                let length = self.length()?;
                let (create_revision, mod_revision) = (self.u64()?, self.u64()?);
                Ok(Some(EntryRow { create_revision, mod_revision, value: self.take(length)? }))
            }
            _ => Err(Malformed(self.kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry_row() -> impl Strategy<Value = EntryRow> {
        (any::<u64>(), any::<u64>(), any::<Vec<u8>>()).prop_map(|(create_revision, mod_revision, value)| EntryRow {
            create_revision,
            mod_revision,
            value: value.into(),
        })
    }

    proptest! {
        #[test]
        fn rows_read_back_as_written(
            entry in entry_row(),
            holder in proptest::option::of(".*"),
            changes in proptest::collection::vec(
                (any::<Vec<u8>>(), proptest::option::of(entry_row()), proptest::option::of(entry_row())), 0..5),
        ) {
            prop_assert_eq!(EntryRow::decode(&entry.encode()), Ok(entry.clone()));
            let lease = LeaseRow { epoch: entry.create_revision, expires_ms: entry.mod_revision, holder };
            prop_assert_eq!(LeaseRow::decode(&lease.encode()), Ok(lease));
            let log = encode_log_entry(7, &entry.value);
            prop_assert_eq!(decode_log_entry(&log), Ok((7, entry.value)));

            let mut row = Vec::new();
            let mut expected = Vec::new();
            for (key, after, before) in changes {
                let key = Key::from(key);
                encode_change(&mut row, &key, after.as_ref(), before.as_ref());
                expected.push(ChangedKey { key, after, before });
            }
            prop_assert_eq!(decode_changes(&row), Ok(expected));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(row: Vec<u8>) {
            let _ = EntryRow::decode(&row);
            let _ = LeaseRow::decode(&row);
            let _ = decode_log_entry(&row);
            let _ = decode_changes(&row);
        }
    }
}
