//! Response times as counts in fixed buckets: what is shipped and merged instead of percentiles.
//!
//! Buckets are log-linear: below 8 us one per microsecond, above it eight per power of two, so a bucket is at most
//! 12.5 % wide (the resolution of native histograms, schema 3). Quantiles are interpolated inside a bucket and
//! clamped to the exact minimum and maximum: within about 2 % on smooth data, exact on constant data.
//!
//! Only the powers of two between the smallest and the largest value seen are stored: about 200 bytes for traffic
//! from 1 ms to 100 ms, 960 at the most.

use std::time::Duration;

const SUB_BITS: u32 = 3;
/// Sub-buckets of a power of two.
const SUB: usize = 1 << SUB_BITS;
/// All buckets of the range 0 to 2^32 us (71 minutes). What is slower counts as the last microsecond.
pub const BUCKETS: usize = SUB * (u32::BITS - SUB_BITS + 1) as usize;

/// A histogram of durations. Every count saturates; none of the operations can fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Counts from bucket `first` on; whole powers of two, as few as hold the values.
    counts: Vec<u32>,
    /// A multiple of [`SUB`].
    first: usize,
    count: u64,
    sum_us: u64,
    min_us: u32,
    max_us: u32,
}

impl LatencyHistogram {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one duration, in constant time.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        let us = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let bucket = bucket_of(us);
        let slot = match bucket.checked_sub(self.first).and_then(|at| self.counts.get_mut(at)) {
            Some(slot) => slot,
            None => self.widened(bucket),
        };
        let Some(next) = slot.checked_add(1) else { return };
        *slot = next;
        if self.count == 0 {
            self.min_us = us;
            self.max_us = us;
        } else {
            self.min_us = self.min_us.min(us);
            self.max_us = self.max_us.max(us);
        }
        self.count = self.count.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(u64::from(us));
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let was_empty = self.count == 0;
        for (bucket, added) in other.occupied() {
            let slot = match bucket.checked_sub(self.first).and_then(|at| self.counts.get_mut(at)) {
                Some(slot) => slot,
                None => self.widened(bucket),
            };
            let before = *slot;
            *slot = before.saturating_add(added);
            let grown = *slot - before;
            self.count = self.count.saturating_add(u64::from(grown));
        }
        self.min_us = if was_empty { other.min_us } else { self.min_us.min(other.min_us) };
        self.max_us = self.max_us.max(other.max_us);
        // What a full bucket did not count is not summed either, or the parts would contradict each other.
        let most = self.count.saturating_mul(u64::from(self.max_us));
        self.sum_us = self.sum_us.saturating_add(other.sum_us).min(most);
    }

    /// The duration that a share `q` of all recorded durations does not exceed; `q` is clamped to 0..=1.
    /// `None` when nothing was recorded or `q` is not a number.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0_u64;
        for (bucket, count) in self.occupied() {
            let through = below + u64::from(count);
            if through as f64 >= rank {
                let (lower, upper) = bounds_of(bucket);
                let lower = lower.max(u64::from(self.min_us)) as f64;
                let upper = upper.min(u64::from(self.max_us)) as f64;
                let share = ((rank - below as f64) / f64::from(count)).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64((lower + share * (upper - lower).max(0.0)) / 1e6));
            }
            below = through;
        }
        Some(self.max())
    }

    /// How many durations were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All recorded durations together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The exact longest duration; zero when nothing was recorded.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_micros(self.max_us as u64)
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.clear();
        *self = Self { counts: std::mem::take(&mut self.counts), ..Self::default() };
    }

    /// Makes room for `bucket` and returns its slot.
    #[cold]
    fn widened(&mut self, bucket: usize) -> &mut u32 {
        let start = bucket - bucket % SUB;
        if self.counts.is_empty() {
            self.first = start;
        } else if start < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - start));
            self.first = start;
        }
        let length = (start + SUB - self.first).max(self.counts.len());
        self.counts.resize(length, 0);
        &mut self.counts[bucket - self.first]
    }

    fn occupied(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, count)| (self.first + at, *count))
    }

    /// The occupied buckets in ascending order with their counts, as they travel and are stored. With
    /// [`sum_us`](Self::sum_us), [`min_us`](Self::min_us) and [`max_us`](Self::max_us) they are the whole histogram.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.occupied().map(|(bucket, count)| (u8::try_from(bucket).unwrap_or(u8::MAX), count))
    }

    /// All recorded durations together, in microseconds.
    #[must_use]
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The exact shortest duration in microseconds; 0 when nothing was recorded.
    #[must_use]
    pub const fn min_us(&self) -> u32 {
        self.min_us
    }

    /// The exact longest duration in microseconds; 0 when nothing was recorded.
    #[must_use]
    pub const fn max_us(&self) -> u32 {
        self.max_us
    }

    /// A histogram from parts that a peer sent or a file held; `None` when they contradict each other: buckets that are
    /// not ascending, empty or none of the [`BUCKETS`], a minimum or maximum outside the first and the last of them. A
    /// sum that no such values can have is brought to the nearest one that they can.
    #[must_use]
    pub fn from_parts(buckets: &[(u8, u32)], sum_us: u64, min_us: u32, max_us: u32) -> Option<Self> {
        let (Some(&(first, _)), Some(&(last, _))) = (buckets.first(), buckets.last()) else {
            return (sum_us == 0 && min_us == 0 && max_us == 0).then(Self::default);
        };
        let (first, last) = (usize::from(first), usize::from(last));
        let ascending = buckets.is_sorted_by(|(a, _), (b, _)| a < b);
        let occupied = buckets.iter().all(|(_, count)| *count > 0);
        if !ascending || !occupied || min_us > max_us || bucket_of(min_us) != first || bucket_of(max_us) != last {
            return None;
        }
        let start = first - first % SUB;
        let mut counts = vec![0; last - last % SUB + SUB - start];
        for (bucket, count) in buckets {
            counts[usize::from(*bucket) - start] = *count;
        }
        let count: u64 = buckets.iter().map(|(_, count)| u64::from(*count)).sum();
        let least = count.saturating_mul(u64::from(min_us));
        let most = count.saturating_mul(u64::from(max_us));
        Some(Self { counts, first: start, count, sum_us: sum_us.clamp(least, most), min_us, max_us })
    }
}

const _: () = assert!(BUCKETS <= u8::MAX as usize + 1, "a bucket travels as one byte");

const fn bucket_of(us: u32) -> usize {
    if us < 1 << SUB_BITS {
        return us as usize;
    }
    let octave = us.ilog2();
    let sub = (us >> (octave - SUB_BITS)) as usize - SUB;
    (octave - SUB_BITS + 1) as usize * SUB + sub
}

/// The values of a bucket in microseconds, the upper bound excluded.
const fn bounds_of(bucket: usize) -> (u64, u64) {
    if bucket < SUB {
        return (bucket as u64, bucket as u64 + 1);
    }
    let shift = bucket / SUB - 1;
    let lower = ((SUB + bucket % SUB) as u64) << shift;
    (lower, lower + (1 << shift))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation)] // exact expectations are made from small floats

    use super::*;
    use proptest::prelude::*;

    fn recorded(micros: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        for us in micros {
            histogram.record(Duration::from_micros(us));
        }
        histogram
    }

    /// Values at the middle of `n` equal shares of a distribution given by its inverse.
    fn spread(n: u32, inverse: impl Fn(f64) -> f64) -> Vec<u64> {
        (0..n).map(|i| inverse((f64::from(i) + 0.5) / f64::from(n)).round() as u64).collect()
    }

    fn assert_close(values: &[u64], tolerance: f64) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let histogram = recorded(values.iter().copied());
        for q in [0.5, 0.9, 0.95, 0.99] {
            let exact = sorted[((sorted.len() as f64 * q) as usize).min(sorted.len() - 1)] as f64;
            let found = histogram.quantile(q).expect("not empty").as_secs_f64() * 1e6;
            assert!((found / exact - 1.0).abs() <= tolerance, "q {q}: {found} instead of {exact}");
        }
    }

    #[test]
    fn quantiles_of_smooth_data_are_within_two_percent() {
        assert_close(&spread(10_000, |u| 1_000.0 + 99_000.0 * u), 0.02);
        assert_close(&spread(10_000, |u| -20_000.0 * (1.0 - u).ln()), 0.02);
        // Pareto, alpha 2: a heavy tail, as of real services.
        assert_close(&spread(10_000, |u| 5_000.0 / (1.0 - u).sqrt()), 0.02);
    }

    #[test]
    fn constant_data_is_exact() {
        let histogram = recorded([12_345; 7]);
        for q in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(histogram.quantile(q), Some(Duration::from_micros(12_345)));
        }
    }

    #[test]
    fn nothing_recorded_has_no_quantile() {
        assert_eq!(LatencyHistogram::new().quantile(0.5), None);
        assert_eq!(recorded([1]).quantile(f64::NAN), None);
    }

    #[test]
    fn durations_beyond_the_range_count_as_its_end() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.max(), Duration::from_micros(u64::from(u32::MAX)));
        assert_eq!(histogram.counts.len(), BUCKETS);
    }

    #[test]
    fn a_full_bucket_saturates() {
        let mut histogram =
            LatencyHistogram::from_parts(&[(5, u32::MAX)], 5 * u64::from(u32::MAX), 5, 5).expect("consistent");
        let before = histogram.clone();
        histogram.record(Duration::from_micros(5));
        assert_eq!(histogram, before);
        histogram.merge(&before);
        assert_eq!(histogram, before);
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        assert!(LatencyHistogram::from_parts(&[(5, 1), (5, 1)], 10, 5, 5).is_none(), "not ascending");
        assert!(LatencyHistogram::from_parts(&[(5, 0)], 0, 5, 5).is_none(), "an empty bucket");
        assert!(LatencyHistogram::from_parts(&[(250, 1)], 0, 5, 5).is_none(), "no such bucket");
        assert!(LatencyHistogram::from_parts(&[(5, 1)], 5, 4, 5).is_none(), "minimum in another bucket");
        assert!(LatencyHistogram::from_parts(&[], 5, 0, 0).is_none(), "a sum of nothing");
        let sum = LatencyHistogram::from_parts(&[(5, 2)], u64::MAX, 5, 5).expect("clamped").sum();
        assert_eq!(sum, Duration::from_micros(10));
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_bucket_of_at_most_an_eighth(us: u32) {
            let (lower, upper) = bounds_of(bucket_of(us));
            prop_assert!(lower <= u64::from(us) && u64::from(us) < upper);
            prop_assert!(upper - lower == 1 || (upper - lower) * 8 <= lower);
        }

        #[test]
        fn merging_equals_recording_together(a in prop::collection::vec(0_u64..10_000_000, 0..40),
                                             b in prop::collection::vec(0_u64..10_000_000, 0..40)) {
            let mut merged = recorded(a.iter().copied());
            merged.merge(&recorded(b.iter().copied()));
            prop_assert_eq!(merged, recorded(a.into_iter().chain(b)));
        }

        #[test]
        fn parts_lead_back(values in prop::collection::vec(any::<u32>(), 0..50)) {
            let histogram = recorded(values.into_iter().map(u64::from));
            let buckets: Vec<_> = histogram.buckets().collect();
            let again = LatencyHistogram::from_parts(&buckets, histogram.sum_us, histogram.min_us, histogram.max_us);
            prop_assert_eq!(again, Some(histogram));
        }

        #[test]
        fn quantiles_grow_with_their_share(values in prop::collection::vec(any::<u32>(), 1..50), a in 0.0..1.0, b in 0.0..1.0) {
            let histogram = recorded(values.into_iter().map(u64::from));
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(histogram.quantile(low) <= histogram.quantile(high));
        }
    }
}
