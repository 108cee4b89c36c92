//! Following a deployment's lines as they come.

use std::sync::Arc;

use outrigger_protocol::id::DeploymentId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::book::LogBook;
use crate::error::ReadError;
use crate::line::{LogFilter, LogLine};
use crate::query::{Direction, LogQuery};
use crate::shelf::{Shelf, Tail};
use crate::stats::add;

/// Lines that are read from the store at a time.
const READ_AT_ONCE: usize = 1_000;

/// What a follower gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next lines that are wanted, at least one.
    Lines(Vec<Arc<LogLine>>),
    /// The follower was too slow: so many lines went by, wanted or not, and it goes on with the newest that are in memory.
    /// What it missed can be [read](LogBook::read) after the last number that it saw.
    Lagged(u64),
}

/// A place in a deployment's lines, that moves on as lines come. There is no queue behind it: a follower that does not ask
/// costs nothing and holds up nobody.
#[derive(Debug)]
pub struct Follower {
    book: LogBook,
    shelf: Arc<Shelf>,
    filter: LogFilter,
    /// The number that was looked at last.
    position: u64,
    changed: watch::Receiver<u64>,
    /// Reads from the store what memory has no more, instead of passing over it.
    reads_behind: bool,
    never_passes_over: bool,
    ended: CancellationToken,
}

impl Follower {
    pub(crate) fn new(
        book: LogBook,
        shelf: Arc<Shelf>,
        filter: LogFilter,
        after: Option<u64>,
        ended: CancellationToken,
    ) -> Self {
        let changed = shelf.join();
        let last = shelf.last();
        // A number that was never given would wait for ever.
        let position = after.map_or(last, |after| after.min(last));
        let (reads_behind, never_passes_over) = (after.is_some(), false);
        Self { book, shelf, filter, position, changed, reads_behind, never_passes_over, ended }
    }

    /// A follower that is never [lagged](Followed::Lagged): what memory has no more, it reads from the store.
    #[must_use]
    pub fn without_gaps(mut self) -> Self {
        self.never_passes_over = true;
        self
    }

    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        self.shelf.deployment
    }

    /// The number that was looked at last: another follower after it goes on where this one is.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Waits for the next lines. `None` when the deployment is deleted or the book is closed. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// The store cannot be read. Asking again tries again.
    pub async fn next(&mut self) -> Result<Option<Followed>, ReadError> {
        loop {
            if self.ended.is_cancelled() {
                return Ok(None);
            }
            self.changed.mark_unchanged();
            match self.shelf.after(self.position) {
                Tail::Gone => return Ok(None),
                Tail::UpToDate => {
                    let ended = self.ended.clone();
                    tokio::select! {
                        changed = self.changed.changed() => {
                            if changed.is_err() {
                                return Ok(None);
                            }
                        }
                        () = ended.cancelled() => return Ok(None),
                    }
                }
                Tail::Lines(lines, through) => {
                    self.reads_behind = false;
                    self.position = through;
                    let wanted: Vec<_> = lines.into_iter().filter(|line| self.filter.accepts(line)).collect();
                    if !wanted.is_empty() {
                        return Ok(Some(Followed::Lines(wanted)));
                    }
                }
                Tail::Behind(first) if self.reads_behind || self.never_passes_over => {
                    let wanted = self.read_behind(first).await?;
                    if !wanted.is_empty() {
                        return Ok(Some(Followed::Lines(wanted)));
                    }
                }
                Tail::Behind(first) => {
                    let missed = first - 1 - self.position;
                    self.position = first - 1;
                    add(&self.book.shelves().counters.lagged, missed);
                    return Ok(Some(Followed::Lagged(missed)));
                }
            }
        }
    }

    /// A page from the store, where memory begins with `first`.
    async fn read_behind(&mut self, first: u64) -> Result<Vec<Arc<LogLine>>, ReadError> {
        let query = LogQuery {
            deployment: self.deployment(),
            filter: self.filter.clone(),
            after: Some(self.position),
            limit: READ_AT_ONCE,
            direction: Direction::Forward,
        };
        let page = self.book.read(&query).await?;
        let through = page.lines.last().map_or(0, |line| line.number);
        self.position = match page.next {
            Some(next) => next,
            // To its end, which may lie beyond what was the first in memory.
            None => through.max(first - 1),
        };
        Ok(page.lines)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.book.left(&self.shelf);
    }
}
