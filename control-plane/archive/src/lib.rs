//! The past of deployments: what their instances measured, kept, rolled up, asked for, and forgotten in time.
//!
//! What flows through:
//!
//! ```text
//!  ingest ─▶ Sink ─▶ buffer (memory) ─▶ journal ═▶ store      at most a few seconds later
//!                       │ cut: pieces of about two minutes ═▶ store
//!                       │        seal: an hour at once ═▶ store: samples, and roll-ups of 10 s, 1 min, 5 min,
//!                       │                                  of every instance and of the deployment as a whole
//!  query ◀── fold ◀─────┴── rows ◀═ store
//! ```
//!
//! What belongs together is told by key alone: a value is that of (source, metric, time), and what is written later
//! stands for what was written earlier. So nothing here has to happen exactly once: a journal that is replayed, a piece
//! that is cut twice, an hour that is sealed again because something came late, all lead to the same answers.
//! The arithmetic is in `outrigger-history`; here is when it is done, and where its rows live.
//!
//! # What must never be true
//!
//! - That the sink waits, for a lock that is held during I/O or for the store. What there is no room for is dropped and
//!   counted in [`ArchiveStats`].
//! - That more than [`ArchiveConfig::flush_every`] and a write of the store lie between a sample and its durability, as
//!   long as the store takes writes.
//! - That a sample counts twice in an answer, whatever was repeated by an agent, by a crash or by a replay.
//! - That a deployment which was deleted comes back, out of the journal or from an agent that does not know yet.
//! - That a damaged row fails a query: what cannot be read is left out and counted.

#![forbid(unsafe_code)]

mod archive;
mod backfill;
mod buffer;
mod config;
mod cut;
mod error;
mod fold;
mod journal;
mod keeper;
mod keys;
mod line;
mod query;
mod record;
mod roll;
mod rows;
mod seal;
mod sink;
mod stats;
mod whole;

pub use archive::Archive;
pub use config::{ArchiveConfig, Clock};
pub use error::{ArchiveError, QueryError};
pub use outrigger_history::{QueryError as RangeError, Tier, TierError, Tiers};
pub use query::{Aggregate, Answer, Query};
pub use stats::ArchiveStats;
