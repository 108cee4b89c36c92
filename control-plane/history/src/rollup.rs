//! Many samples as one: what coarser tiers keep.
//!
//! A [`Rollup`] of samples and the roll-up of their roll-ups are the same, up to the rounding of the sum, as long as
//! everything is merged in the order of time. The same holds for histograms, which only add.
//!
//! A [`Cascade`] turns samples, one by one, into the roll-ups of every coarser tier. It takes a time only once: what is
//! not after the newest one that it has seen changes nothing, so a replay of the same samples does not count twice. Late
//! samples are sorted in before, by the [`Ring`](crate::ring::Ring), which hands on what is no longer waited for.

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::block::Block;
use crate::error::BlockError;
use crate::series::{ColumnKey, Field, Kind, MetricName};

/// What is known of samples that lie next to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub count: u64,
    pub first: f64,
    pub last: f64,
    /// By how much a counter grew from the first sample to the last; what it lost when it began again is not taken off.
    pub increase: f64,
}

/// Something of which the earlier and the later make one.
pub trait Mergeable: Clone {
    /// Adds what came later.
    fn merge_later(&mut self, later: &Self);
}

impl Rollup {
    /// Of one sample; none when it is absent.
    #[must_use]
    pub fn of(value: f64) -> Option<Self> {
        let present = !value.is_nan();
        present.then_some(Self {
            min: value,
            max: value,
            sum: value,
            count: 1,
            first: value,
            last: value,
            increase: 0.0,
        })
    }

    /// The mean of the samples.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The fields in the order of the columns, and back. A roll-up of a gauge does not keep its first value.
    #[allow(clippy::cast_possible_truncation, reason = "checked to be a count")]
    pub(crate) fn from_columns(columns: [f64; 7], kind: Kind) -> Option<Self> {
        let [min, max, sum, last, count, first, increase] = columns;
        let counted = (1.0..=9_007_199_254_740_992.0).contains(&count) && count.fract() == 0.0;
        if !counted || min.is_nan() || max.is_nan() || sum.is_nan() || last.is_nan() {
            return None;
        }
        let count = count as u64;
        match kind {
            Kind::Gauge => Some(Self { min, max, sum, count, first: last, last, increase: 0.0 }),
            Kind::Counter if first.is_nan() || increase.is_nan() => None,
            Kind::Counter => Some(Self { min, max, sum, count, first, last, increase }),
        }
    }

    fn field(&self, field: Field) -> f64 {
        match field {
            Field::Min => self.min,
            Field::Max => self.max,
            Field::Sum => self.sum,
            Field::Last | Field::Value => self.last,
            Field::Count => self.count as f64,
            Field::First => self.first,
            Field::Increase => self.increase,
        }
    }
}

/// What a counter gained between two samples: less than before means that it began again at zero.
#[must_use]
pub fn gained(before: f64, after: f64) -> f64 {
    if after >= before { after - before } else { after }
}

impl Mergeable for Rollup {
    fn merge_later(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.count = self.count.saturating_add(later.count);
        self.increase += gained(self.last, later.first) + later.increase;
        self.last = later.last;
    }
}

impl Mergeable for LatencyHistogram {
    fn merge_later(&mut self, later: &Self) {
        self.merge(later);
    }
}

/// Puts the roll-ups of a metric into the columns of a block, one for each of its times.
///
/// # Errors
/// As [`Block::insert`].
pub fn insert(
    block: &mut Block,
    metric: &MetricName,
    kind: Kind,
    rollups: &[Option<Rollup>],
) -> Result<(), BlockError> {
    const OF_COUNTERS: [Field; 2] = [Field::First, Field::Increase];
    let fields = Field::ALL.into_iter().filter(|field| *field != Field::Value);
    for field in fields.filter(|field| kind == Kind::Counter || !OF_COUNTERS.contains(field)) {
        let values = rollups.iter().map(|rollup| rollup.map_or(f64::NAN, |rollup| rollup.field(field)));
        block.insert(ColumnKey::new(metric.clone(), field), values.collect())?;
    }
    Ok(())
}

/// A roll-up of one tier that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed<V> {
    /// The index of the step that the cascade was given.
    pub tier: usize,
    /// Where its span begins: a multiple of the step.
    pub start: UnixMillis,
    pub value: V,
}

/// The roll-ups of one series that are still open, for every tier; see the [module](self).
#[derive(Debug, Clone)]
pub struct Cascade<V> {
    tiers: Vec<Open<V>>,
    newest: Option<UnixMillis>,
}

#[derive(Debug, Clone)]
struct Open<V> {
    step: u64,
    span: Option<(u64, V)>,
}

impl<V: Mergeable> Cascade<V> {
    /// `steps` in milliseconds, each a multiple of the one before, as [`Tiers`](crate::tier::Tiers) has them.
    pub fn new(steps: impl IntoIterator<Item = u64>) -> Self {
        let tiers = steps.into_iter().map(|step| Open { step: step.max(1), span: None }).collect();
        Self { tiers, newest: None }
    }

    /// The newest time that was taken in.
    #[must_use]
    pub const fn newest(&self) -> Option<UnixMillis> {
        self.newest
    }

    /// Takes in one sample and tells, by `closed`, the spans that ended before it. False when its time is not after the
    /// newest, and nothing has changed.
    pub fn push(&mut self, at: UnixMillis, value: &V, closed: &mut impl FnMut(Closed<V>)) -> bool {
        if self.newest.is_some_and(|newest| at <= newest) {
            return false;
        }
        self.newest = Some(at);
        self.close_before(at.as_millis(), closed);
        if let Some(finest) = self.tiers.first_mut() {
            finest.absorb(at.as_millis(), value);
        }
        true
    }

    /// Closes all spans that are open, when the source has ended. Samples that come after all begin new ones, which are
    /// to be merged when they are read.
    pub fn finish(&mut self, closed: &mut impl FnMut(Closed<V>)) {
        self.close_before(u64::MAX, closed);
    }

    fn close_before(&mut self, at: u64, closed: &mut impl FnMut(Closed<V>)) {
        // The finer first: what it closes belongs into the coarser before that closes as well.
        for tier in 0..self.tiers.len() {
            let Some((start, value)) = self.tiers[tier].take_before(at) else { continue };
            if let Some(coarser) = self.tiers.get_mut(tier + 1) {
                coarser.absorb(start, &value);
            }
            closed(Closed { tier, start: UnixMillis::from_millis(start), value });
        }
    }
}

impl<V: Mergeable> Open<V> {
    /// The open span, if it ends at or before `at`.
    fn take_before(&mut self, at: u64) -> Option<(u64, V)> {
        let ended = self.span.as_ref().is_some_and(|(start, _)| start.saturating_add(self.step) <= at);
        if ended { self.span.take() } else { None }
    }

    fn absorb(&mut self, at: u64, value: &V) {
        match &mut self.span {
            Some((_, open)) => open.merge_later(value),
            None => self.span = Some((at - at % self.step, value.clone())),
        }
    }
}
