use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened since the start, and what is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Connections of clients with a valid token.
    pub sessions: u64,
    /// Topics of deployments that somebody listens to.
    pub feeds: u64,
    /// Updates that were handed over to connections.
    pub sent: u64,
    /// Updates that clients missed, and were told so, because they did not read them in time.
    pub missed: u64,
    /// Clients that were sent away because they did not catch up.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sessions: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self, feeds: usize) -> LiveStats {
        LiveStats {
            sessions: self.sessions.load(Ordering::Relaxed),
            feeds: feeds as u64,
            sent: self.sent.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
