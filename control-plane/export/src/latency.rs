//! Response times as receivers want them: counts that only grow, at bounds that never change.
//!
//! Agents count in buckets of an eighth of a power of two, linear within it. Of these only whole powers of two are bounds
//! of a classic histogram *exactly*; the exponential buckets of native histograms lie elsewhere, and counts would have to
//! be guessed apart. So it is the classic kind, one bucket per power of two.

use outrigger_protocol::histogram::LatencyHistogram;

/// The smallest bound is 2^9 us, 0.5 ms.
const FIRST_EXPONENT: usize = 9;
/// The largest bound is 2^25 us, 33.6 s.
const LAST_EXPONENT: usize = 25;
/// Bounds, without the one at infinity.
pub(crate) const BOUNDS: usize = LAST_EXPONENT - FIRST_EXPONENT + 1;
/// Agents' buckets below a power of two, [`LatencyHistogram`]; the first eight lie below 2^3 us.
const SUB: usize = 8;
const SUB_EXPONENT: usize = 3;

/// Every response time of an instance since it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Per bucket, not added up; the last is beyond all bounds.
    counts: [u64; BOUNDS + 1],
    count: u64,
    sum_us: u64,
}

impl Totals {
    pub(crate) const fn new() -> Self {
        Self { counts: [0; BOUNDS + 1], count: 0, sum_us: 0 }
    }

    pub(crate) fn add(&mut self, window: &LatencyHistogram) {
        for (bucket, count) in window.buckets() {
            let exponent = usize::from(bucket) / SUB + SUB_EXPONENT;
            let slot = exponent.saturating_sub(FIRST_EXPONENT).min(BOUNDS);
            self.counts[slot] = self.counts[slot].saturating_add(u64::from(count));
        }
        self.count = self.count.saturating_add(window.count());
        self.sum_us = self.sum_us.saturating_add(window.sum_us());
    }

    /// Per bucket, the one beyond all bounds last.
    pub(crate) const fn counts(&self) -> &[u64; BOUNDS + 1] {
        &self.counts
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }
}

/// The bounds in seconds, ascending, without infinity.
pub(crate) fn bounds() -> impl ExactSizeIterator<Item = f64> {
    (0..BOUNDS).map(|nth| (1_u64 << (FIRST_EXPONENT + nth)) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn window(micros: &[u64]) -> LatencyHistogram {
        let mut window = LatencyHistogram::new();
        micros.iter().for_each(|us| window.record(Duration::from_micros(*us)));
        window
    }

    proptest! {
        #[test]
        fn each_duration_is_counted_below_its_bound_and_not_below_the_one_before(us in 0_u64..200_000_000) {
            let mut totals = Totals::new();
            totals.add(&window(&[us]));
            let slot = totals.counts().iter().position(|count| *count == 1).unwrap();
            let micros: Vec<f64> = bounds().map(|bound| bound * 1e6).collect();
            prop_assert!(slot == BOUNDS || (us as f64) < micros[slot]);
            prop_assert!(slot == 0 || us as f64 >= micros[slot - 1]);
        }
    }

    #[test]
    fn totals_only_grow() {
        let mut totals = Totals::new();
        totals.add(&window(&[100, 600, 90_000_000]));
        totals.add(&window(&[700]));
        assert_eq!(totals.counts()[..2], [1, 2]);
        assert_eq!((totals.counts()[BOUNDS], totals.count()), (1, 4));
        assert!((totals.sum_seconds() - 90.0014).abs() < 1e-9);
    }
}
