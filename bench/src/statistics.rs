//! Quantiles of what was measured. No means: one stall of a shared machine would decide them.

use std::time::Duration;

/// Measurements of one kind, in one unit, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurements(Vec<f64>);

impl Measurements {
    /// `None` without a single finite value. Others are left out.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// In milliseconds.
    #[must_use]
    pub fn of_durations(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::new(durations.into_iter().map(millis))
    }

    /// The smallest value that a share `q` (0 to 1) of all does not exceed (nearest rank): always one that occurred.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q.clamp(0.0, 1.0) * self.0.len() as f64).ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
        let index = (rank as usize).saturating_sub(1);
        self.0[index.min(self.0.len() - 1)]
    }

    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    #[must_use]
    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    #[must_use]
    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[must_use]
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values = Measurements::new((1..=100).rev().map(f64::from)).unwrap();
        assert_eq!((values.median(), values.p99(), values.max()), (50.0, 99.0, 100.0));
        assert_eq!((values.quantile(0.0), values.quantile(2.0)), (1.0, 100.0));
        assert_eq!(values.count(), 100);
        let one = Measurements::of_durations([Duration::from_micros(1_500)]).unwrap();
        assert_eq!((one.median(), one.p99()), (1.5, 1.5));
    }

    #[test]
    fn nothing_measured_is_no_measurement() {
        assert_eq!(Measurements::new([f64::NAN, f64::INFINITY]), None);
        assert_eq!(Measurements::new([f64::NAN, 2.0]).unwrap().max(), 2.0);
    }
}
