//! What waits to be sent, and what was sent and not yet acknowledged.
//!
//! Samples and log records are pushed in; [`MetricSpool::next_batch`] and [`LogSpool::next_batch`] cut batches from the
//! unsent and hand them out; an acknowledgement forgets everything up to it; after a reconnect [`MetricSpool::rewind`]
//! makes the unacknowledged batches the next ones again, each with the content it had.
//!
//! Memory is bounded twice. At most a quarter of the capacity may be in unacknowledged batches: those are frozen,
//! because the server may have counted them. The rest is unsent and gives way when it is full: neighbouring samples are
//! folded into one, all but the newest, so that a long outage leaves a coarse picture of its whole length and a fine
//! one of its end; of log records the oldest go. Both are counted and the count travels with the next batch.
//!
//! Pure: no clock, no I/O. What must never be true: an id used for two contents, something acknowledged handed out
//! again, batches out of order, or more than the capacity held.

mod logs;
mod metrics;
mod thin;
mod window;

pub use self::logs::LogSpool;
pub use self::metrics::MetricSpool;
pub use self::window::Acknowledged;

/// Bytes that a spool holds unless told otherwise: hours of samples at one a second.
pub const DEFAULT_CAPACITY_BYTES: usize = 8 * 1024 * 1024;
