//! Counters that only grow, turned into differences and rates.

use std::time::{Duration, Instant};

/// The previous reading of a counter. After a gap, the difference covers the gap; after a reset (the counter is
/// smaller than before) there is no difference, and the next one counts from there.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counter {
    last: Option<(u64, Instant)>,
}

impl Counter {
    /// What was added since the previous reading, and in which time. `None` at the first one, after a reset, when no
    /// time has passed, and for an absent reading.
    pub(super) fn advance(&mut self, reading: Option<u64>, at: Instant) -> Option<(u64, Duration)> {
        let value = reading?;
        let Some((before, since)) = self.last else {
            self.last = Some((value, at));
            return None;
        };
        let elapsed = at.saturating_duration_since(since);
        if elapsed.is_zero() && value >= before {
            return None;
        }
        self.last = Some((value, at));
        value.checked_sub(before).map(|added| (added, elapsed))
    }

    /// What was added since the previous reading.
    pub(super) fn added(&mut self, reading: Option<u64>, at: Instant) -> Option<u64> {
        self.advance(reading, at).map(|(added, _)| added)
    }

    /// What was added per second since the previous reading.
    pub(super) fn per_second(&mut self, reading: Option<u64>, at: Instant) -> Option<f64> {
        self.advance(reading, at).map(|(added, elapsed)| added as f64 / elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_covers_the_time_since_the_last_reading_that_was_there() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counter = Counter::default();
        assert_eq!(counter.per_second(Some(100), at(0)), None);
        assert_eq!(counter.per_second(Some(150), at(1)), Some(50.0));
        assert_eq!(counter.per_second(None, at(2)), None);
        assert_eq!(counter.per_second(Some(170), at(3)), Some(10.0));
    }

    #[test]
    fn a_reset_is_an_absence_and_the_next_rate_counts_from_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counter = Counter::default();
        counter.added(Some(1_000), at(0));
        assert_eq!(counter.added(Some(5), at(1)), None);
        assert_eq!(counter.added(Some(8), at(2)), Some(3));
    }

    #[test]
    fn two_readings_at_one_moment_lose_nothing() {
        let start = Instant::now();
        let mut counter = Counter::default();
        counter.added(Some(10), start);
        assert_eq!(counter.per_second(Some(20), start), None);
        assert_eq!(counter.per_second(Some(30), start + Duration::from_secs(1)), Some(20.0));
    }
}
