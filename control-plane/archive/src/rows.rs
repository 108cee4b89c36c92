//! Rows in the store: read by source, written in groups, erased.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use outrigger_history::{Block, ColumnKey, MetricName, PackedRow, Row, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Key, KeyRange, Op, RangeOptions, SharedStore, StoreError, Transaction};

use crate::error::ArchiveError;
use crate::keys::{self, Period, RowKey};
use crate::stats::{Count, Stats};

/// Rows that are read at once.
const PAGE_ROWS: usize = 32;
/// Rows of a period up to which all of them are read instead of single ones being looked for.
const LOADED_ROWS: usize = 256;
/// Bytes and operations of a transaction after which the next one begins.
const GROUP_BYTES: usize = 2 << 20;
const GROUP_OPS: usize = 2_000;

/// A row as it stands in the store.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) key: RowKey,
    pub(crate) bytes: Bytes,
}

/// The store, and what is counted of it.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) store: SharedStore,
    pub(crate) stats: Arc<Stats>,
}

impl Rows {
    async fn page(&self, range: KeyRange, limit: usize) -> Result<(Vec<Stored>, Option<Key>), ArchiveError> {
        let page = self.store.range(range, RangeOptions::default().limit(limit)).await;
        let page = page.map_err(ArchiveError::store("read"))?;
        let last = page.entries.last().filter(|_| page.more).map(|entry| entry.key.clone());
        let mut rows = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            match keys::read_row(&entry.key) {
                Ok(key) => rows.push(Stored { key, bytes: entry.value }),
                Err(_) => self.stats.add(Count::Damaged, 1),
            }
        }
        Ok((rows, last))
    }

    /// Gives the rows of a range to `each`.
    pub(crate) async fn each(&self, range: KeyRange, mut each: impl FnMut(&Stored)) -> Result<(), ArchiveError> {
        let mut rest = range;
        loop {
            let (rows, last) = self.page(rest.clone(), PAGE_ROWS).await?;
            rows.iter().for_each(&mut each);
            match last {
                Some(last) => rest = rest.after(&last),
                None => return Ok(()),
            }
        }
    }

    /// The rows that have a source, of the periods that begin in `from..to`, in the order in which they count. `place`
    /// says of which deployment, scope and tier.
    pub(crate) async fn of_source(
        &self,
        place: &Period,
        from: u64,
        to: u64,
        source: SourceId,
    ) -> Result<Vec<Stored>, ArchiveError> {
        let whole = keys::rows_between(place, from, to);
        let mut found = Vec::new();
        let mut range = whole.clone();
        while !range.is_empty() {
            let (rows, last) = self.page(range, PAGE_ROWS).await?;
            let newest = rows.last().map(|row| row.key);
            found.extend(rows.into_iter().filter(|row| has(&row.key, source, source)));
            let Some(last) = last else { break };
            let after = whole.after(&last);
            // Where many sources share a sequence, what lies between is passed over.
            let next = newest.map(|key| {
                let period = Period { start: key.start, ..*place };
                match key {
                    RowKey { last, .. } if last < source => keys::sequence_from(&period, key.sequence, source),
                    RowKey { first, .. } if first > source => keys::after_sequence(&period, key.sequence),
                    _ => after.clone(),
                }
            });
            let start = next.map_or(after.start().clone(), |next| next.start().clone().max(after.start().clone()));
            let Some(end) = whole.end() else { break };
            range = KeyRange::between(start, end.clone());
        }
        Ok(found)
    }

    /// The rows of one period, to be read source by source.
    pub(crate) async fn of_period(&self, period: Period) -> Result<PeriodRows, ArchiveError> {
        let (rows, last) = self.page(keys::rows_in(&period), LOADED_ROWS).await?;
        let pieces = match last {
            None => Pieces::Loaded(rows),
            Some(_) => Pieces::Listed(self.sequences(&period).await?),
        };
        Ok(PeriodRows { rows: self.clone(), period, pieces })
    }

    async fn sequences(&self, period: &Period) -> Result<Vec<u64>, ArchiveError> {
        let (mut sequences, mut range) = (Vec::new(), keys::rows_in(period));
        while let (rows, _) = self.page(range, 1).await?
            && let Some(row) = rows.first()
        {
            sequences.push(row.key.sequence);
            range = keys::after_sequence(period, row.key.sequence);
        }
        Ok(sequences)
    }

    /// A row with its key, counted.
    pub(crate) fn keyed(&self, period: &Period, sequence: u64, part: u64, row: PackedRow) -> (RowKey, Bytes) {
        let (last, first) = (row.last_source, row.first_source);
        self.stats.add(Count::Rows, 1);
        self.stats.add(Count::RowBytes, row.bytes.len() as u64);
        (RowKey { start: period.start, sequence, last, part, first }, Bytes::from(row.bytes))
    }

    /// Whether there is any key in a range.
    pub(crate) async fn is_there(&self, range: KeyRange) -> Result<bool, ArchiveError> {
        let page = self.store.range(range, RangeOptions::default().limit(1)).await;
        Ok(!page.map_err(ArchiveError::store("read"))?.entries.is_empty())
    }

    /// Deletes all keys of a range, some at a time.
    pub(crate) async fn erase(&self, range: KeyRange) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Store { action: "erase from", source };
        match self.store.commit(Transaction::new().delete_range(range.clone())).await {
            Ok(_) => return Ok(()),
            Err(StoreError::TooLarge { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        loop {
            let page = self.store.range(range.clone(), RangeOptions::default().limit(1_000)).await.map_err(failed)?;
            let Some(last) = page.entries.last() else { return Ok(()) };
            let rest = range.after(&last.key);
            let part = KeyRange::between(range.start().clone(), rest.start().clone());
            self.store.commit(Transaction::new().delete_range(part)).await.map_err(failed)?;
        }
    }
}

const fn source_bytes(source: SourceId) -> u128 {
    u128::from_be_bytes(source.to_bytes())
}

fn has(key: &RowKey, from: SourceId, to: SourceId) -> bool {
    key.last >= from && key.first <= to
}

/// The source behind another; none behind the last of all.
pub(crate) fn next_source(source: SourceId) -> Option<SourceId> {
    Some(SourceId::from_bytes(source_bytes(source).checked_add(1)?.to_be_bytes()))
}

#[derive(Debug)]
enum Pieces {
    /// All rows.
    Loaded(Vec<Stored>),
    /// The sequences; their rows are read when they are wanted.
    Listed(Vec<u64>),
}

/// The rows of one period.
#[derive(Debug)]
pub(crate) struct PeriodRows {
    rows: Rows,
    period: Period,
    pieces: Pieces,
}

/// Some sources that follow each other.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sources: Vec<SourceId>,
    /// All rows that have something of them, in the order in which they count.
    pub(crate) rows: Vec<Stored>,
    /// Where the next batch begins.
    pub(crate) next: Option<SourceId>,
}

impl PeriodRows {
    /// Whether all rows were read at one moment.
    pub(crate) const fn is_complete(&self) -> bool {
        matches!(self.pieces, Pieces::Loaded(_))
    }

    pub(crate) fn sequences(&self) -> Vec<u64> {
        match &self.pieces {
            Pieces::Listed(sequences) => sequences.clone(),
            Pieces::Loaded(rows) => {
                let mut sequences: Vec<u64> = rows.iter().map(|row| row.key.sequence).collect();
                sequences.dedup();
                sequences
            }
        }
    }

    /// Up to `most` sources from `from` on; none when there are no more.
    pub(crate) async fn batch(&self, from: SourceId, most: usize) -> Result<Option<Batch>, ArchiveError> {
        let firsts = self.firsts(from).await?;
        // Up to here, these rows name every source that there is.
        let Some(covered) = firsts.iter().map(|row| row.key.last).min() else { return Ok(None) };
        let mut sources = BTreeSet::new();
        for row in &firsts {
            match Row::parse(&row.bytes) {
                Ok(row) => sources.extend(row.blocks().iter().map(outrigger_history::BlockView::source)),
                Err(_) => self.rows.stats.add(Count::Damaged, 1),
            }
        }
        let sources: Vec<SourceId> =
            sources.into_iter().filter(|source| (from..=covered).contains(source)).take(most.max(1)).collect();
        let through = if sources.len() < most.max(1) { covered } else { sources.last().copied().unwrap_or(covered) };
        let rows = self.rows_of(from, through).await?;
        Ok(Some(Batch { sources, rows, next: next_source(through) }))
    }

    /// The first row of each sequence that ends with `from` or a later source.
    async fn firsts(&self, from: SourceId) -> Result<Vec<Stored>, ArchiveError> {
        let mut firsts: Vec<Stored> = Vec::new();
        match &self.pieces {
            Pieces::Loaded(rows) => {
                for row in rows.iter().filter(|row| row.key.last >= from) {
                    if firsts.last().is_none_or(|last| last.key.sequence != row.key.sequence) {
                        firsts.push(row.clone());
                    }
                }
            }
            Pieces::Listed(sequences) => {
                for sequence in sequences {
                    let range = keys::sequence_from(&self.period, *sequence, from);
                    firsts.extend(self.rows.page(range, 1).await?.0);
                }
            }
        }
        Ok(firsts)
    }

    async fn rows_of(&self, from: SourceId, to: SourceId) -> Result<Vec<Stored>, ArchiveError> {
        let sequences = match &self.pieces {
            Pieces::Loaded(rows) => return Ok(rows.iter().filter(|row| has(&row.key, from, to)).cloned().collect()),
            Pieces::Listed(sequences) => sequences,
        };
        let mut found = Vec::new();
        for sequence in sequences {
            let mut range = keys::sequence_from(&self.period, *sequence, from);
            loop {
                let (rows, last) = self.rows.page(range.clone(), 4).await?;
                let passed = rows.last().is_none_or(|row| row.key.first > to);
                found.extend(rows.into_iter().filter(|row| has(&row.key, from, to)));
                match last {
                    Some(last) if !passed => range = range.after(&last),
                    _ => break,
                }
            }
        }
        Ok(found)
    }
}

/// Everything that rows have of one source, as one block; values of later rows count. None when it is nothing.
pub(crate) fn joined(rows: &[Row<'_>], source: SourceId, damaged: &mut u64) -> Option<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for view in rows.iter().filter_map(|row| row.block(source)) {
        match view.decode() {
            Ok(block) => blocks.push(block),
            Err(_) => *damaged += 1,
        }
    }
    if blocks.len() < 2 {
        return blocks.pop();
    }
    let times: BTreeSet<UnixMillis> = blocks.iter().flat_map(|block| block.times().iter().copied()).collect();
    let times: Vec<UnixMillis> = times.into_iter().collect();
    let samples = times.len();
    let mut columns: BTreeMap<ColumnKey, Vec<f64>> = BTreeMap::new();
    let mut latency: Vec<Option<LatencyHistogram>> = vec![None; samples];
    for block in &blocks {
        // Both ascend, so that each place is found from the one before.
        let mut place = 0;
        let places: Vec<usize> = block
            .times()
            .iter()
            .map(|at| {
                while times[place] < *at {
                    place += 1;
                }
                place
            })
            .collect();
        for (key, values) in block.columns() {
            let column = columns.entry(key.clone()).or_insert_with(|| vec![f64::NAN; samples]);
            for (place, value) in places.iter().zip(values).filter(|(_, value)| !value.is_nan()) {
                column[*place] = *value;
            }
        }
        for (place, histogram) in places.iter().zip(block.latency().unwrap_or_default()) {
            if histogram.is_some() {
                latency[*place].clone_from(histogram);
            }
        }
    }
    let mut whole = Block::new(source, times).ok()?;
    for (key, values) in columns {
        *damaged += u64::from(whole.insert(key, values).is_err());
    }
    whole.insert_latency(latency).ok()?;
    Some(whole)
}

/// The names of all metrics in rows.
pub(crate) fn metrics_in(row: &Row<'_>, into: &mut BTreeSet<MetricName>) {
    let columns = row.blocks().iter().flat_map(outrigger_history::BlockView::columns);
    into.extend(columns.map(|(key, _)| key.metric.clone()));
}

/// Operations on their way into the store, several to a transaction.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    rows: &'a Rows,
    transaction: Transaction,
    bytes: usize,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(rows: &'a Rows) -> Self {
        Self { rows, transaction: Transaction::new(), bytes: 0 }
    }

    /// Adds an operation; writes what is waiting when it is enough.
    pub(crate) async fn push(&mut self, op: Op) -> Result<(), ArchiveError> {
        if let Op::Put(key, value) = &op {
            self.bytes += key.len() + value.len();
        }
        self.transaction = std::mem::take(&mut self.transaction).op(op);
        if self.bytes >= GROUP_BYTES || self.transaction.ops().len() >= GROUP_OPS {
            self.flush().await?;
        }
        Ok(())
    }

    /// Adds the rows of one period and sequence, `part` being how many it has already.
    pub(crate) async fn rows(
        &mut self,
        period: &Period,
        sequence: u64,
        part: &mut u64,
        rows: Vec<PackedRow>,
    ) -> Result<(), ArchiveError> {
        for row in rows {
            let (key, bytes) = self.rows.keyed(period, sequence, *part, row);
            *part += 1;
            self.push(Op::Put(keys::row(period, &key), bytes)).await?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.transaction.ops().is_empty()
    }

    pub(crate) async fn flush(&mut self) -> Result<(), ArchiveError> {
        self.bytes = 0;
        let transaction = std::mem::take(&mut self.transaction);
        if transaction.ops().is_empty() {
            return Ok(());
        }
        let written = self.rows.store.commit(transaction).await;
        if written.is_err() {
            self.rows.stats.add(Count::Failures, 1);
        }
        written.map(drop).map_err(ArchiveError::store("write"))
    }
}
