//! The tables of the redb file. This is the whole schema; how it came about is told by [`super::migrations`].
//!
//! | table | key | value |
//! |---|---|---|
//! | `outrigger.meta` | name of a number | u64 |
//! | `entries` | key | create revision u64, mod revision u64, value |
//! | `changes` | revision u64 | the keys that it changed, each with its value after and before |
//! | `leases` | lease name | epoch u64, expiry u64 (ms since 1970), 1 and the holder's name, or 0 when released |
//! | `log.heads` | log name | next position u64 |
//! | `log.entries` | (log name, position u64) | revision u64, value |
//!
//! Numbers inside values are little endian, lengths included; [`super::rows`] has the exact layout. `changes` is a
//! window: revisions `floor + 1 ..= revision`, without gaps. It feeds watches with what was written and reads of
//! the recent past with what was there before, which is why it keeps both. Reading at revision *r* takes, for each
//! key, the value before its first change after *r*, or the current one if there is none; so the cost of a read in
//! the past is what was changed since, at most the window. The alternative, every version of every key in one
//! ordered table, makes each current read step over the past.

use redb::TableDefinition;

/// Its presence says that a redb file is ours. The name is qualified so that it cannot be so by accident.
pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("outrigger.meta");

pub(super) const ENTRIES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries");

pub(super) const CHANGES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("changes");

pub(super) const LEASES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("leases");

pub(super) const LOG_HEADS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("log.heads");

pub(super) const LOG_ENTRIES: TableDefinition<'static, (&'static [u8], u64), &'static [u8]> =
    TableDefinition::new("log.entries");

/// The numbers in [`META`].
pub(super) mod meta {
    /// The number of the last migration that ran.
    pub(in crate::embedded) const SCHEMA: &str = "schema";
    /// The latest revision.
    pub(in crate::embedded) const REVISION: &str = "revision";
    /// The revision before the oldest one in `changes`: the oldest that can be read.
    pub(in crate::embedded) const FLOOR: &str = "floor";
    /// Bytes of the values in `changes`.
    pub(in crate::embedded) const CHANGE_BYTES: &str = "change_bytes";
    /// Writes to the file, each shared by the requests that were waiting.
    pub(in crate::embedded) const WRITES: &str = "writes";
}
