//! The archive as others hold it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use outrigger_ingest::Sink;
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{KeyRange, RangeOptions, SharedStore, Transaction};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::buffer::{Buffers, Segment, Span, lock};
use crate::config::{ArchiveConfig, HOUR, hour_of};
use crate::error::{ArchiveError, QueryError};
use crate::query::{Answer, Query};
use crate::rows::Rows;
use crate::sink::ArchiveSink;
use crate::stats::{ArchiveStats, Count, Stats};
use crate::{journal, keys, query, record};

/// How often it is looked for hours that ended.
const MAINTAIN_EVERY: Duration = Duration::from_secs(15);
/// Of a sequence, what belongs to one opening of the archive.
const EPOCH_BITS: u32 = 32;

/// The past of all deployments. Clones are the same archive.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<Inner>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    stop: CancellationToken,
}

/// What all parts of the archive share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: ArchiveConfig,
    pub(crate) rows: Rows,
    pub(crate) stats: Arc<Stats>,
    pub(crate) buffers: Buffers,
    /// Steps of the tiers in milliseconds, the finest first.
    pub(crate) steps: Vec<u64>,
    /// Flushes that the store refused, to be tried again.
    pub(crate) unwritten: tokio::sync::Mutex<Vec<(u64, Vec<Bytes>)>>,
    /// Held by whoever writes rows, from looking at a deployment through the write: one that was deleted meanwhile is
    /// found to be so, and what was written before that is erased.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Deployments whose rows are to be erased.
    pub(crate) erasing: Mutex<BTreeSet<DeploymentId>>,
    pub(crate) permits: Semaphore,
    next: AtomicU64,
    /// When it was last looked for what is too old, in milliseconds.
    pub(crate) expired_at: AtomicU64,
}

impl Inner {
    /// A number greater than all before, also those before a restart.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The time before which a sample is too late.
    pub(crate) fn oldest_sample(&self, now: UnixMillis) -> u64 {
        hour_of(now.saturating_sub(self.config.latest).as_millis())
    }

    pub(crate) fn bury(&self, deployment: DeploymentId) {
        self.buffers.bury(deployment);
        lock(&self.erasing).insert(deployment);
    }

    pub(crate) fn step(&self, tier: usize) -> u64 {
        self.steps.get(tier).copied().unwrap_or(HOUR)
    }
}

impl Archive {
    /// Opens the history in a store and reads back what the journal has. Nothing runs until [`Archive::start`].
    ///
    /// # Errors
    /// A tier's step does not divide an hour, or the store cannot be read or written.
    pub async fn open(store: SharedStore, config: ArchiveConfig) -> Result<Self, ArchiveError> {
        let steps: Vec<u64> = config.tiers.as_slice().iter().map(outrigger_history::Tier::step_millis).collect();
        if let Some(tier) = steps.iter().position(|step| !HOUR.is_multiple_of(*step)) {
            return Err(ArchiveError::Step { tier, step_ms: steps[tier] });
        }
        let stats = Arc::new(Stats::default());
        let epoch = next_epoch(&store).await?;
        let inner = Inner {
            rows: Rows { store, stats: Arc::clone(&stats) },
            stats,
            buffers: Buffers::new(config.deployments),
            steps,
            unwritten: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            erasing: Mutex::default(),
            permits: Semaphore::new(config.queries.max(1)),
            next: AtomicU64::new(epoch << EPOCH_BITS),
            expired_at: AtomicU64::new(0),
            config,
        };
        inner.restore().await?;
        Ok(Self { inner: Arc::new(inner), tasks: Arc::default(), stop: CancellationToken::new() })
    }

    /// Begins to flush, cut, seal and expire by itself, until [`Archive::close`]. Needs a tokio runtime.
    pub fn start(&self) {
        let flushing = {
            let (inner, stop) = (Arc::clone(&self.inner), self.stop.clone());
            async move {
                let mut ticks = interval(inner.config.flush_every);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                    inner.flush().await;
                    inner.cut(false).await;
                }
            }
        };
        let maintaining = {
            let (inner, stop) = (Arc::clone(&self.inner), self.stop.clone());
            async move {
                let mut ticks = interval(MAINTAIN_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                    inner.maintain(&stop).await;
                }
            }
        };
        lock(&self.tasks).extend([tokio::spawn(flushing), tokio::spawn(maintaining)]);
    }

    /// What ingest gives samples to.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(ArchiveSink(Arc::clone(&self.inner)))
    }

    /// One metric over time.
    ///
    /// # Errors
    /// The query has no answer, or the store cannot be read.
    pub async fn query(&self, query: Query) -> Result<Answer, QueryError> {
        query::answer(&self.inner, query).await
    }

    /// The instances that told anything between two times, rounded to the rows that say so.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn instances(
        &self,
        deployment: DeploymentId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<InstanceId>, QueryError> {
        query::instances(&self.inner, deployment, from, to).await
    }

    /// The names of the metrics that there is anything of between two times, rounded to the rows that say so.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn metrics(
        &self,
        deployment: DeploymentId,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<String>, QueryError> {
        query::metrics(&self.inner, deployment, from, to).await
    }

    #[must_use]
    pub fn stats(&self) -> ArchiveStats {
        let Self { inner, .. } = self;
        inner.stats.snapshot(inner.buffers.len() as u64, inner.buffers.bytes() as u64)
    }

    /// Forgets every deployment but these: those that were deleted while nobody listened.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn keep_only(&self, known: &HashSet<DeploymentId>) -> Result<(), ArchiveError> {
        let listed = self.inner.listed().await?.into_iter();
        let buffered = self.inner.buffers.all().into_iter().map(|(deployment, _)| deployment);
        for deployment in listed.chain(buffered).filter(|deployment| !known.contains(deployment)) {
            self.inner.bury(deployment);
        }
        Ok(())
    }

    /// Writes what is in memory to the journal.
    pub async fn flush(&self) {
        self.inner.flush().await;
    }

    /// Does at once what is done from time to time: cuts what is in memory into rows when `all`, or what is due, seals
    /// hours that ended, joins rows, lets what is old go. Erases deleted deployments.
    pub async fn maintain(&self, all: bool) {
        self.inner.cut(all).await;
        self.inner.maintain(&self.stop).await;
    }

    /// Stops the work and writes what is in memory to the journal. The store stays open.
    pub async fn close(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a task of the history ended badly");
            }
        }
        self.inner.flush().await;
    }
}

/// Counts one more opening.
async fn next_epoch(store: &SharedStore) -> Result<u64, ArchiveError> {
    let known = store.get(&keys::epoch()).await.map_err(ArchiveError::store("read"))?;
    let known = known.and_then(|entry| Some(u64::from_be_bytes(*entry.value.first_chunk()?))).unwrap_or(0);
    let epoch = known.saturating_add(1);
    let write = Transaction::new().put(keys::epoch(), epoch.to_be_bytes().to_vec());
    store.commit(write).await.map_err(ArchiveError::store("write"))?;
    Ok(epoch)
}

impl Inner {
    /// Reads back what was going on when the last process ended.
    async fn restore(&self) -> Result<(), ArchiveError> {
        self.each(keys::all_pending(), |key, _| {
            if let Ok(period) = keys::read_pending(key)
                && let Ok(buffer) = self.buffers.of(period.deployment)
            {
                let mut buffer = lock(&buffer);
                // As long ago as can be: whoever was to add to it has gone.
                buffer.note(period, UnixMillis::EPOCH);
                buffer.listed = true;
            }
        })
        .await?;
        let now = self.config.clock.now();
        self.each(keys::journal_before(None), |key, row| {
            let number = keys::read_journal(key);
            let read = journal::read(row, |deployment, records| {
                if let (Ok(number), Ok(buffer)) = (number, self.buffers.of(deployment)) {
                    self.restore_segment(&mut lock(&buffer), now, number, records);
                }
            });
            self.stats.add(Count::Damaged, u64::from(number.is_err() || read.is_err()));
        })
        .await
    }

    fn restore_segment(&self, buffer: &mut crate::buffer::Buffer, now: UnixMillis, number: u64, records: Bytes) {
        let mut parts = Vec::new();
        let mut damaged = u64::from(record::split(&records, &mut parts).is_err());
        let mut span: Option<Span> = None;
        for part in parts {
            let read = part.read(|reading| {
                let at = Span::of(reading.at.as_millis());
                span = Some(span.map_or(at, |span| span.and(at)));
            });
            damaged += u64::from(read.is_err());
        }
        self.stats.add(Count::Damaged, damaged);
        if let Some(span) = span {
            self.buffers.grown(records.len());
            // A copy, so that what is kept of a row does not keep all of it.
            buffer.keep(now, Segment { number, span, records: Bytes::copy_from_slice(&records) });
        }
    }

    /// Gives every entry of a range to `each`.
    pub(crate) async fn each(
        &self,
        range: KeyRange,
        mut each: impl FnMut(&outrigger_store::Key, &Bytes),
    ) -> Result<(), ArchiveError> {
        let mut rest = range;
        loop {
            let page = self.rows.store.range(rest.clone(), RangeOptions::default()).await;
            let page = page.map_err(ArchiveError::store("read"))?;
            page.entries.iter().for_each(|entry| each(&entry.key, &entry.value));
            match page.entries.last() {
                Some(last) if page.more => rest = rest.after(&last.key),
                _ => return Ok(()),
            }
        }
    }

    /// The deployments that there are rows of.
    pub(crate) async fn listed(&self) -> Result<Vec<DeploymentId>, ArchiveError> {
        let mut listed = Vec::new();
        self.each(keys::deployments(), |key, _| listed.extend(keys::read_deployment(key))).await?;
        Ok(listed)
    }
}
