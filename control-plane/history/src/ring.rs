//! The newest samples of one source at full resolution, in memory.
//!
//! The newest of all are kept as they are, in the order of their times, and late ones are sorted in among them. Older ones
//! are sealed: compressed as the rows on disk are, a few bytes a minute for a series that does not change. Both are
//! bounded, and the oldest sealed samples make room: what is to last has to be cut before. Times are taken as they come;
//! to hold them against a clock is the caller's.
//!
//! ```text
//!   push ─▶ [ open: late samples find their place ] ─▶ [ sealed ][ sealed ][ sealed ] ─▶ forgotten
//!              │ unsaved(): for the journal              │ sealed_between(): chunks are cut here
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::block::Block;
use crate::error::DecodeError;
use crate::limits;
use crate::pack;
use crate::row::Row;
use crate::series::{ColumnKey, Field, MetricName, SourceId};

/// Samples that are open, and metrics, at most: what is sealed then stays within a row, however busy.
const MOST: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingConfig {
    /// Samples that are kept open: a sample that is older than all of them is too late. At least two. When there are
    /// more, the older half is sealed.
    pub open: usize,
    /// How long sealed samples are kept, and in how many bytes at most.
    pub span: Duration,
    pub sealed_bytes: usize,
    /// Metrics; further ones are left out.
    pub metrics: usize,
}

impl Default for RingConfig {
    /// Half a minute for late samples, and an hour behind it, or as much of it as a busy source has in 32 KiB: about
    /// twenty minutes of a dozen metrics. An idle source takes a few KiB.
    fn default() -> Self {
        Self { open: 64, span: Duration::from_secs(3_600), sealed_bytes: 32 << 10, metrics: 64 }
    }
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Stored,
    /// There is one of the same time, which stays.
    Duplicate,
    /// Older than what is still open.
    TooLate,
    /// Nothing in it.
    Empty,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ring {
    source: SourceId,
    config: RingConfig,
    open: Open,
    sealed: VecDeque<Sealed>,
    sealed_bytes: usize,
    /// The newest time that is sealed.
    sealed_until: Option<UnixMillis>,
    left_out: u64,
}

/// Samples by column; every column has a value, or its absence, for every time.
#[derive(Debug, Default)]
struct Open {
    times: Vec<UnixMillis>,
    saved: Vec<bool>,
    columns: BTreeMap<MetricName, Vec<f64>>,
    latency: Vec<Option<LatencyHistogram>>,
}

#[derive(Debug)]
struct Sealed {
    from: UnixMillis,
    to: UnixMillis,
    /// Which of its samples no journal has.
    unsaved: Vec<usize>,
    row: Vec<u8>,
}

impl Ring {
    #[must_use]
    pub fn new(source: SourceId, config: RingConfig) -> Self {
        let config = RingConfig { open: config.open.clamp(2, MOST), metrics: config.metrics.min(MOST), ..config };
        Self {
            source,
            config,
            open: Open::default(),
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            sealed_until: None,
            left_out: 0,
        }
    }

    /// Takes in one sample. Values that are NaN are absent; a name that is too long, or a metric above the limit, is left
    /// out and counted.
    pub fn push(&mut self, at: UnixMillis, values: &[(MetricName, f64)], latency: Option<&LatencyHistogram>) -> Pushed {
        self.place(at, values, latency, false)
    }

    /// Takes in again what was saved before a restart; what is there already stays.
    pub fn restore(&mut self, block: &Block) {
        let columns: Vec<_> = block.columns().filter(|(key, _)| key.field == Field::Value).collect();
        for (row, at) in block.times().iter().enumerate() {
            let values: Vec<_> = columns.iter().map(|(key, values)| (key.metric.clone(), values[row])).collect();
            let latency = block.latency().and_then(|latency| latency[row].as_ref());
            self.place(*at, &values, latency, true);
        }
    }

    fn place(
        &mut self,
        at: UnixMillis,
        values: &[(MetricName, f64)],
        latency: Option<&LatencyHistogram>,
        saved: bool,
    ) -> Pushed {
        if self.sealed_until.is_some_and(|until| at <= until) {
            return Pushed::TooLate;
        }
        let Err(row) = self.open.times.binary_search(&at) else { return Pushed::Duplicate };
        if latency.is_none() && values.iter().all(|(_, value)| value.is_nan()) {
            return Pushed::Empty;
        }
        self.open.insert_row(row, at, latency.cloned(), saved);
        for (metric, value) in values.iter().filter(|(_, value)| !value.is_nan()) {
            if !self.open.set(row, metric, *value, self.config.metrics) {
                self.left_out = self.left_out.saturating_add(1);
            }
        }
        if self.open.times.len() > self.config.open {
            self.seal(self.config.open / 2);
        }
        Pushed::Stored
    }

    /// Values that were left out because there were too many metrics, or their names too long.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The bytes of what is sealed.
    #[must_use]
    pub const fn sealed_bytes(&self) -> usize {
        self.sealed_bytes
    }

    /// The newest time that no late sample can come before any more.
    #[must_use]
    pub const fn sealed_until(&self) -> Option<UnixMillis> {
        self.sealed_until
    }

    /// Waits for no late sample any more, when the source has ended.
    pub fn seal_all(&mut self) {
        self.seal(self.open.times.len());
    }

    fn seal(&mut self, samples: usize) {
        let Some((block, unsaved)) = self.open.take(self.source, samples) else { return };
        let (from, to) = (block.times()[0], block.times()[block.times().len() - 1]);
        self.sealed_until = Some(to);
        let row = pack::single(&block);
        self.sealed_bytes += row.len();
        self.sealed.push_back(Sealed { from, to, unsaved, row });
        let horizon = to.saturating_sub(self.config.span);
        while let Some(oldest) = self.sealed.front()
            && (self.sealed_bytes > self.config.sealed_bytes || oldest.to < horizon)
        {
            self.sealed_bytes -= oldest.row.len();
            self.sealed.pop_front();
        }
    }

    /// The samples that no call returned before, for a journal that outlives this process. Call it before a ring's
    /// worth of them has come in, or the oldest are gone.
    ///
    /// # Errors
    /// None but a fault of memory: the rows are this ring's own.
    pub fn unsaved(&mut self) -> Result<Vec<Block>, DecodeError> {
        let mut blocks = Vec::new();
        for sealed in self.sealed.iter_mut().filter(|sealed| !sealed.unsaved.is_empty()) {
            let whole = block_of(self.source, &sealed.row)?;
            blocks.extend(whole.and_then(|whole| whole.only(&std::mem::take(&mut sealed.unsaved))));
        }
        blocks.extend(self.open.copy(self.source, |row, open| !open.saved[row]));
        self.open.saved.fill(true);
        Ok(blocks)
    }

    /// What is sealed between two times, the first excluded, the second included, as one block: a chunk of history. Only
    /// whole sealed pieces are cut, so that the next cut goes on where this one ended.
    ///
    /// # Errors
    /// None but a fault of memory: the rows are this ring's own.
    pub fn sealed_between(&self, after: Option<UnixMillis>, until: UnixMillis) -> Result<Vec<Block>, DecodeError> {
        let mut blocks: Vec<Block> = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| after.is_none_or(|after| sealed.from > after)) {
            if sealed.to > until {
                break;
            }
            let Some(block) = block_of(self.source, &sealed.row)? else { continue };
            // What is too much for one block begins another.
            match blocks.last_mut() {
                Some(last) if last.times().len() + block.times().len() <= limits::SAMPLES => {
                    last.append(block).map_err(|_| DecodeError::Malformed("sealed out of order"))?;
                }
                _ => blocks.push(block),
            }
        }
        Ok(blocks)
    }

    /// The values of a metric from `from` up to `to`, the latter excluded, in the order of time.
    ///
    /// # Errors
    /// None but a fault of memory: the rows are this ring's own.
    pub fn samples(
        &self,
        metric: &MetricName,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<(UnixMillis, f64)>, DecodeError> {
        let key = ColumnKey::new(metric.clone(), Field::Value);
        let mut samples = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.from < to && sealed.to >= from) {
            let row = Row::parse(&sealed.row)?;
            let Some(block) = row.block(self.source) else { continue };
            if let Some(values) = block.column(&key)? {
                samples.extend(block.times()?.into_iter().zip(values));
            }
        }
        if let Some(values) = self.open.columns.get(metric) {
            samples.extend(self.open.times.iter().copied().zip(values.iter().copied()));
        }
        samples.retain(|(at, value)| (from..to).contains(at) && !value.is_nan());
        Ok(samples)
    }

    /// The response times from `from` up to `to`, the latter excluded, in the order of time.
    ///
    /// # Errors
    /// None but a fault of memory: the rows are this ring's own.
    pub fn latency(
        &self,
        from: UnixMillis,
        to: UnixMillis,
    ) -> Result<Vec<(UnixMillis, LatencyHistogram)>, DecodeError> {
        let mut found = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.from < to && sealed.to >= from) {
            let row = Row::parse(&sealed.row)?;
            let Some(block) = row.block(self.source) else { continue };
            let histograms = block.latency()?.unwrap_or_default();
            found.extend(block.times()?.into_iter().zip(histograms));
        }
        found.extend(self.open.times.iter().copied().zip(self.open.latency.iter().cloned()));
        let inside = found.into_iter().filter(|(at, _)| (from..to).contains(at));
        Ok(inside.filter_map(|(at, histogram)| Some((at, histogram?))).collect())
    }
}

fn block_of(source: SourceId, row: &[u8]) -> Result<Option<Block>, DecodeError> {
    Row::parse(row)?.block(source).map(crate::row::BlockView::decode).transpose()
}

impl Open {
    fn insert_row(&mut self, row: usize, at: UnixMillis, latency: Option<LatencyHistogram>, saved: bool) {
        self.times.insert(row, at);
        self.saved.insert(row, saved);
        self.latency.insert(row, latency);
        for values in self.columns.values_mut() {
            values.insert(row, f64::NAN);
        }
    }

    /// Whether there was room for the metric.
    fn set(&mut self, row: usize, metric: &MetricName, value: f64, most: usize) -> bool {
        let named = match metric {
            MetricName::Known(_) => true,
            MetricName::Custom(name) => (1..=limits::NAME_BYTES).contains(&name.len()),
        };
        if let Some(values) = self.columns.get_mut(metric) {
            values[row] = value;
            return true;
        }
        if !named || self.columns.len() >= most {
            return false;
        }
        let mut values = vec![f64::NAN; self.times.len()];
        values[row] = value;
        self.columns.insert(metric.clone(), values);
        true
    }

    /// The samples that are wanted; none when there are none.
    fn copy(&self, source: SourceId, wanted: impl Fn(usize, &Self) -> bool) -> Option<Block> {
        let rows: Vec<usize> = (0..self.times.len()).filter(|row| wanted(*row, self)).collect();
        let mut block = Block::new(source, rows.iter().map(|row| self.times[*row]).collect()).ok()?;
        for (metric, values) in &self.columns {
            let values = rows.iter().map(|row| values[*row]).collect();
            // Names and lengths were held against the limits of a block when they came in.
            block.insert(ColumnKey::new(metric.clone(), Field::Value), values).ok()?;
        }
        block.insert_latency(rows.iter().map(|row| self.latency[*row].clone()).collect()).ok()?;
        Some(block)
    }

    /// Takes out the oldest samples, and tells which of them are not saved.
    fn take(&mut self, source: SourceId, samples: usize) -> Option<(Block, Vec<usize>)> {
        let block = self.copy(source, |row, _| row < samples)?;
        self.times.drain(..samples);
        self.latency.drain(..samples);
        let saved = self.saved.drain(..samples).enumerate();
        let unsaved = saved.filter(|(_, saved)| !saved).map(|(row, _)| row).collect();
        for values in self.columns.values_mut() {
            values.drain(..samples);
        }
        // Metrics that went silent make room for others.
        self.columns.retain(|_, values| values.iter().any(|value| !value.is_nan()));
        Some((block, unsaved))
    }
}
