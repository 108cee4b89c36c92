//! What became of what was to be sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use outrigger_protocol::time::UnixMillis;
use serde::Deserialize;

/// What a lane carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    Metrics,
    Logs,
}

impl Signal {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// One signal of one destination, at one moment. Counts are of samples (one value of one series at one time), or of log
/// lines, since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStats {
    /// As the configuration calls the destination.
    pub name: String,
    /// `remote_write` or `otlp`.
    pub protocol: &'static str,
    pub signal: Signal,
    /// Waiting, and what of the memory that it may take it takes.
    pub queued: u64,
    pub queued_bytes: u64,
    pub sent: u64,
    /// Never sent: the queue was full, or the control plane ended before.
    pub dropped: u64,
    /// Refused by the receiver, or given up on.
    pub failed: u64,
    /// Requests that were made again.
    pub retries: u64,
    /// The newest trouble in words; `None` when the newest request went well.
    pub last_error: Option<String>,
    pub last_success: Option<UnixMillis>,
}

/// Counts of a lane.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// Of a batch that has left the queue and has not arrived.
    pub(crate) in_flight: AtomicU64,
    /// 0 when there was none.
    last_success: AtomicU64,
    last_error: Mutex<Option<String>>,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn succeeded(&self, at: UnixMillis) {
        self.last_success.store(at.as_millis(), Ordering::Relaxed);
        *self.error() = None;
    }

    pub(crate) fn erred(&self, what: &str) {
        *self.error() = Some(what.to_owned());
    }

    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(
        &self,
        name: &str,
        protocol: &'static str,
        signal: Signal,
        (queued, queued_bytes): (usize, usize),
    ) -> DestinationStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_success = count(&self.last_success);
        DestinationStats {
            name: name.to_owned(),
            protocol,
            signal,
            queued: queued as u64 + count(&self.in_flight),
            queued_bytes: queued_bytes as u64,
            sent: count(&self.sent),
            dropped: count(&self.dropped),
            failed: count(&self.failed),
            retries: count(&self.retries),
            last_error: self.error().clone(),
            last_success: (last_success > 0).then(|| UnixMillis::from_millis(last_success)),
        }
    }
}
