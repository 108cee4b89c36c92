//! A store that refuses some things when it is told to, as a full disk or a damaged page would.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_store::{
    Committed, Direction, Entry, Health, Key, KeyRange, Lease, LeaseEpoch, LeaseName, LogName, LogPage, LogPosition,
    Op, Page, RangeOptions, RedbStore, Revision, Store, StoreError, StoreStats, Transaction, Watch,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[derive(Debug)]
pub(crate) struct Fickle {
    inner: RedbStore,
    /// There is no room for what a rollout has to write down.
    pub(crate) full_for_rollouts: AtomicBool,
    /// There is no room for generations of environments.
    pub(crate) full_for_generations: AtomicBool,
    /// How often there was none.
    pub(crate) refused: AtomicUsize,
    /// After the next generation, nobody can read who runs with it, once.
    pub(crate) forgets_who_runs: AtomicBool,
    forgetful: AtomicBool,
}

impl Fickle {
    pub(crate) fn new(inner: RedbStore) -> Self {
        Self {
            inner,
            full_for_rollouts: AtomicBool::new(false),
            full_for_generations: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            forgets_who_runs: AtomicBool::new(false),
            forgetful: AtomicBool::new(false),
        }
    }
}

fn puts(transaction: &Transaction, table: &str) -> bool {
    let is_of = |key: &Key| key.as_bytes().windows(table.len()).any(|part| part == table.as_bytes());
    transaction.ops().iter().any(|op| matches!(op, Op::Put(key, _) if is_of(key)))
}

impl Store for Fickle {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let is_full = |full: &AtomicBool, table| full.load(Ordering::SeqCst) && puts(&transaction, table);
        if is_full(&self.full_for_rollouts, "rollout-state") || is_full(&self.full_for_generations, "generation") {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(StoreError::Full) });
        }
        if puts(&transaction, "generation") && self.forgets_who_runs.swap(false, Ordering::SeqCst) {
            self.forgetful.store(true, Ordering::SeqCst);
        }
        self.inner.commit(transaction)
    }

    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }

    fn range(&self, range: KeyRange, options: RangeOptions) -> BoxFuture<'_, Result<Page, StoreError>> {
        let is_asked = format!("{range:?}").contains("deployment-of-environment");
        if is_asked && self.forgetful.swap(false, Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Overloaded) });
        }
        self.inner.range(range, options)
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        self.inner.watch(range, from)
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn acquire_lease(
        &self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.inner.acquire_lease(name, holder, ttl, now_ms)
    }

    fn renew_lease(
        &self,
        name: &LeaseName,
        epoch: LeaseEpoch,
        ttl: Duration,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.inner.renew_lease(name, epoch, ttl, now_ms)
    }

    fn release_lease(&self, name: &LeaseName, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.release_lease(name, epoch)
    }

    fn read_log(
        &self,
        log: &LogName,
        from: LogPosition,
        limit: usize,
        direction: Direction,
    ) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        self.inner.read_log(log, from, limit, direction)
    }

    fn trim_log(&self, log: &LogName, before: LogPosition) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.trim_log(log, before)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.close()
    }
}
