//! Answers: one number a step, or none where nothing is known.
//!
//! A [`Grid`] cuts a range into steps. [`series`] puts the points of one series into them, samples or roll-ups of any tier
//! alike; [`Across`] makes one series of those of several instances; [`quantiles`] does both for response times, whose
//! histograms add where percentiles do not. A step without a point is `None`, never zero and never the value before: gaps
//! are shown as gaps.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::error::QueryError;
use crate::limits;
use crate::rollup::{Mergeable as _, Rollup, gained};
use crate::series::Kind;

/// The steps of an answer: `[from + n · step, from + (n + 1) · step)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    from: u64,
    step: u64,
    points: usize,
}

impl Grid {
    /// Covers `from` to `to`, its steps beginning at multiples of `step` so that the same question a second later gives
    /// the same points.
    ///
    /// # Errors
    /// The range is empty or reversed, the step is less than a millisecond, or there are more than [`limits::POINTS`].
    pub fn new(from: UnixMillis, to: UnixMillis, step: Duration) -> Result<Self, QueryError> {
        let step = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        if step == 0 {
            return Err(QueryError::Step);
        }
        if to <= from {
            return Err(QueryError::Range);
        }
        let start = from.as_millis() - from.as_millis() % step;
        let points = (to.as_millis() - start).div_ceil(step);
        match usize::try_from(points) {
            Ok(points) if points <= limits::POINTS => Ok(Self { from: start, step, points }),
            _ => Err(QueryError::TooManyPoints { points }),
        }
    }

    #[must_use]
    pub const fn from(&self) -> UnixMillis {
        UnixMillis::from_millis(self.from)
    }

    /// The end, which no longer belongs to it.
    #[must_use]
    pub const fn to(&self) -> UnixMillis {
        UnixMillis::from_millis(self.from.saturating_add(self.step.saturating_mul(self.points as u64)))
    }

    #[must_use]
    pub const fn step(&self) -> Duration {
        Duration::from_millis(self.step)
    }

    #[must_use]
    pub const fn points(&self) -> usize {
        self.points
    }

    /// Where each step begins.
    pub fn times(&self) -> impl Iterator<Item = UnixMillis> + use<> {
        let Self { from, step, points } = *self;
        (0..points as u64).map(move |at| UnixMillis::from_millis(from.saturating_add(at.saturating_mul(step))))
    }

    /// The step that a time lies in.
    fn place(&self, at: UnixMillis) -> Option<usize> {
        let place = usize::try_from(at.as_millis().checked_sub(self.from)? / self.step).ok()?;
        (place < self.points).then_some(place)
    }
}

/// What is told of the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Sum,
    Last,
    Count,
    /// By how much a counter grew in a second.
    Rate,
}

/// The points of one series, and what they are.
#[derive(Debug, Clone, Copy)]
pub struct Points<I> {
    /// In the order of time. Points before the grid tell a rate where its first step begins.
    pub points: I,
    pub kind: Kind,
    /// From a point to the next: the step of the tier, or the interval of the sampler.
    pub interval: Duration,
}

/// Intervals without a point after which a counter's growth is no longer known: agents retry, and one or two samples get
/// lost in passing.
const BRIDGED: u64 = 5;

/// One series on a grid.
///
/// # Errors
/// A rate of what is no counter.
pub fn series(
    grid: &Grid,
    aggregate: Aggregate,
    points: Points<impl IntoIterator<Item = (UnixMillis, Rollup)>>,
) -> Result<Vec<Option<f64>>, QueryError> {
    if aggregate == Aggregate::Rate {
        if points.kind == Kind::Gauge {
            return Err(QueryError::RateOfGauge);
        }
        return Ok(rates(grid, points));
    }
    let mut steps: Vec<Option<Rollup>> = vec![None; grid.points];
    for (at, point) in points.points {
        if let Some(place) = grid.place(at) {
            match &mut steps[place] {
                Some(open) => open.merge_later(&point),
                empty => *empty = Some(point),
            }
        }
    }
    Ok(steps.into_iter().map(|step| step.map(|rollup| told(aggregate, &rollup))).collect())
}

fn told(aggregate: Aggregate, rollup: &Rollup) -> f64 {
    match aggregate {
        Aggregate::Avg => rollup.mean(),
        Aggregate::Min => rollup.min,
        Aggregate::Max => rollup.max,
        Aggregate::Sum => rollup.sum,
        Aggregate::Last => rollup.last,
        Aggregate::Count => rollup.count as f64,
        Aggregate::Rate => rollup.increase,
    }
}

/// What a step knows of a counter's growth.
#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    gained: f64,
    seconds: f64,
}

/// Growth over the time in which it was watched: from the sample before the step, unless it is too long ago, through the
/// last one in it.
fn rates(grid: &Grid, points: Points<impl IntoIterator<Item = (UnixMillis, Rollup)>>) -> Vec<Option<f64>> {
    let interval = u64::try_from(points.interval.as_millis()).unwrap_or(u64::MAX);
    let bridged = interval.saturating_mul(BRIDGED);
    let mut steps = vec![Growth::default(); grid.points];
    let mut before: Option<(u64, f64)> = None;
    for (at, point) in points.points {
        // The samples of a roll-up are spread over its interval: the last one was taken one sample before its end.
        let inside = interval as f64 * (1.0 - 1.0 / point.count.max(1) as f64) / 1_000.0;
        let (mut gain, mut seconds) = (point.increase, inside);
        if let Some((then, last)) = before
            && at.as_millis().saturating_sub(then) <= bridged
        {
            gain += gained(last, point.first);
            seconds = at.as_millis().saturating_sub(then) as f64 / 1_000.0;
        }
        before = Some((at.as_millis(), point.last));
        if let Some(place) = grid.place(at) {
            steps[place].gained += gain;
            steps[place].seconds += seconds;
        }
    }
    steps.into_iter().map(|step| (step.seconds > 0.0).then(|| step.gained / step.seconds)).collect()
}

/// How the series of several instances become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    Sum,
    Avg,
    Min,
    Max,
}

impl Across {
    /// At each step, of the instances that have a value there; none where none has.
    pub fn combine(self, points: usize, instances: impl IntoIterator<Item = Vec<Option<f64>>>) -> Vec<Option<f64>> {
        let mut steps: Vec<Option<Rollup>> = vec![None; points];
        for instance in instances {
            for (step, value) in steps.iter_mut().zip(instance) {
                let Some(value) = value.and_then(Rollup::of) else { continue };
                match step {
                    Some(open) => open.merge_later(&value),
                    empty => *empty = Some(value),
                }
            }
        }
        let aggregate = match self {
            Self::Sum => Aggregate::Sum,
            Self::Avg => Aggregate::Avg,
            Self::Min => Aggregate::Min,
            Self::Max => Aggregate::Max,
        };
        steps.into_iter().map(|step| step.map(|rollup| told(aggregate, &rollup))).collect()
    }
}

/// A quantile of the response times of each step, of one instance or of all together, in any order.
///
/// # Errors
/// `q` is not between 0 and 1.
pub fn quantiles<'a>(
    grid: &Grid,
    q: f64,
    points: impl IntoIterator<Item = (UnixMillis, &'a LatencyHistogram)>,
) -> Result<Vec<Option<Duration>>, QueryError> {
    if !(0.0..=1.0).contains(&q) {
        return Err(QueryError::Quantile);
    }
    let mut steps = vec![LatencyHistogram::new(); grid.points];
    for (at, histogram) in points {
        if let Some(place) = grid.place(at) {
            steps[place].merge(histogram);
        }
    }
    Ok(steps.into_iter().map(|histogram| histogram.quantile(q)).collect())
}
