//! The series of one source over one span of time, in memory.

use std::collections::BTreeMap;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::error::BlockError;
use crate::limits;
use crate::series::{ColumnKey, Field, MetricName, SourceId};

/// Times, and columns of values at these times. A value that is absent is NaN, and every NaN is an absence.
#[derive(Debug, Clone)]
pub struct Block {
    source: SourceId,
    times: Vec<UnixMillis>,
    columns: BTreeMap<ColumnKey, Vec<f64>>,
    latency: Option<Vec<Option<LatencyHistogram>>>,
}

impl Block {
    /// # Errors
    /// No times, more than [`limits::SAMPLES`], or times that do not ascend.
    pub fn new(source: SourceId, times: Vec<UnixMillis>) -> Result<Self, BlockError> {
        if times.is_empty() {
            return Err(BlockError::Empty);
        }
        if times.len() > limits::SAMPLES {
            return Err(BlockError::TooManySamples(times.len()));
        }
        if let Some(at) = times.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(BlockError::Order(at + 1));
        }
        Ok(Self { source, times, columns: BTreeMap::new(), latency: None })
    }

    /// Takes in a column, in place of one of the same name. One without a value is left out.
    ///
    /// # Errors
    /// Not a value for each time, a name that is empty or too long, or too many columns.
    pub fn insert(&mut self, key: ColumnKey, values: Vec<f64>) -> Result<(), BlockError> {
        self.check_length(values.len())?;
        if let MetricName::Custom(name) = &key.metric
            && !(1..=limits::NAME_BYTES).contains(&name.len())
        {
            return Err(BlockError::Name(name.len()));
        }
        if values.iter().all(|value| value.is_nan()) {
            self.columns.remove(&key);
            return Ok(());
        }
        if !self.columns.contains_key(&key) && self.columns.len() >= limits::COLUMNS {
            return Err(BlockError::TooManyColumns);
        }
        self.columns.insert(key, values);
        Ok(())
    }

    /// Takes in the response times.
    ///
    /// # Errors
    /// Not an entry for each time.
    pub fn insert_latency(&mut self, histograms: Vec<Option<LatencyHistogram>>) -> Result<(), BlockError> {
        self.check_length(histograms.len())?;
        self.latency = histograms.iter().any(Option::is_some).then_some(histograms);
        Ok(())
    }

    const fn check_length(&self, values: usize) -> Result<(), BlockError> {
        let samples = self.times.len();
        if values == samples { Ok(()) } else { Err(BlockError::Length { values, samples }) }
    }

    /// Adds what came later. Columns that only one of both has are absent in the other's time.
    ///
    /// # Errors
    /// Another source, times that do not follow, or more samples or columns than a block may have.
    pub fn append(&mut self, later: Self) -> Result<(), BlockError> {
        if later.source != self.source {
            return Err(BlockError::Source);
        }
        let (before, after) = (self.times.len(), later.times.len());
        if self.times.last() >= later.times.first() {
            return Err(BlockError::Order(before));
        }
        if before + after > limits::SAMPLES {
            return Err(BlockError::TooManySamples(before + after));
        }
        let new = later.columns.keys().filter(|key| !self.columns.contains_key(key)).count();
        if self.columns.len() + new > limits::COLUMNS {
            return Err(BlockError::TooManyColumns);
        }
        self.times.extend(later.times);
        for (key, values) in later.columns {
            self.columns.entry(key).or_insert_with(|| vec![f64::NAN; before]).extend(values);
        }
        for values in self.columns.values_mut() {
            values.resize(before + after, f64::NAN);
        }
        if self.latency.is_some() || later.latency.is_some() {
            let latency = self.latency.get_or_insert_with(|| vec![None; before]);
            latency.extend(later.latency.unwrap_or_default());
            latency.resize(before + after, None);
        }
        Ok(())
    }

    /// Some of its samples, by their places, which ascend; none when there are none.
    pub(crate) fn only(&self, rows: &[usize]) -> Option<Self> {
        let mut block =
            Self::new(self.source, rows.iter().filter_map(|row| self.times.get(*row)).copied().collect()).ok()?;
        for (key, values) in &self.columns {
            block.insert(key.clone(), rows.iter().filter_map(|row| values.get(*row)).copied().collect()).ok()?;
        }
        if let Some(latency) = &self.latency {
            block.insert_latency(rows.iter().filter_map(|row| latency.get(*row)).cloned().collect()).ok()?;
        }
        Some(block)
    }

    #[must_use]
    pub const fn source(&self) -> SourceId {
        self.source
    }

    #[must_use]
    pub fn times(&self) -> &[UnixMillis] {
        &self.times
    }

    pub fn columns(&self) -> impl Iterator<Item = (&ColumnKey, &[f64])> {
        self.columns.iter().map(|(key, values)| (key, values.as_slice()))
    }

    #[must_use]
    pub fn column(&self, key: &ColumnKey) -> Option<&[f64]> {
        self.columns.get(key).map(Vec::as_slice)
    }

    #[must_use]
    pub fn latency(&self) -> Option<&[Option<LatencyHistogram>]> {
        self.latency.as_deref()
    }

    /// The values of a metric as they were sampled, with their times, those that are absent left out.
    pub fn samples(&self, metric: &MetricName) -> impl Iterator<Item = (UnixMillis, f64)> {
        let values = self.column(&ColumnKey::new(metric.clone(), Field::Value)).unwrap_or_default();
        self.times.iter().copied().zip(values.iter().copied()).filter(|(_, value)| !value.is_nan())
    }
}

/// Every NaN is the same absence; other values are the same when their bits are.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &f64, b: &f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let column = |(a, b): (&Vec<f64>, &Vec<f64>)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b));
        self.source == other.source
            && self.times == other.times
            && self.latency == other.latency
            && self.columns.keys().eq(other.columns.keys())
            && self.columns.values().zip(other.columns.values()).all(column)
    }
}
