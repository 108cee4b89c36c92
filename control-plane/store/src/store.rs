//! The [`Store`] trait: what the rest of the control plane knows about storage.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::StoreError;
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseEpoch, LeaseName};
use crate::limits::MAX_PAGE_ENTRIES;
use crate::log::{Direction, LogName, LogPage, LogPosition};
use crate::transaction::Transaction;
use crate::watch::Watch;

/// The number of a committed transaction. Starts at 1 and has no gaps; 0 is the empty store.
pub type Revision = u64;

/// A store as it is handed around.
pub type SharedStore = Arc<dyn Store>;

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub value: Bytes,
    /// The transaction that created the key, after its last deletion if it had one.
    pub create_revision: Revision,
    /// The transaction that wrote this value.
    pub mod_revision: Revision,
}

/// At which point in time to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAt {
    #[default]
    Latest,
    /// The state right after this revision, as long as it is retained.
    Revision(Revision),
}

/// How a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeOptions {
    pub at: ReadAt,
    /// Most entries to return, itself at most [`MAX_PAGE_ENTRIES`]. Pages also end at
    /// [`MAX_PAGE_BYTES`](crate::limits::MAX_PAGE_BYTES).
    pub limit: usize,
    /// From the last key of the range to the first.
    pub reverse: bool,
}

impl Default for RangeOptions {
    fn default() -> Self {
        Self { at: ReadAt::Latest, limit: MAX_PAGE_ENTRIES, reverse: false }
    }
}

impl RangeOptions {
    #[must_use]
    pub fn at(mut self, revision: Revision) -> Self {
        self.at = ReadAt::Revision(revision);
        self
    }

    #[must_use]
    pub fn limit(mut self, entries: usize) -> Self {
        self.limit = entries;
        self
    }

    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }
}

/// Part of a range, all of it from one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Whether the range goes on. Continue with [`KeyRange::after`] (or [`KeyRange::before`]) the last entry's key.
    pub more: bool,
    /// The revision that was read. Reading the next page at it, and watching from the one after it, leaves no gap.
    pub revision: Revision,
}

/// What a committed transaction was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub revision: Revision,
    /// One position for each append, in the order of the appends.
    pub log_positions: Vec<LogPosition>,
}

/// Whether a store can be worked with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Health {
    Ready,
    /// Reads work; writes are refused until there is room.
    Full,
    /// Reads work as far as the storage can be read; writes are refused until the process is restarted.
    Failed(StoreError),
    Closed,
}

/// Counters since the store was opened, and gauges of now. For operators; nothing decides on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// The latest revision.
    pub revision: Revision,
    /// The oldest revision that can still be read.
    pub oldest_revision: Revision,
    /// Transactions that were committed.
    pub commits: u64,
    /// Transactions that were refused because a compare did not hold.
    pub conflicts: u64,
    /// Writes to the storage, each shared by the transactions that were waiting.
    pub groups: u64,
    /// The most transactions that one write carried.
    pub largest_group: u64,
    /// Time spent in those writes, their synchronisation included.
    pub write_time: Duration,
    /// Requests that are waiting for the writer now.
    pub queued: u64,
    /// Bytes of those requests.
    pub queued_bytes: u64,
    /// Requests refused because the queue was full.
    pub overloads: u64,
    /// Writes refused because the storage was full.
    pub full: u64,
    /// Writes refused because the storage had failed.
    pub failures: u64,
    /// Reads that failed.
    pub read_failures: u64,
    /// Watches that are open now.
    pub watches: u64,
}

/// An ordered, transactional, watchable key-value store with leases and append-only logs.
///
/// What every backend keeps, and the conformance suite checks:
///
/// - A transaction that was answered is durable: it is there after a crash of the process or of the machine. A
///   transaction is never there in part.
/// - Each committed transaction has one revision; revisions have no gaps and their order is the order in which
///   transactions took effect. A read that starts after an answer sees that transaction.
/// - A commit whose future is dropped after its first poll may or may not happen; compares make a retry safe.
/// - Time is an argument. The store reads no clock to decide anything.
/// - Nothing here assumes that this process is the only one that writes.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Commits `transaction`: all compares hold and all operations happen, or nothing does.
    ///
    /// # Errors
    /// Every [`StoreError`] but those of reads and leases.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// The latest value of one key.
    ///
    /// # Errors
    /// [`StoreError::ReadFailed`], [`StoreError::Malformed`], [`StoreError::Closed`], as for every read.
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Entry>, StoreError>>;

    /// A page of a range, in key order.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::FutureRevision`] besides those of [`Store::get`].
    fn range(&self, range: KeyRange, options: RangeOptions) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// All pages of a range at one revision, up to `most` entries; `more` says that there were more.
    ///
    /// # Errors
    /// Those of [`Store::range`]; [`StoreError::Compacted`] when reading takes longer than the past is kept.
    fn list(&self, range: KeyRange, most: usize) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            let mut all = self.range(range.clone(), RangeOptions::default().limit(most)).await?;
            while all.more && all.entries.len() < most {
                let Some(last) = all.entries.last() else { break };
                let options = RangeOptions::default().at(all.revision).limit(most - all.entries.len());
                let next = self.range(range.after(&last.key), options).await?;
                all.entries.extend(next.entries);
                all.more = next.more;
            }
            Ok(all)
        })
    }

    /// Every change to the keys of `range` by revision `from` and later, in order, without end.
    ///
    /// `from` may lie in the future, as after [`Page::revision`] + 1. When it is compacted, the first answer says so.
    fn watch(&self, range: KeyRange, from: Revision) -> Watch;

    /// The latest revision that this process knows to be committed.
    fn revision(&self) -> Revision;

    /// Takes a lease that is free, expired at `now_ms` or held by the same `holder`, with a new, greater epoch.
    ///
    /// `ttl` is at most [`MAX_LEASE_TTL`](crate::limits::MAX_LEASE_TTL), `now_ms` milliseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::LeaseTaken`] besides those of a write.
    fn acquire_lease(
        &self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Moves the expiry of a lease to `now_ms` + `ttl`, as long as its epoch is still the newest. The epoch stays.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] besides those of a write.
    fn renew_lease(
        &self,
        name: &LeaseName,
        epoch: LeaseEpoch,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>>;

    /// Gives a lease back. Its epoch stays taken for ever.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] besides those of a write.
    fn release_lease(&self, name: &LeaseName, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Up to `limit` entries of a log, from `from` (inclusive) on. A log that was never written is empty.
    ///
    /// # Errors
    /// Those of [`Store::get`].
    fn read_log(
        &self,
        log: &LogName,
        from: LogPosition,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'_, Result<LogPage, StoreError>>;

    /// Removes the entries before `before`, and says how many they were. It takes no revision. A long stretch is
    /// removed in several steps, so that other writes pass in between.
    ///
    /// # Errors
    /// Those of a write.
    fn trim_log(&self, log: &LogName, before: LogPosition) -> BoxFuture<'_, Result<u64, StoreError>>;

    fn health(&self) -> Health;

    fn stats(&self) -> StoreStats;

    /// Finishes what is queued, then closes: everything after it is answered with [`StoreError::Closed`]. The
    /// storage is free for another process when this resolves. Closing twice is no error.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the storage could not be closed in order; what was acknowledged is durable all
    /// the same.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
