//! Watches on the change log: each reads it at its own pace, and sleeps when it has seen everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream;
use redb::ReadTransaction;
use tokio::sync::watch;

use super::engine::{Engine, Progress};
use super::read_blocking;
use super::reader::{self, Observed};
use crate::error::StoreError;
use crate::key::KeyRange;
use crate::store::Revision;
use crate::watch::{Event, Watch, WatchProgress};

/// A watch that is no further behind than this looks on its own thread: most look at one or two revisions at a time,
/// and there may be thousands of them. A longer stretch moves to a blocking thread.
const SHORT: u64 = 32;

struct Watcher {
    engine: Arc<Engine>,
    follow: watch::Receiver<Progress>,
    range: KeyRange,
    /// The next revision to look at.
    next: Revision,
    found: VecDeque<Event>,
    progress: WatchProgress,
}

pub(super) fn watch(engine: &Arc<Engine>, range: KeyRange, from: Revision) -> Watch {
    let next = from.max(1);
    let progress = WatchProgress::default();
    progress.advance(next - 1);
    engine.counters.watches.fetch_add(1, Ordering::Relaxed);
    let watcher = Watcher {
        engine: Arc::clone(engine),
        follow: engine.follow(),
        range,
        next,
        found: VecDeque::new(),
        progress: progress.clone(),
    };
    Watch::new(
        progress,
        stream::unfold(Some(watcher), async |watcher| {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(event) => Some((Ok(event), Some(watcher))),
                Err(end) => Some((Err(end), None)),
            }
        }),
    )
}

impl Watcher {
    async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            if let Some(event) = self.found.pop_front() {
                self.progress.advance(event.revision);
                return Ok(event);
            }
            self.progress.advance(self.next - 1);
            let latest = self.new_revision().await?;
            let (range, next) = (self.range.clone(), self.next);
            let look = move |read: &ReadTransaction| reader::observe(read, &range, next);
            let short = latest - next < SHORT;
            let observed = if short { self.engine.read(look) } else { read_blocking(&self.engine, look).await };
            let Observed { events, through } = observed?;
            self.found.extend(events);
            self.next = through + 1;
            if through < next {
                // The storage failed between the announcement and the look: wait for what it announces next.
                self.follow.changed().await.map_err(|_| StoreError::Closed)?;
            }
        }
    }

    /// Waits until there is something to look at. Returns the latest revision.
    async fn new_revision(&mut self) -> Result<Revision, StoreError> {
        let next = self.next;
        let progress = self.follow.wait_for(|progress| progress.closed || progress.revision >= next).await;
        match progress {
            Ok(progress) if !progress.closed => Ok(progress.revision),
            _ => Err(StoreError::Closed),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.engine.counters.watches.fetch_sub(1, Ordering::Relaxed);
    }
}
