//! What agents tell goes on to the operator's own systems: Prometheus remote write 1.0, and OTLP over HTTP.
//!
//! ```text
//!              sessions' tasks                          one task per lane
//!  ingest ──▶ Tap ─┬─▶ queue ──▶ batch ──▶ names ──▶ encode ──▶ POST ──▶ receiver
//!             (per │                (by size,   (catalog,              (again on 429 and 5xx,
//!         instance:│                 by time)    for 30 s)              with backoff)
//!          totals, ├─▶ queue …
//!          order)  └─▶ queue …
//! ```
//!
//! A *lane* is one signal (metrics or logs) of one destination: a bounded queue and a task of its own, so that a receiver
//! that is slow or away costs the others nothing. The `Tap` is called by the sessions of agents and never
//! waits: a full queue loses its oldest and counts.
//!
//! An agent tells of windows, receivers want totals: what happened since the previous sample is added up per instance
//! in the tap, *before* any queue, so that what a queue loses is missing from no total. Times of one instance only grow,
//! because receivers refuse a series that goes back. One request of a lane is under way at a time, which keeps the order.
//!
//! What must never be true: anything here makes ingest wait; a queue, a batch, an answer or a retry has no bound; a
//! credential is in a log, an error or a Debug output; a redirect is followed with a credential in hand.

mod backoff;
mod credentials;
mod encoding;
mod export;
mod grouped;
mod instances;
mod lane;
mod latency;
mod naming;
mod otlp;
mod queue;
mod receiver;
mod remote_write;
mod settings;
mod stats;
mod tap;
mod vocabulary;

pub use export::{Export, ExportError};
pub use settings::{Destination, SettingsError};
pub use stats::{DestinationStats, Signal};
