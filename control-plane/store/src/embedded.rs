//! The embedded backend: one redb file, one process.
//!
//! [`RedbStore`] checks and queues; the [`writer`] thread groups and commits; the [`engine`] owns the database and
//! survives its storage's failures through the [`medium`]. [`tables`] is the schema.

mod condition;
mod counters;
mod engine;
mod group;
mod medium;
mod migrations;
mod open;
mod overlay;
mod plan;
mod reader;
mod rows;
mod stop;
mod tables;
#[cfg(any(test, feature = "test-support"))]
pub mod tampering;
mod watching;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redb::{ReadTransaction, StorageBackend};

use self::engine::Engine;
use self::group::Retention;
use self::medium::Medium;
use self::open::{OpenOptionsOf, inspect_file, open_file, open_medium};
use self::stop::Stop;
use self::writer::{WriterHandle, WriterLimits};
use crate::error::{Limit, StoreError};
use crate::key::{Key, KeyRange};
use crate::lease::{Lease, LeaseEpoch, LeaseName};
use crate::limits::{MAX_KEY_BYTES, MAX_LEASE_TTL};
use crate::log::{Direction, LogName, LogPage, LogPosition};
use crate::open_error::OpenError;
use crate::store::{Committed, Entry, Health, Page, RangeOptions, Revision, Store, StoreStats};
use crate::transaction::{Transaction, check_key};
use crate::watch::Watch;

/// How a [`RedbStore`] is opened. The defaults suit a control plane of some thousand agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Memory for redb's page cache. Default 64 MiB (redb's own is 1 GiB).
    pub cache_bytes: usize,
    /// A file up to this size is read whole and all its checksums verified before it is opened; of a larger one,
    /// only what opening needs. Default 64 MiB: it is part of what a restart takes.
    pub verify_up_to_bytes: u64,
    /// Revisions that watches can resume from and reads can go back to, at least 1. Default 10,000. With fewer than
    /// [`Options::group_requests`], one busy write can overtake a watch that was up to date.
    pub change_log_revisions: u64,
    /// Bytes of those revisions, if that is reached first. Default 64 MiB.
    pub change_log_bytes: u64,
    /// Requests that may wait for the writer. Default 4,096.
    pub queue_requests: usize,
    /// Bytes of those requests. Default 64 MiB.
    pub queue_bytes: u32,
    /// Most requests that share a write. Default 1,024.
    pub group_requests: usize,
    /// Bytes after which a group takes no further request. Default 16 MiB.
    pub group_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            cache_bytes: 64 * MIB,
            verify_up_to_bytes: 64 * MIB as u64,
            change_log_revisions: 10_000,
            change_log_bytes: 64 * MIB as u64,
            queue_requests: 4096,
            queue_bytes: 64 << 20,
            group_requests: 1024,
            group_bytes: 16 * MIB,
        }
    }
}

impl Options {
    fn open(&self) -> OpenOptionsOf {
        OpenOptionsOf { cache_bytes: self.cache_bytes, verify_up_to_bytes: self.verify_up_to_bytes }
    }

    fn limits(&self) -> WriterLimits {
        WriterLimits {
            queue_requests: self.queue_requests.max(1),
            queue_bytes: self.queue_bytes.max(1),
            group_requests: self.group_requests.max(1),
            group_bytes: self.group_bytes.max(1),
            retention: Retention { revisions: self.change_log_revisions.max(1), bytes: self.change_log_bytes },
        }
    }
}

/// A [`Store`] in one redb file.
///
/// Reads must run inside a tokio runtime: longer ones move to its blocking threads. Dropping the store closes it in
/// the background; [`Store::close`] says when that is done.
#[derive(Debug)]
pub struct RedbStore {
    engine: Arc<Engine>,
    writer: WriterHandle,
}

impl RedbStore {
    /// Opens the database at `path`, or creates it. Blocks while it is inspected.
    ///
    /// # Errors
    /// [`OpenError`]; the file at `path` is then as it was.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Self::start(path, open_file(path, options.open())?, options)
    }

    /// Opens the database at `path`, which has to exist, to look at it: what is committed stays in memory and is gone
    /// with this value, and the file keeps every byte. It is locked until [`close`](Store::close).
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn inspect(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Self::start(path, inspect_file(path, options.open())?, options)
    }

    /// Opens the database in `storage`, or creates it if that is empty. For tests that inject faults.
    ///
    /// # Errors
    /// [`OpenError`], also for what an interrupted creation left: unlike a file, it cannot be renamed into place.
    pub fn with_backend(storage: impl StorageBackend, options: Options) -> Result<Self, OpenError> {
        let engine = open_medium(Medium::new(storage), options.open())?;
        Self::start(Path::new("(given storage)"), engine, options)
    }

    fn start(path: &Path, engine: Engine, options: Options) -> Result<Self, OpenError> {
        let engine = Arc::new(engine);
        let writer = WriterHandle::start(Arc::clone(&engine), options.limits())
            .map_err(|source| OpenError::StartWriter { path: PathBuf::from(path), source })?;
        Ok(Self { engine, writer })
    }
}

/// Runs a read that may touch many pages where it does not hold up other tasks.
async fn read_blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl Fn(&ReadTransaction) -> Result<T, Stop> + Send + 'static,
) -> Result<T, StoreError> {
    let engine = Arc::clone(engine);
    // The join fails only when the runtime goes away.
    tokio::task::spawn_blocking(move || engine.read(work)).await.unwrap_or(Err(StoreError::Closed))
}

fn check_lease(name: &LeaseName, ttl: Duration) -> Result<(), StoreError> {
    check_key(name.as_key())?;
    let millis = |ttl: Duration| usize::try_from(ttl.as_millis()).unwrap_or(usize::MAX);
    Limit::LeaseMillis.check(millis(ttl), millis(MAX_LEASE_TTL))
}

impl Store for RedbStore {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            transaction.check()?;
            let engine = Arc::clone(&self.engine);
            let bytes = transaction.bytes();
            let work = move |group: &mut group::Group<'_>| {
                group.commit(&transaction).inspect_err(|stop| {
                    if matches!(stop, Stop::Refused(StoreError::Conflict { .. })) {
                        engine.counters.conflicts.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            self.writer.submit(bytes, work).await
        })
    }

    /// On the calling thread: a few pages of a tree, nearly always cached, cost less than a change of threads.
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.engine.read(|read| reader::get(read, &key)) })
    }

    fn range(&self, range: KeyRange, options: RangeOptions) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(read_blocking(&self.engine, move |read| reader::range(read, &range, options)))
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        watching::watch(&self.engine, range, from)
    }

    fn revision(&self) -> Revision {
        self.engine.progress().revision
    }

    fn acquire_lease(
        &self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>> {
        let (name, holder) = (name.clone(), holder.to_owned());
        Box::pin(async move {
            check_lease(&name, ttl)?;
            Limit::HolderBytes.check(holder.len(), MAX_KEY_BYTES)?;
            self.writer.submit(0, move |group| group.acquire_lease(&name, &holder, ttl, now_ms)).await
        })
    }

    fn renew_lease(
        &self,
        name: &LeaseName,
        epoch: LeaseEpoch,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>> {
        let name = name.clone();
        Box::pin(async move {
            check_lease(&name, ttl)?;
            self.writer.submit(0, move |group| group.renew_lease(&name, epoch, ttl, now_ms)).await
        })
    }

    fn release_lease(&self, name: &LeaseName, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>> {
        let name = name.clone();
        Box::pin(async move {
            check_key(name.as_key())?;
            self.writer.submit(0, move |group| group.release_lease(&name, epoch)).await
        })
    }

    fn read_log(
        &self,
        log: &LogName,
        from: LogPosition,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        let log = log.clone();
        Box::pin(read_blocking(&self.engine, move |read| reader::read_log(read, &log, from, limit, direction)))
    }

    fn trim_log(&self, log: &LogName, before: LogPosition) -> BoxFuture<'_, Result<u64, StoreError>> {
        let log = log.clone();
        Box::pin(async move {
            check_key(log.as_key())?;
            let mut removed = 0;
            loop {
                let log = log.clone();
                let step = self.writer.submit(0, move |group| group.trim_log(&log, before)).await?;
                removed += step.removed;
                if !step.more {
                    return Ok(removed);
                }
            }
        })
    }

    fn health(&self) -> Health {
        self.engine.condition.health()
    }

    fn stats(&self) -> StoreStats {
        let counters = &self.engine.counters;
        let progress = self.engine.progress();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            revision: progress.revision,
            oldest_revision: progress.oldest,
            commits: self.engine.commits(),
            conflicts: count(&counters.conflicts),
            groups: count(&counters.groups),
            largest_group: count(&counters.largest_group),
            write_time: counters.write_time(),
            queued: count(&counters.queued),
            queued_bytes: count(&counters.queued_bytes),
            overloads: count(&counters.overloads),
            full: count(&counters.full),
            failures: count(&counters.failures),
            read_failures: count(&counters.read_failures),
            watches: count(&counters.watches),
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.close())
    }
}
