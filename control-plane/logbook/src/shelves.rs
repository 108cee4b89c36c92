//! The shelves of all deployments, and which of them have something to be written.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use outrigger_ingest::Source;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::time::UnixMillis;
use tokio::sync::Notify;

use crate::config::LogBookConfig;
use crate::segment::SEGMENT_BYTES;
use crate::shelf::{Room, Shelf};
use crate::stats::{Counters, add};

#[derive(Debug)]
pub(crate) struct Shelves {
    config: LogBookConfig,
    /// The number before the first one of this run.
    before: u64,
    shelves: RwLock<HashMap<DeploymentId, Arc<Shelf>>>,
    /// Those that have lines for the writer, each once.
    waiting: Mutex<Vec<Arc<Shelf>>>,
    /// Deleted, and not erased yet.
    ended: Mutex<Vec<DeploymentId>>,
    /// There is something that should not wait for the writer's next turn.
    pub(crate) hurry: Notify,
    pub(crate) counters: Counters,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelves {
    pub(crate) fn new(config: LogBookConfig, before: u64) -> Self {
        Self {
            config,
            before,
            shelves: RwLock::default(),
            waiting: Mutex::default(),
            ended: Mutex::default(),
            hurry: Notify::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn find(&self, deployment: DeploymentId) -> Option<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).get(&deployment).cloned()
    }

    pub(crate) fn of(&self, deployment: DeploymentId) -> Arc<Shelf> {
        self.find(deployment).unwrap_or_else(|| {
            let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
            match shelves.entry(deployment) {
                Entry::Occupied(found) => Arc::clone(found.get()),
                Entry::Vacant(free) => Arc::clone(free.insert(Arc::new(Shelf::new(deployment, self.before)))),
            }
        })
    }

    pub(crate) fn put(&self, source: Source, records: &[LogRecord], dropped: u64, received_at: UnixMillis) {
        let counters = &self.counters;
        let is_full = counters.unwritten_bytes.load(Ordering::Relaxed) > self.config.all_unwritten_bytes;
        let unwritten = if is_full { SEGMENT_BYTES } else { self.config.unwritten_bytes };
        let room = Room { unwritten, followed: self.config.followed_bytes };
        let shelf = self.of(source.deployment);
        let taken = shelf.put(source.instance, records, dropped, received_at, room);
        add(&counters.lines, records.len() as u64);
        add(&counters.dropped_by_agents, dropped);
        add(&counters.dropped_unwritten, taken.dropped);
        // Wrapping is what makes one addition of a difference of either sign.
        counters.unwritten_bytes.fetch_add(taken.grown.cast_unsigned(), Ordering::Relaxed);
        if taken.is_first {
            self.wait(shelf);
        }
        if taken.is_plenty {
            self.hurry.notify_one();
        }
    }

    /// A shelf has lines for the writer.
    pub(crate) fn wait(&self, shelf: Arc<Shelf>) {
        lock(&self.waiting).push(shelf);
    }

    /// Those that have lines for the writer. Whoever takes them puts back the ones that it is not done with.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<Shelf>> {
        std::mem::take(&mut lock(&self.waiting))
    }

    /// Everything up to `number` of a shelf is durable. Returns whether there is more.
    pub(crate) fn wrote(&self, shelf: &Shelf, number: u64) -> bool {
        let (freed, more) = shelf.wrote(number, self.config.followed_bytes);
        self.counters.unwritten_bytes.fetch_sub(freed, Ordering::Relaxed);
        more
    }

    /// A deployment is deleted: its followers are told, nothing more is taken, and what the store has is to be erased.
    pub(crate) fn end(&self, deployment: DeploymentId) {
        let freed = self.of(deployment).end();
        self.counters.unwritten_bytes.fetch_sub(freed, Ordering::Relaxed);
        lock(&self.ended).push(deployment);
        self.hurry.notify_one();
    }

    pub(crate) fn take_ended(&self) -> Vec<DeploymentId> {
        std::mem::take(&mut lock(&self.ended))
    }

    pub(crate) fn put_back_ended(&self, deployments: impl IntoIterator<Item = DeploymentId>) {
        lock(&self.ended).extend(deployments);
    }

    /// Forgets deployments that were gone before `known` was returned by the last call; returns those that are gone now.
    /// Until then a line that was on its way when its deployment was deleted meets a shelf that refuses it.
    pub(crate) fn forget_ended(&self, known: &[DeploymentId]) -> Vec<DeploymentId> {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|deployment, _| !known.contains(deployment));
        shelves.values().filter(|shelf| shelf.is_gone()).map(|shelf| shelf.deployment).collect()
    }
}
