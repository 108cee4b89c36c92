//! What waits to be sent, and what was sent and not yet acknowledged.
//!
//! A [`Spool`] takes samples or log records; [`Spool::next_batch`] cuts batches from the unsent and hands them out; an
//! acknowledgement forgets everything up to it; after a reconnect [`Spool::rewind`] makes the unacknowledged batches the
//! next ones again, each with the content it had. Both kinds obey the same rules, which are in `bounded`; what differs
//! between them is their [`Goods`].
//!
//! Memory is bounded twice. At most a quarter of the capacity may be in unacknowledged batches: those are frozen,
//! because the server may have counted them. The rest is unsent and gives way when it is full: neighbouring samples are
//! folded into one, all but the newest, so that a long outage leaves a coarse picture of its whole length and a fine
//! one of its end; of log records the oldest go. Both are counted and the count travels with the next batch. What a spool
//! has grown to is given back when it is empty again.
//!
//! A spool is memory alone. On disk it would survive a killed agent, and what it would save is seconds of a program that
//! was killed with it; it would wear the disk of every sandbox, and telemetry would lie there in the clear.
//!
//! Pure: no clock, no I/O. What must never be true: an id used for two contents, something acknowledged handed out
//! again, batches out of order, or more than the capacity held.

#[cfg(test)]
mod absence;
mod bounded;
mod logs;
mod metrics;
mod thin;
mod window;

pub use self::bounded::{Goods, Spool};
pub use self::logs::{LogSpool, Records};
pub use self::metrics::{MetricSpool, Reading, Samples};
pub use self::thin::Weighted;
pub use self::window::Acknowledged;

/// What samples and log lines may take together, in bytes, unless told otherwise. Half of it for samples is an hour and
/// a half at one a second before the first are folded, and some forty minutes when they have response times.
pub const DEFAULT_BYTES: usize = 8 * 1024 * 1024;
/// Less holds no batch worth sending; more is not replayed within the server's patience.
pub const BYTES: (usize, usize) = (256 * 1024, 64 * 1024 * 1024);

/// Both spools of an agent, within `bytes` together.
#[must_use]
pub fn within(bytes: usize, epoch: u64, forward_logs: bool) -> (MetricSpool, LogSpool) {
    // Without the program's lines there are still the agent's own words about it.
    let lines = if forward_logs { bytes / 2 } else { bytes / 8 };
    (MetricSpool::new(epoch, bytes - lines), LogSpool::new(epoch, lines))
}
