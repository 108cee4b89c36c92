//! The lines of every deployment's programs: numbered, kept, searched, followed.
//!
//! What flows through: [`ingest`](outrigger_ingest::Sink) hands over the records of one instance; each becomes a [`LogLine`]
//! with the next number of its deployment, lands on the deployment's shelf in memory (`shelf.rs`), and wakes whoever
//! follows. Within a second the writer (`writer.rs`) packs what is not written yet into a compressed segment
//! (`segment.rs`) and commits it; small segments are merged as they get more (`merge.rs`), and the oldest go when they
//! are too old or too many. A [query](LogBook::read) walks the segments' headers, opens those that may hold what is
//! wanted, and ends with what is not written yet. A [`Follower`] has a place in the numbers and no queue: it reads
//! what is on the shelf, and from the store what is not there any more.
//!
//! Numbers grow with every line of a deployment and are never used twice, because each run of the book has a range of its
//! own (`numbers.rs`); between the runs, and where lines were lost before they were written, there are gaps.
//!
//! What must never be true:
//!
//! - Who tells us a line waits for a follower or for the disk.
//! - A line is missing and nobody is told: what an agent or this book had to drop is a [`LogEntry::Dropped`] in its place.
//! - A request does work without bound: a page says how far it got, and whoever asks goes on from there.
//! - Lines of a deployment that is deleted come back.
//! - A line is interpreted. It is text that anybody may have written; whoever shows it escapes it.

mod book;
mod config;
mod decode;
mod error;
mod follow;
mod line;
mod merge;
mod numbers;
mod query;
mod rows;
mod segment;
mod shelf;
mod shelves;
mod stats;
mod writer;

pub use book::LogBook;
pub use config::LogBookConfig;
pub use error::{OpenError, ReadError};
pub use follow::{Followed, Follower};
pub use line::{LogEntry, LogFilter, LogLine};
pub use query::{Direction, LogPage, LogQuery};
pub use stats::LogBookStats;
