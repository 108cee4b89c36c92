//! The control plane's memory.
//!
//! [`Store`] is a small contract: ordered keys, transactions of compares and operations that get one revision
//! each, reads at a recent revision, resumable ordered watches, leases with fencing epochs, and append-only logs.
//! Everything that the control plane keeps (projects, environments, deployments, decisions, audit) is typed rows
//! on top of it, in other crates. [`RedbStore`] is the embedded implementation; it is the only user of redb in the
//! workspace.
//!
//! What flows through: a [`Transaction`] is checked against the [`limits`], queued for the one writer, committed
//! together with whatever else was waiting, made durable, and answered with its [`Revision`]. Readers never wait
//! for the writer. A [`Watch`] reads the change log that each transaction leaves, at its own pace.
//!
//! What must never be true:
//!
//! - An answered transaction is missing after a crash, or an unanswered one is there in part.
//! - A revision is skipped or used twice, or a fencing epoch goes back.
//! - A failed write is tried again on storage that has lied about a synchronisation: after such a failure the
//!   store only reads.
//! - A file that is not ours is written to. It is opened over a scratch layer in memory first, and only touched
//!   when that went well.
//! - Code above the trait can tell that there is only one process, or reads a clock through it.

#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
mod embedded;
pub mod error;
#[cfg(any(test, feature = "test-support"))]
pub mod faults;
pub mod key;
pub mod lease;
pub mod limits;
mod link;
pub mod log;
mod open_error;
mod store;
mod transaction;
mod watch;

#[cfg(any(test, feature = "test-support"))]
pub use embedded::tampering;
pub use embedded::{Options, RedbStore};
pub use error::StoreError;
pub use key::{Key, KeyBuilder, KeyRange, KeyReader, KeyShapeError};
pub use lease::{Lease, LeaseEpoch, LeaseName};
pub use link::{Link, Linked, SharedLink};
pub use log::{Direction, LogEntry, LogName, LogPage, LogPosition};
pub use open_error::OpenError;
/// What [`RedbStore::with_backend`] takes.
pub use redb::StorageBackend;
pub use store::{Committed, Entry, Health, Page, RangeOptions, ReadAt, Revision, SharedStore, Store, StoreStats};
pub use transaction::{Compare, Op, Transaction};
pub use watch::{Change, ChangeKind, Event, Watch};
