//! Many writers at once: they share writes, and are refused rather than piled up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;

use futures_util::future::join_all;
use outrigger_store::faults::Disk;
use outrigger_store::{Key, Options, RedbStore, StorageBackend, Store, StoreError, Transaction};

/// A disk whose synchronisations wait until a gate is open.
#[derive(Debug)]
struct Gated<B> {
    disk: B,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl<B: StorageBackend> StorageBackend for Gated<B> {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.gate.opened.wait_while(self.gate.shut.lock().unwrap(), |shut| *shut).unwrap());
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

fn gated(options: Options) -> (RedbStore, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let backend = Gated { disk: Disk::new().backend(), gate: Arc::clone(&gate) };
    (RedbStore::with_backend(backend, options).unwrap(), gate)
}

/// Polls once. Polling is what queues a commit.
async fn is_pending<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}

#[tokio::test]
async fn those_who_wait_share_a_write() {
    let (store, gate) = gated(Options::default());
    gate.set(true);
    let first = store.commit(Transaction::new().put("first", ""));
    let others = join_all((0..500).map(|i| store.commit(Transaction::new().put(format!("k{i}"), ""))));
    let (mut first, mut others) = (pin!(first), pin!(others));
    assert!(is_pending(&mut first).await && is_pending(&mut others).await);
    gate.set(false);
    first.await.unwrap();
    let mut revisions: Vec<_> = others.await.into_iter().map(|committed| committed.unwrap().revision).collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(2..=501));
    let stats = store.stats();
    assert!(stats.groups <= 3, "{stats:?}");
    assert!(stats.largest_group >= 250, "{stats:?}");
    assert_eq!((stats.commits, stats.queued, stats.queued_bytes), (501, 0, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_drains() {
    let (store, gate) = gated(Options { queue_requests: 8, group_requests: 1, ..Options::default() });
    gate.set(true);
    let attempts: Vec<_> = (0..50).map(|i| store.commit(Transaction::new().put(format!("k{i}"), ""))).collect();
    let mut all = join_all(attempts);
    assert!(is_pending(&mut all).await);
    // Reads do not wait for the write that is stuck.
    assert!(store.get(&Key::from("k0")).await.unwrap().is_none());
    gate.set(false);
    let outcomes = all.await;
    let overloaded = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Overloaded))).count();
    let committed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(committed + overloaded, 50);
    // The queue holds eight; the writer has taken at most a few more by then.
    assert!((8..=12).contains(&committed), "{committed} were committed");
    assert_eq!(store.stats().overloads, overloaded as u64);
    assert!(store.commit(Transaction::new().put("later", "")).await.is_ok());
}

#[tokio::test]
async fn the_bytes_in_the_queue_are_limited_too() {
    let (store, gate) = gated(Options { queue_bytes: 2_000_000, ..Options::default() });
    gate.set(true);
    let value = vec![0; 900_000];
    let mut all = join_all((0..4).map(|i| store.commit(Transaction::new().put(format!("k{i}"), value.clone()))));
    assert!(is_pending(&mut all).await);
    gate.set(false);
    let outcomes = all.await;
    assert!(outcomes[..2].iter().all(Result::is_ok));
    assert!(outcomes[2..].iter().all(|outcome| matches!(outcome, Err(StoreError::Overloaded))));
    // One transaction may be larger than the whole queue, if it has the queue to itself.
    let large = vec![0; 1_000_000];
    let larger = (0..3).fold(Transaction::new(), |t, i| t.put(format!("l{i}"), large.clone()));
    assert!(store.commit(larger).await.is_ok());
}

#[tokio::test]
async fn closing_finishes_what_is_queued() {
    let (store, gate) = gated(Options::default());
    gate.set(true);
    let mut queued = join_all((0..20).map(|i| store.commit(Transaction::new().put(format!("k{i}"), ""))));
    assert!(is_pending(&mut queued).await);
    let mut closing = store.close();
    assert!(is_pending(&mut closing).await);
    gate.set(false);
    closing.await.unwrap();
    assert!(queued.await.into_iter().all(|outcome| outcome.is_ok()));
}
