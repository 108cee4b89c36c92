//! The one task that writes: lines into segments, small segments into larger ones, and away with what is too old, too
//! much, or of a deployment that is deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{KeyRange, RangeOptions, SharedStore, StoreError, Transaction};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::LogBookConfig;
use crate::line::LogLine;
use crate::merge::{FAN, LOOKED_AT, ripe};
use crate::numbers::runs_used;
use crate::rows;
use crate::segment::{Header, Segment};
use crate::shelf::Shelf;
use crate::shelves::Shelves;
use crate::stats::add;

/// Segments that share a transaction, and their bytes: small enough that nobody waits for long behind one.
const GROUP_SEGMENTS: usize = 512;
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Segments of one deployment in one turn; what is more waits for the next.
const SEGMENTS_A_TURN: usize = 64;
/// Segments that are deleted by one transaction.
const DELETED_AT_ONCE: usize = 64;
/// Headers that are read at a time.
const HEADERS_AT_ONCE: usize = 256;
/// Deployments in which old segments are looked for in one turn.
const SWEPT_A_TURN: usize = 256;

/// What the store has of a deployment that was written to in this run.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    /// Compressed.
    bytes: u64,
    /// Segments since the last look for some to be merged.
    unmerged: usize,
}

/// Segments on their way into one transaction.
#[derive(Debug, Default)]
struct Group {
    transaction: Transaction,
    segments: usize,
    bytes: usize,
    /// Whose they are, the last number of each, and how many and how large.
    of: Vec<(Arc<Shelf>, u64, usize, usize)>,
}

impl Group {
    fn add(&mut self, shelf: &Arc<Shelf>, segment: Segment) {
        let Segment { header, body } = segment;
        self.segments += 1;
        self.bytes += header.packed;
        match self.of.last_mut() {
            Some((last, number, segments, bytes)) if Arc::ptr_eq(last, shelf) => {
                (*number, *segments, *bytes) = (header.last, *segments + 1, *bytes + header.packed);
            }
            _ => self.of.push((Arc::clone(shelf), header.last, 1, header.packed)),
        }
        self.transaction = with_segment(std::mem::take(&mut self.transaction), shelf.deployment, &header, body);
    }

    const fn is_full(&self) -> bool {
        self.segments >= GROUP_SEGMENTS || self.bytes >= GROUP_BYTES
    }
}

fn with_segment(
    transaction: Transaction,
    deployment: DeploymentId,
    header: &Header,
    body: bytes::Bytes,
) -> Transaction {
    transaction
        .put(rows::header_key(deployment, header.last), header.encode())
        .put(rows::body_key(deployment, header.last), body)
}

fn without_segment(transaction: Transaction, deployment: DeploymentId, last: u64) -> Transaction {
    transaction.delete(rows::header_key(deployment, last)).delete(rows::body_key(deployment, last))
}

#[derive(Debug)]
pub(crate) struct Writer {
    store: SharedStore,
    shelves: Arc<Shelves>,
    config: LogBookConfig,
    clock: fn() -> UnixMillis,
    /// The newest run that is taken.
    run: u64,
    kept: HashMap<DeploymentId, Kept>,
    /// The last write failed: no haste.
    is_failing: bool,
    /// What is left to be looked at for old segments.
    sweeping: Option<KeyRange>,
    /// Deployments that were gone at the last sweep.
    gone: Vec<DeploymentId>,
}

impl Writer {
    pub(crate) fn new(
        store: SharedStore,
        shelves: Arc<Shelves>,
        config: LogBookConfig,
        clock: fn() -> UnixMillis,
        run: u64,
    ) -> Self {
        let (kept, gone) = (HashMap::new(), Vec::new());
        Self { store, shelves, config, clock, run, kept, is_failing: false, sweeping: None, gone }
    }

    /// Writes until it is told to stop, and then what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut turns = interval_at(Instant::now() + self.config.write_every, self.config.write_every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweeps = interval(self.config.sweep_every);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = turns.tick() => {}
                () = self.shelves.hurry.notified() => {
                    if self.is_failing {
                        continue;
                    }
                }
                _ = sweeps.tick() => {
                    self.gone = self.shelves.forget_ended(&self.gone);
                    self.sweeping.get_or_insert_with(rows::all_headers);
                    self.sweep().await;
                    continue;
                }
            }
            self.write().await;
            self.erase_ended().await;
            self.sweep().await;
        }
        self.write().await;
        self.erase_ended().await;
    }

    async fn write(&mut self) {
        let mut group = Group::default();
        for shelf in self.shelves.take_waiting() {
            let mut written = 0;
            for _ in 0..SEGMENTS_A_TURN {
                let Some(segment) = Segment::pack(&shelf.unwritten_after(written), 0) else { break };
                written = segment.header.last;
                group.add(&shelf, segment);
                if group.is_full() {
                    self.commit(std::mem::take(&mut group)).await;
                }
            }
            // Packing is work, and thousands of shelves are a lot of it.
            tokio::task::yield_now().await;
        }
        self.commit(group).await;
    }

    async fn commit(&mut self, group: Group) {
        let Group { mut transaction, segments, bytes, of } = group;
        if segments == 0 {
            return;
        }
        let run = of.iter().map(|(_, last, ..)| runs_used(*last)).max().unwrap_or(0);
        if run > self.run {
            let (key, value) = rows::run_row(run);
            transaction = transaction.put(key, value);
        }
        if let Err(error) = self.store.commit(transaction).await {
            self.failed(&error);
            return of.into_iter().for_each(|(shelf, ..)| self.shelves.wait(shelf));
        }
        self.run = self.run.max(run);
        if std::mem::take(&mut self.is_failing) {
            info!("log lines are written again");
        }
        add(&self.shelves.counters.segments, segments as u64);
        add(&self.shelves.counters.segment_bytes, bytes as u64);
        for (shelf, last, segments, bytes) in of {
            if self.shelves.wrote(&shelf, last) {
                self.shelves.wait(Arc::clone(&shelf));
            }
            if let Err(error) = self.tend(shelf.deployment, segments, bytes).await {
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &StoreError) {
        add(&self.shelves.counters.write_failures, 1);
        // Once, not at every turn; a store that is closed was closed on purpose.
        if !std::mem::replace(&mut self.is_failing, true) && !matches!(error, StoreError::Closed) {
            warn!(error = error as &dyn std::error::Error, "cannot write log lines; they wait in memory");
        }
    }

    /// After segments were added to a deployment.
    async fn tend(&mut self, deployment: DeploymentId, segments: usize, bytes: usize) -> Result<(), StoreError> {
        let mut kept = match self.kept.get(&deployment) {
            Some(kept) => Kept { bytes: kept.bytes + bytes as u64, ..*kept },
            None => Kept { bytes: self.stored_bytes(deployment).await?, unmerged: 0 },
        };
        kept.unmerged += segments;
        if kept.unmerged >= FAN {
            kept.unmerged = 0;
            kept.bytes = kept.bytes.saturating_sub(self.merge(deployment).await?);
        }
        if kept.bytes > self.config.keep_bytes {
            let excess = kept.bytes - self.config.keep_bytes;
            kept.bytes = kept.bytes.saturating_sub(self.remove_oldest(deployment, excess).await?);
        }
        self.kept.insert(deployment, kept);
        Ok(())
    }

    async fn stored_bytes(&self, deployment: DeploymentId) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let mut rest = rows::headers(deployment);
        loop {
            let page = self.store.range(rest.clone(), RangeOptions::default()).await?;
            bytes += page.entries.iter().filter_map(rows::read_header).map(|header| header.packed as u64).sum::<u64>();
            match page.entries.last() {
                Some(last) if page.more => rest = rest.after(&last.key),
                _ => return Ok(bytes),
            }
        }
    }

    /// Makes larger segments of small ones. Returns how many bytes that saved.
    async fn merge(&self, deployment: DeploymentId) -> Result<u64, StoreError> {
        let newest = RangeOptions::default().limit(LOOKED_AT).reverse();
        let page = self.store.range(rows::headers(deployment), newest).await?;
        let mut headers: Vec<Header> = page.entries.iter().rev().filter_map(rows::read_header).collect();
        let mut saved = 0;
        while let Some(range) = ripe(&headers) {
            let mut lines = Vec::new();
            let mut transaction = Transaction::new();
            let mut before = 0;
            let mut tier = 0;
            for header in &headers[range.clone()] {
                lines.extend(self.lines_of(deployment, header).await?);
                transaction = without_segment(transaction, deployment, header.last);
                before += header.packed as u64;
                tier = header.tier.saturating_add(1);
            }
            let Some(Segment { header, body }) = Segment::pack(&lines, tier) else { break };
            self.store.commit(with_segment(transaction, deployment, &header, body)).await?;
            saved += before.saturating_sub(header.packed as u64);
            headers.splice(range, [header]);
        }
        Ok(saved)
    }

    /// The lines of a segment, or that they cannot be read any more.
    async fn lines_of(&self, deployment: DeploymentId, header: &Header) -> Result<Vec<Arc<LogLine>>, StoreError> {
        let body = self.store.get(&rows::body_key(deployment, header.last)).await?;
        Ok(body.and_then(|body| header.unpack(&body.value)).unwrap_or_else(|| {
            add(&self.shelves.counters.damaged_segments, 1);
            vec![header.gap()]
        }))
    }

    /// Removes the oldest segments until `excess` bytes are gone. Returns how many are.
    async fn remove_oldest(&self, deployment: DeploymentId, excess: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        while removed < excess {
            let count = self
                .remove_while(deployment, |header| {
                    let is_wanted = removed < excess;
                    removed += if is_wanted { header.packed as u64 } else { 0 };
                    is_wanted
                })
                .await?;
            if count == 0 {
                break;
            }
        }
        Ok(removed)
    }

    /// Removes from the oldest segment on, as long as `is_old` holds, those of one page. Returns how many.
    async fn remove_while(
        &self,
        deployment: DeploymentId,
        mut is_old: impl FnMut(&Header) -> bool,
    ) -> Result<usize, StoreError> {
        let page = self.store.range(rows::headers(deployment), RangeOptions::default().limit(HEADERS_AT_ONCE)).await?;
        let old: Vec<u64> = page
            .entries
            .iter()
            // A header that nobody can read is in the way of all that follow, and of no use.
            .take_while(|entry| rows::read_header(entry).is_none_or(|header| is_old(&header)))
            .filter_map(|entry| rows::read_header_key(&entry.key))
            .map(|(_, last)| last)
            .collect();
        for some in old.chunks(DELETED_AT_ONCE) {
            let deleted = some.iter().fold(Transaction::new(), |all, last| without_segment(all, deployment, *last));
            self.store.commit(deleted).await?;
            add(&self.shelves.counters.expired_segments, some.len() as u64);
        }
        Ok(old.len())
    }

    /// Everything of deployments that are deleted.
    async fn erase_ended(&mut self) {
        let mut ended = self.shelves.take_ended().into_iter();
        while let Some(deployment) = ended.next() {
            self.kept.remove(&deployment);
            loop {
                match self.remove_while(deployment, |_| true).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        self.failed(&error);
                        self.shelves.put_back_ended(std::iter::once(deployment).chain(ended));
                        return;
                    }
                }
            }
        }
    }

    /// Looks for what is too old in some deployments.
    async fn sweep(&mut self) {
        let Some(mut rest) = self.sweeping.take() else { return };
        let end = (self.clock)().saturating_sub(self.config.keep_for);
        for _ in 0..SWEPT_A_TURN {
            match self.sweep_next(&rest, end).await {
                Ok(Some(next)) => rest = next,
                Ok(None) => return,
                // The next sweep begins anew.
                Err(error) => return self.failed(&error),
            }
        }
        self.sweeping = Some(rest);
        self.shelves.hurry.notify_one();
    }

    /// Removes what the first deployment of `rest` has from before `end`. Returns what is left of `rest`.
    async fn sweep_next(&mut self, rest: &KeyRange, end: UnixMillis) -> Result<Option<KeyRange>, StoreError> {
        let page = self.store.range(rest.clone(), RangeOptions::default().limit(1)).await?;
        let Some(entry) = page.entries.first() else { return Ok(None) };
        let Some((deployment, _)) = rows::read_header_key(&entry.key) else { return Ok(Some(rest.after(&entry.key))) };
        let removed = self.remove_while(deployment, |header| header.latest < end).await?;
        if removed > 0 {
            // Counted anew with the next line.
            self.kept.remove(&deployment);
        }
        if removed == HEADERS_AT_ONCE {
            return Ok(Some(rest.clone()));
        }
        Ok(Some(rest.after(&rows::header_key(deployment, u64::MAX))))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let left = self.shelves.counters.unwritten_bytes.load(Ordering::Relaxed);
        if left > 0 {
            warn!(bytes = left, "log lines were left unwritten");
        }
    }
}
