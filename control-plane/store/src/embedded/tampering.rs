//! What somebody with the file and a redb of their own can do to it. For tests of what notices.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{Database, ReadableTable, StorageBackend};

use super::rows::{decode_log_entry, encode_log_entry};
use super::tables::{LOG_ENTRIES, LOG_HEADS};
use crate::log::{LogName, LogPosition};

/// Rewrites a log whose store is closed. `change` gets its entries by position; the next append goes behind the last one
/// that it leaves.
///
/// # Panics
/// When the storage is not that of a store.
#[expect(clippy::unwrap_used, reason = "for tests: a failure is a panic")]
pub fn rewrite_log(
    storage: impl StorageBackend,
    log: &LogName,
    change: impl FnOnce(&mut BTreeMap<LogPosition, Bytes>),
) {
    let name = log.as_key().as_bytes();
    let database = Database::builder().create_with_backend(storage).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut rows = write.open_table(LOG_ENTRIES).unwrap();
        let mut entries = BTreeMap::new();
        let mut newest = 0;
        for row in rows.range((name, 0)..=(name, u64::MAX)).unwrap() {
            let (key, value) = row.unwrap();
            let (revision, value) = decode_log_entry(value.value()).unwrap();
            newest = revision;
            entries.insert(key.value().1, value);
        }
        for position in entries.keys() {
            rows.remove((name, *position)).unwrap();
        }
        change(&mut entries);
        for (position, value) in &entries {
            rows.insert((name, *position), &*encode_log_entry(newest, value)).unwrap();
        }
        let next = entries.keys().next_back().map_or(0, |last| last + 1);
        write.open_table(LOG_HEADS).unwrap().insert(name, next).unwrap();
    }
    write.commit().unwrap();
}
