//! When what is done: flushing, cutting, sealing, forgetting.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Op, Transaction};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::archive::Inner;
use crate::buffer::{Noted, Segment, SharedBuffer, lock};
use crate::config::{HOUR, MARGIN, period};
use crate::cut::{self, Cut};
use crate::error::ArchiveError;
use crate::journal;
use crate::keys::{self, Period, Scope};
use crate::rows::Writing;
use crate::stats::Count;

/// Bytes of flushes that wait to be tried again; the samples themselves stay in memory.
const UNWRITTEN_BYTES: usize = 64 << 20;
/// How often it is looked for what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// The longest rest between two hours that are sealed.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A deployment whose samples are on their way into rows.
struct Moved {
    buffer: SharedBuffer,
    /// The newest flush of them.
    through: u64,
    bytes: usize,
    periods: Vec<Period>,
}

impl Inner {
    /// Writes what came in since the last time to the journal. What the store refuses is tried again the next time.
    pub(crate) async fn flush(&self) {
        let now = self.config.clock.now();
        let number = self.next_sequence();
        let mut rows = journal::Rows::default();
        for (deployment, buffer) in self.buffers.all() {
            let mut buffer = lock(&buffer);
            let Some((open, span)) = buffer.take_open() else { continue };
            rows.push(deployment, &open);
            let records = Bytes::from(open.into_boxed_slice());
            buffer.keep(now, Segment { number, span, records });
        }
        let mut unwritten = self.unwritten.lock().await;
        let rows: Vec<Bytes> = rows.finish().into_iter().map(Bytes::from).collect();
        if !rows.is_empty() {
            unwritten.push((number, rows));
        }
        let written = self.write_journal(&unwritten).await;
        match written {
            Ok(()) => unwritten.clear(),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "recent samples are in memory alone: the history takes no writes");
                let size = |flush: &(u64, Vec<Bytes>)| flush.1.iter().map(Bytes::len).sum::<usize>();
                while unwritten.len() > 1 && unwritten.iter().map(size).sum::<usize>() > UNWRITTEN_BYTES {
                    unwritten.remove(0);
                }
            }
        }
    }

    async fn write_journal(&self, flushes: &[(u64, Vec<Bytes>)]) -> Result<(), ArchiveError> {
        let mut writing = Writing::new(&self.rows);
        for (number, rows) in flushes {
            for (part, row) in rows.iter().enumerate() {
                writing.push(Op::Put(keys::journal(*number, part as u64), row.clone())).await?;
            }
        }
        writing.flush().await
    }

    /// Makes rows of what has been in memory for long, or of `all`, and lets go of the journal behind it.
    pub(crate) async fn cut(&self, all: bool) {
        match self.try_cut(all).await {
            Ok(0) => {}
            Ok(_) => {
                if let Err(error) = self.trim_journal().await {
                    tracing::warn!(error = %chain(&error), "cannot trim the journal of the history");
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot write samples to the history; trying again"),
        }
    }

    async fn try_cut(&self, all: bool) -> Result<usize, ArchiveError> {
        let now = self.config.clock.now();
        let due = self.due(now, all);
        let (mut cuts, mut moved) = (0, Vec::new());
        let guard = self.writing.lock().await;
        let mut writing = Writing::new(&self.rows);
        for (deployment, buffer) in due {
            let segments = lock(&buffer).segments();
            let Some(through) = segments.iter().map(|segment| segment.number).max() else { continue };
            let (bytes, metrics) = (segments.iter().map(|segment| segment.records.len()).sum(), self.config.metrics);
            let records: Vec<Bytes> = segments.into_iter().map(|segment| segment.records).collect();
            let cut = spawn_blocking(move || cut::cut(&records, metrics)).await.map_err(|_| ArchiveError::CutOff)?;
            let (gone, listed) = {
                let buffer = lock(&buffer);
                (buffer.gone, buffer.listed)
            };
            if gone {
                continue;
            }
            if !listed {
                writing.push(Op::Put(keys::deployment(deployment), Bytes::new())).await?;
            }
            let periods = self.write_cut(&mut writing, deployment, cut).await?;
            moved.push(Moved { buffer, through, bytes, periods });
            cuts += 1;
            if writing.is_empty() {
                self.settle(&mut moved, now);
            }
        }
        writing.flush().await?;
        self.settle(&mut moved, now);
        drop(guard);
        Ok(cuts)
    }

    /// Deployments whose samples have been in memory for long enough, and the largest when memory is short.
    fn due(&self, now: UnixMillis, all: bool) -> Vec<(DeploymentId, SharedBuffer)> {
        let mut excess = match self.buffers.bytes() {
            bytes if bytes > self.config.memory_bytes => bytes - self.config.memory_bytes / 2,
            _ => 0,
        };
        let mut sized: Vec<_> = self
            .buffers
            .all()
            .into_iter()
            .map(|(deployment, buffer)| {
                let (bytes, since) = {
                    let buffer = lock(&buffer);
                    (buffer.bytes(), buffer.since())
                };
                (bytes, since, deployment, buffer)
            })
            .collect();
        sized.sort_unstable_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        let mut due = Vec::new();
        for (bytes, since, deployment, buffer) in sized {
            let aged = since.is_some_and(|since| now.since(since) >= self.config.cut_after || since > now);
            if all || aged || excess > 0 {
                excess = excess.saturating_sub(bytes);
                due.push((deployment, buffer));
            }
        }
        due
    }

    async fn write_cut(
        &self,
        writing: &mut Writing<'_>,
        deployment: DeploymentId,
        cut: Cut,
    ) -> Result<Vec<Period>, ArchiveError> {
        self.stats.add(Count::Damaged, cut.damaged);
        self.stats.add(Count::DroppedValues, cut.left_out);
        let mut periods = Vec::new();
        for (start, rows) in cut.rows {
            let period = Period { deployment, scope: Scope::Members, tier: 0, start };
            writing.rows(&period, self.next_sequence(), &mut 0, rows).await?;
            writing.push(Op::Put(keys::pending(&period), Bytes::new())).await?;
            periods.push(period);
        }
        Ok(periods)
    }

    /// Rows hold these samples now.
    fn settle(&self, moved: &mut Vec<Moved>, now: UnixMillis) {
        for Moved { buffer, through, bytes, periods } in moved.drain(..) {
            let mut buffer = lock(&buffer);
            buffer.cut(through, periods, now);
            buffer.listed = true;
            if !buffer.gone {
                self.buffers.shrunk(bytes);
            }
        }
    }

    /// Forgets the journal up to the oldest flush that memory still has something of.
    async fn trim_journal(&self) -> Result<(), ArchiveError> {
        let unwritten = self.unwritten.lock().await;
        let oldest = self.buffers.all().iter().filter_map(|(_, buffer)| lock(buffer).oldest_flush()).min();
        let oldest = oldest.unwrap_or_else(|| self.next_sequence());
        self.rows.erase(keys::journal_before(Some(oldest))).await?;
        drop(unwritten);
        Ok(())
    }

    /// Erases, seals and joins what is due, and lets go of what is old. Rests in between as long as it worked, so that
    /// an hour that ends for everybody takes half a core at most.
    pub(crate) async fn maintain(&self, stop: &CancellationToken) {
        let outcome = async {
            self.erase_buried().await?;
            let now = self.config.clock.now();
            for (deployment, buffer) in self.buffers.all() {
                let waiting: Vec<(Period, Noted)> = lock(&buffer).pending().collect();
                for (period, noted) in waiting.into_iter().filter(|(period, noted)| self.is_over(period, noted, now)) {
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    let started = Instant::now();
                    if period.tier == 0 && self.is_past(period.start, now) {
                        self.backfill(&buffer, period, noted.additions).await?;
                    } else {
                        self.seal(&buffer, period, noted.additions).await?;
                    }
                    let rest = started.elapsed().min(LONGEST_REST);
                    if rest > Duration::from_millis(1) && stop.run_until_cancelled(sleep(rest)).await.is_none() {
                        return Ok(());
                    }
                }
                drop(buffer);
                self.buffers.forget_idle(deployment);
            }
            let last = UnixMillis::from_millis(self.expired_at.load(Ordering::Relaxed));
            if now.since(last) < EXPIRE_EVERY && last <= now {
                return Ok(());
            }
            self.expire(now, stop).await?;
            self.expired_at.store(now.as_millis(), Ordering::Relaxed);
            Ok(())
        };
        if let Err::<(), ArchiveError>(error) = outcome.await {
            tracing::warn!(error = %chain(&error), "cannot maintain the history; trying again");
        }
    }

    /// Whether nothing more is expected of a period: it has ended, and what came after that came a while ago.
    fn is_over(&self, waiting: &Period, noted: &Noted, now: UnixMillis) -> bool {
        let grace = u64::try_from(self.config.grace.as_millis()).unwrap_or(u64::MAX);
        let length = period(self.step(usize::from(waiting.tier)));
        // Roll-ups come in when the last of their hours is sealed.
        let sealing = if waiting.tier == 0 { 0 } else { HOUR / 2 };
        let end = waiting.start.saturating_add(length).saturating_add(grace).saturating_add(sealing);
        let quiet = if noted.at.as_millis() <= end { end } else { noted.at.as_millis().saturating_add(grace) };
        now.as_millis() >= quiet
    }

    async fn erase_buried(&self) -> Result<(), ArchiveError> {
        loop {
            let Some(deployment) = lock(&self.erasing).first().copied() else { return Ok(()) };
            let guard = self.writing.lock().await;
            self.rows.erase(keys::pending_of(deployment)).await?;
            self.rows.erase(keys::rows_of(deployment)).await?;
            let last = Transaction::new().delete(keys::deployment(deployment));
            self.rows.store.commit(last).await.map_err(ArchiveError::store("erase from"))?;
            drop(guard);
            lock(&self.erasing).remove(&deployment);
        }
    }

    /// Lets go of rows that are older than their tier keeps them, and of deployments that nothing is left of.
    async fn expire(&self, now: UnixMillis, stop: &CancellationToken) -> Result<(), ArchiveError> {
        for deployment in self.listed().await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            let buffer = self.buffers.find(deployment);
            let oldest_pending = buffer.as_ref().and_then(|buffer| {
                lock(buffer).pending().filter(|(period, _)| period.tier == 0).map(|(period, _)| period.start).min()
            });
            for (tier, kept) in (0_u8..).zip(self.config.tiers.as_slice()) {
                let length = period(self.step(usize::from(tier)));
                let margin = if tier == 0 { MARGIN } else { Duration::ZERO };
                let horizon = kept.horizon(now).saturating_sub(margin).as_millis();
                // Whole periods; and none from which something is still to be made.
                let through = horizon.saturating_sub(length).saturating_add(1);
                let through =
                    if tier == 0 { oldest_pending.map_or(through, |oldest| through.min(oldest)) } else { through };
                for scope in [Scope::Members, Scope::Whole] {
                    let place = Period { deployment, scope, tier, start: 0 };
                    let old = keys::rows_between(&place, 0, through);
                    if self.rows.is_there(old.clone()).await? {
                        self.rows.erase(old).await?;
                    }
                }
            }
            if buffer.is_none() && !self.rows.is_there(keys::rows_of(deployment)).await? {
                let last = Transaction::new().delete(keys::deployment(deployment));
                self.rows.store.commit(last).await.map_err(ArchiveError::store("erase from"))?;
            }
        }
        Ok(())
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
