//! A map split over several locks, so that sessions of different deployments do not wait for each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Enough for the cores of one machine; more would only cost memory.
const SHARDS: usize = 16;

/// Locks `mutex`. A thread that panicked while it held the lock left whole values behind: every critical section in
/// this crate is a handful of assignments.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Shards<K, V> {
    shards: [Mutex<HashMap<K, V>>; SHARDS],
    hasher: RandomState,
}

impl<K: Hash + Eq, V> Shards<K, V> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(HashMap::new())), hasher: RandomState::new() }
    }

    /// The part of the map in which `key` would be.
    pub(crate) fn of(&self, key: &K) -> MutexGuard<'_, HashMap<K, V>> {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[shard])
    }

    /// The value at `key`, cloned out of the lock.
    pub(crate) fn find(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.of(key).get(key).cloned()
    }

    pub(crate) fn remove(&self, key: &K) -> Option<V> {
        self.of(key).remove(key)
    }

    /// All values as they are, shard by shard.
    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        self.shards.iter().flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}
