//! [`LogBook`], the handle.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_ingest::{Sink, Source};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{RangeOptions, SharedStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::LogBookConfig;
use crate::error::{OpenError, ReadError};
use crate::follow::Follower;
use crate::line::LogFilter;
use crate::numbers::{before_run, begin_run};
use crate::query::{Kept, LogPage, LogQuery};
use crate::rows;
use crate::shelf::Shelf;
use crate::shelves::Shelves;
use crate::stats::LogBookStats;
use crate::writer::Writer;

/// The lines of all deployments. Clones are the same book.
#[derive(Debug, Clone)]
pub struct LogBook {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: SharedStore,
    shelves: Arc<Shelves>,
    config: LogBookConfig,
    /// Ends followers, so that what serves them can end.
    followers_end: CancellationToken,
    writer_stop: CancellationToken,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl LogBook {
    /// Opens the book that `store` holds, or begins one. Needs a tokio runtime. One book at a time per store.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(store: SharedStore, config: LogBookConfig) -> Result<Self, OpenError> {
        let run = begin_run(&store).await?;
        let shelves = Arc::new(Shelves::new(config, before_run(run)));
        let writer_stop = CancellationToken::new();
        let writer = Writer::new(Arc::clone(&store), Arc::clone(&shelves), config, UnixMillis::now, run);
        let writer = Mutex::new(Some(tokio::spawn(writer.run(writer_stop.clone()))));
        let followers_end = CancellationToken::new();
        Ok(Self { inner: Arc::new(Inner { store, shelves, config, followers_end, writer_stop, writer }) })
    }

    /// Where lines come in.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Intake { shelves: Arc::clone(&self.inner.shelves) })
    }

    /// A page of what is kept and of what came in a moment ago.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        Kept { store: &self.inner.store, shelves: &self.inner.shelves }.read(query).await
    }

    /// The lines after the number `after`, first those that are kept and then those to come; without it, only those to
    /// come.
    #[must_use]
    pub fn follow(&self, deployment: DeploymentId, filter: LogFilter, after: Option<u64>) -> Follower {
        self.inner.shelves.counters.followers.fetch_add(1, Ordering::Relaxed);
        let shelf = self.inner.shelves.of(deployment);
        Follower::new(self.clone(), shelf, filter, after, self.inner.followers_end.clone())
    }

    pub(crate) fn shelves(&self) -> &Shelves {
        &self.inner.shelves
    }

    /// A follower is gone.
    pub(crate) fn left(&self, shelf: &Shelf) {
        shelf.leave(self.inner.config.followed_bytes);
        self.inner.shelves.counters.followers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Erases what is kept of all deployments but these: those that were deleted while nobody could tell the book.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn keep_only(&self, deployments: &HashSet<DeploymentId>) -> Result<(), ReadError> {
        let mut rest = rows::all_headers();
        loop {
            let page = self.inner.store.range(rest.clone(), RangeOptions::default().limit(1)).await?;
            let Some(entry) = page.entries.first() else { return Ok(()) };
            rest = match rows::read_header_key(&entry.key) {
                Some((deployment, _)) => {
                    if !deployments.contains(&deployment) {
                        self.inner.shelves.end(deployment);
                    }
                    rest.after(&rows::header_key(deployment, u64::MAX))
                }
                None => rest.after(&entry.key),
            };
        }
    }

    #[must_use]
    pub fn stats(&self) -> LogBookStats {
        self.inner.shelves.counters.read()
    }

    /// Tells all followers that there is no more, for whoever serves them to end. Lines are taken and written as before.
    pub fn end_followers(&self) {
        self.inner.followers_end.cancel();
    }

    /// Writes what is not written yet, and ends. Lines that come later are lost. Closing twice is no error.
    pub async fn close(&self) {
        self.end_followers();
        self.inner.writer_stop.cancel();
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer of log lines panicked");
        }
    }
}

/// A book that nobody closed: its writer ends by itself.
impl Drop for Inner {
    fn drop(&mut self) {
        self.writer_stop.cancel();
    }
}

/// The end of the book that ingest knows.
#[derive(Debug)]
struct Intake {
    shelves: Arc<Shelves>,
}

impl Sink for Intake {
    fn logs(&self, source: Source, records: &[LogRecord], dropped: u64, received_at: UnixMillis) {
        self.shelves.put(source, records, dropped, received_at);
    }

    fn deployment_gone(&self, deployment: DeploymentId) {
        self.shelves.end(deployment);
    }
}
