//! Counts of which only bounds are known, as a [`LatencyHistogram`].
//!
//! A program's own histogram says "17 answers took between 250 and 500 ms". They are spread evenly over the finer
//! buckets in between, as Prometheus' `histogram_quantile` does when it interpolates. A count is where the running total
//! has become a whole one: so none is lost or made up by rounding, and a few counts have the quantiles that many have.

use outrigger_protocol::histogram::{BUCKETS, LatencyHistogram};

/// Linear buckets below this many microseconds, and that many per power of two above: as in [`LatencyHistogram`].
const SUB: u32 = 8;
/// The last microsecond of the range.
const LAST_US: f64 = u32::MAX as f64;

/// Adds up what is known. All times are in microseconds; what is beyond the range of a histogram counts as its end.
#[derive(Debug, Clone)]
pub struct Spread {
    weights: Box<[f64; BUCKETS]>,
    low: f64,
    high: f64,
    sum: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { weights: Box::new([0.0; BUCKETS]), low: f64::INFINITY, high: 0.0, sum: 0.0 }
    }
}

impl Spread {
    /// `count` durations from `from` to `to`. Until the sum is said, it is what they have at even distances.
    pub fn add(&mut self, from: f64, to: f64, count: f64) {
        if !(count > 0.0 && count.is_finite()) || from.is_nan() || to.is_nan() {
            return;
        }
        let from = from.clamp(0.0, LAST_US);
        let to = to.clamp(from, LAST_US);
        self.low = self.low.min(from);
        self.high = self.high.max(to);
        self.sum += (from + to) / 2.0 * count;
        if to - from < 1.0 {
            self.weights[bucket_of(microsecond(to))] += count;
            return;
        }
        let last = bucket_of(microsecond(to.ceil() - 1.0));
        for bucket in bucket_of(microsecond(from))..=last {
            let (lower, upper) = bounds_of(bucket);
            let share = (upper.min(to) - lower.max(from)) / (to - from);
            self.weights[bucket] += count * share.clamp(0.0, 1.0);
        }
    }

    /// What all the durations add up to.
    pub fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.iter().all(|weight| *weight <= 0.0)
    }

    /// Adds what `other` knows.
    pub fn merge(&mut self, other: &Self) {
        for (weight, more) in self.weights.iter_mut().zip(other.weights.iter()) {
            *weight += more;
        }
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.sum += other.sum;
    }

    /// All of it; a sum that these durations cannot have is brought to the nearest that they can.
    #[must_use]
    pub fn finish(&self) -> LatencyHistogram {
        let total: f64 = self.weights.iter().sum();
        // What adding up fractions may lose.
        let slack = 1e-9 * (1.0 + total);
        let (mut reached, mut told) = (0.0, 0_u64);
        let mut buckets: Vec<(u8, u32)> = Vec::new();
        for (bucket, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            reached += weight;
            let is_all = total - reached <= slack;
            let through = if is_all { whole(total.round()) } else { whole(reached + slack) };
            let count = u32::try_from(through.saturating_sub(told)).unwrap_or(u32::MAX);
            told = told.max(through);
            if let (Ok(bucket), true) = (u8::try_from(bucket), count > 0) {
                buckets.push((bucket, count));
            }
        }
        let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else {
            return LatencyHistogram::new();
        };
        let min_us = within(usize::from(*first), self.low);
        let max_us = within(usize::from(*last), self.high).max(min_us);
        LatencyHistogram::from_parts(&buckets, whole(self.sum.round()), min_us, max_us).unwrap_or_default()
    }
}

/// The nearest microsecond of a bucket.
fn within(bucket: usize, us: f64) -> u32 {
    let (lower, upper) = bounds_of(bucket);
    microsecond(us.clamp(lower, upper - 1.0))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is what is meant")]
const fn microsecond(us: f64) -> u32 {
    us as u32
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is what is meant")]
fn whole(count: f64) -> u64 {
    count as u64
}

const fn bucket_of(us: u32) -> usize {
    if us < SUB {
        return us as usize;
    }
    let shift = us.ilog2() - SUB.ilog2();
    (shift * SUB + (us >> shift)) as usize
}

/// The values of a bucket, the upper bound excluded.
fn bounds_of(bucket: usize) -> (f64, f64) {
    let sub = SUB as usize;
    if bucket < sub {
        return (bucket as f64, bucket as f64 + 1.0);
    }
    let shift = bucket / sub - 1;
    let lower = ((sub + bucket % sub) as u64) << shift;
    (lower as f64, (lower + (1 << shift)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn quantile_ms(histogram: &LatencyHistogram, q: f64) -> f64 {
        histogram.quantile(q).expect("not empty").as_secs_f64() * 1e3
    }

    #[test]
    fn buckets_are_those_of_the_histogram() {
        for bucket in 0..BUCKETS {
            let (lower, upper) = bounds_of(bucket);
            for us in [microsecond(lower), microsecond(upper - 1.0)] {
                let mut histogram = LatencyHistogram::new();
                histogram.record(Duration::from_micros(u64::from(us)));
                let found: Vec<usize> = histogram.buckets().map(|(bucket, _)| usize::from(bucket)).collect();
                assert_eq!(found, [bucket], "{us} us");
                assert_eq!(bucket_of(us), bucket, "{us} us");
            }
        }
    }

    #[test]
    fn quantiles_are_interpolated_within_known_bounds() {
        let mut spread = Spread::default();
        spread.add(0.0, 100_000.0, 500.0);
        spread.add(100_000.0, 250_000.0, 400.0);
        spread.add(250_000.0, 500_000.0, 100.0);
        let histogram = spread.finish();
        assert_eq!(histogram.count(), 1_000);
        // As histogram_quantile has it: 100, 250 - and 375 in the middle of the last bucket.
        for (q, expected) in [(0.5, 100.0), (0.9, 250.0), (0.95, 375.0)] {
            let found = quantile_ms(&histogram, q);
            assert!((found / expected - 1.0).abs() < 0.05, "q {q}: {found} instead of {expected}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(500));
    }

    #[test]
    fn a_few_counts_have_the_quantiles_of_many() {
        for count in [5.0, 50.0, 5e6] {
            let mut spread = Spread::default();
            spread.add(0.0, 100_000.0, count);
            spread.add(100_000.0, 200_000.0, count);
            let found = quantile_ms(&spread.finish(), 0.5);
            assert!((99.9..107.0).contains(&found), "{found} of {count}");
        }
    }

    #[test]
    fn a_point_stays_a_point() {
        let mut spread = Spread::default();
        spread.add(12_345.0, 12_345.0, 7.0);
        let histogram = spread.finish();
        assert_eq!((histogram.count(), quantile_ms(&histogram, 0.99)), (7, 12.345));
        assert_eq!(histogram.sum(), Duration::from_micros(7 * 12_345));
    }

    #[test]
    fn a_known_sum_is_kept_and_an_impossible_one_brought_near() {
        let mut spread = Spread::default();
        spread.add(0.0, 1_000.0, 10.0);
        spread.set_sum(1_500.0);
        assert_eq!(spread.finish().sum(), Duration::from_micros(1_500));
        let mut spread = Spread::default();
        spread.add(900.0, 1_000.0, 10.0);
        spread.set_sum(1e12);
        assert_eq!(spread.finish().sum(), Duration::from_micros(10_000));
    }

    #[test]
    fn nonsense_counts_nothing() {
        let mut spread = Spread::default();
        for (from, to, count) in
            [(f64::NAN, 1.0, 1.0), (0.0, 1.0, f64::NAN), (0.0, 1.0, -5.0), (0.0, 1.0, f64::INFINITY)]
        {
            spread.add(from, to, count);
        }
        assert!(spread.finish().is_empty());
    }

    proptest! {
        #[test]
        fn no_count_is_lost(parts in prop::collection::vec((0.0..5e9_f64, 0.0..5e9_f64, 0_u32..1000), 0..12)) {
            let mut spread = Spread::default();
            for (from, to, count) in &parts {
                spread.add(*from, *to, f64::from(*count));
            }
            let expected: u64 = parts.iter().map(|(_, _, count)| u64::from(*count)).sum();
            prop_assert_eq!(spread.finish().count(), expected);
        }

        #[test]
        fn any_numbers_make_a_histogram(parts in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()), 0..8)) {
            let mut spread = Spread::default();
            for (from, to, count, sum) in parts {
                spread.add(from, to, count);
                spread.set_sum(sum);
            }
            let histogram = spread.finish();
            prop_assert!(histogram.quantile(0.5).is_none_or(|half| half <= histogram.max()));
        }
    }
}
