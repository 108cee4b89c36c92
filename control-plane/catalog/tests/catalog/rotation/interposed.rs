//! A store in which something can be made to happen between the moment that a change was decided and its commit, or
//! between a read and the next.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outrigger_store::{
    Committed, Direction, Entry, Health, Key, KeyRange, Lease, LeaseEpoch, LeaseName, LogName, LogPage, LogPosition,
    Page, RangeOptions, Revision, SharedStore, Store, StoreError, StoreStats, Transaction, Watch,
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What is to happen.
pub(super) type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Before what.
#[derive(PartialEq, Eq)]
enum Point {
    Commit,
    /// A data key is fetched, for something that was read.
    DataKey,
}

pub(super) struct Interposed {
    store: SharedStore,
    meanwhile: Mutex<Option<(Point, Meanwhile)>>,
}

impl std::fmt::Debug for Interposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl Interposed {
    pub(super) fn over(store: SharedStore) -> Self {
        Self { store, meanwhile: Mutex::new(None) }
    }

    /// Lets something happen just before the next commit. What it commits itself goes through.
    pub(super) fn before_the_next_commit(&self, meanwhile: impl Future<Output = ()> + Send + 'static) {
        self.set(Point::Commit, meanwhile);
    }

    /// Lets something happen just before the next data key is fetched.
    pub(super) fn before_the_next_data_key(&self, meanwhile: impl Future<Output = ()> + Send + 'static) {
        self.set(Point::DataKey, meanwhile);
    }

    fn set(&self, point: Point, meanwhile: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = Some((point, Box::pin(meanwhile)));
    }

    /// What has not happened, because nothing was committed.
    pub(super) fn take(&self) -> Option<Meanwhile> {
        self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take().map(|(_, meanwhile)| meanwhile)
    }

    async fn pass(&self, point: Point) {
        let due = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(due, _)| *due == point);
        if let Some((_, meanwhile)) = due {
            meanwhile.await;
        }
    }
}

impl Store for Interposed {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Committed> {
        Box::pin(async move {
            self.pass(Point::Commit).await;
            self.store.commit(transaction).await
        })
    }

    fn get(&self, key: &Key) -> Answer<'_, Option<Entry>> {
        let key = key.clone();
        Box::pin(async move {
            if key.as_bytes().windows(10).any(|part| part == b"data-key\0\x01") {
                self.pass(Point::DataKey).await;
            }
            self.store.get(&key).await
        })
    }

    fn range(&self, range: KeyRange, options: RangeOptions) -> Answer<'_, Page> {
        self.store.range(range, options)
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        self.store.watch(range, from)
    }

    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn acquire_lease(&self, name: &LeaseName, holder: &str, ttl: Duration, now_ms: u64) -> Answer<'_, Lease> {
        self.store.acquire_lease(name, holder, ttl, now_ms)
    }

    fn renew_lease(&self, name: &LeaseName, epoch: LeaseEpoch, ttl: Duration, now_ms: u64) -> Answer<'_, Lease> {
        self.store.renew_lease(name, epoch, ttl, now_ms)
    }

    fn release_lease(&self, name: &LeaseName, epoch: LeaseEpoch) -> Answer<'_, ()> {
        self.store.release_lease(name, epoch)
    }

    fn read_log(&self, log: &LogName, from: LogPosition, limit: usize, direction: Direction) -> Answer<'_, LogPage> {
        self.store.read_log(log, from, limit, direction)
    }

    fn trim_log(&self, log: &LogName, before: LogPosition) -> Answer<'_, u64> {
        self.store.trim_log(log, before)
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.store.close()
    }
}
