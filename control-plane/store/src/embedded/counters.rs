//! Counters for operators. Relaxed atomics: each is exact, together they are no snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) conflicts: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) largest_group: AtomicU64,
    write_micros: AtomicU64,
    pub(super) queued: AtomicU64,
    pub(super) queued_bytes: AtomicU64,
    pub(super) overloads: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) read_failures: AtomicU64,
    pub(super) watches: AtomicU64,
}

impl Counters {
    pub(super) fn wrote(&self, transactions: u64, took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.largest_group.fetch_max(transactions, Ordering::Relaxed);
        self.write_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn write_time(&self) -> Duration {
        Duration::from_micros(self.write_micros.load(Ordering::Relaxed))
    }
}
