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
//! one of its end; of log records the oldest go. Both are counted and the count travels with the next batch.
//!
//! Pure: no clock, no I/O. What must never be true: an id used for two contents, something acknowledged handed out
//! again, batches out of order, or more than the capacity held.

mod bounded;
mod logs;
mod metrics;
mod thin;
mod window;

pub use self::bounded::{Goods, Spool};
pub use self::logs::{LogSpool, Records};
pub use self::metrics::{MetricSpool, Samples};
pub use self::thin::Weighted;
pub use self::window::Acknowledged;

/// Bytes that a spool holds unless told otherwise: hours of samples at one a second.
pub const DEFAULT_CAPACITY_BYTES: usize = 8 * 1024 * 1024;
