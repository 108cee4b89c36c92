//! Shares of a fleet, and how many instances they are.

/// A share above 0 and up to 100 %, exact to a hundredth of a percent: counts of instances must not depend on how
/// a binary fraction happens to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    pub const ALL: Self = Self(10_000);

    /// The share that a number of percent stands for, or what is wrong with it.
    pub(crate) fn parse(percent: f64) -> Result<Self, &'static str> {
        if !(percent > 0.0 && percent <= 100.0) {
            return Err("must be above 0 and at most 100");
        }
        let hundredths = (percent * 100.0).round();
        if (percent * 100.0 - hundredths).abs() > 1e-6 || hundredths < 1.0 {
            return Err("must have at most two decimals");
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within 1 to 10,000, checked above"
        )]
        Ok(Self(hundredths as u16))
    }

    /// `times` as much, to the next hundredth and at most everything.
    pub(crate) fn scaled(self, times: f64) -> Self {
        let hundredths = (f64::from(self.0) * times).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 to 10,000")]
        Self(hundredths.clamp(1.0, f64::from(Self::ALL.0)) as u16)
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        if sum > Self::ALL.0 { Self::ALL } else { Self(sum) }
    }

    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// How many of `n` instances a cohort of this share has: rounded up, so at least one of any.
    #[must_use]
    pub fn of(self, n: usize) -> usize {
        n.saturating_mul(usize::from(self.0)).div_ceil(usize::from(Self::ALL.0))
    }

    /// How many of `n` instances this share allows: rounded down.
    fn within(self, n: usize) -> usize {
        n.saturating_mul(usize::from(self.0)) / usize::from(Self::ALL.0)
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", self.as_f64())
    }
}

/// A number of instances, or a share of those that are there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// In percent, above 0 and up to 100.
    Percent(f64),
    Count(u32),
}

/// An [`Amount`] that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Percent(Percent),
    Count(usize),
}

impl Limit {
    /// Rounded down, because it is a promise not to exceed it.
    pub(crate) fn of(self, n: usize) -> usize {
        match self {
            Self::Percent(percent) => percent.within(n),
            Self::Count(count) => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(of: f64) -> Percent {
        Percent::parse(of).expect("a percentage")
    }

    #[test]
    fn a_cohort_is_rounded_up_and_has_at_least_one() {
        assert_eq!(percent(10.0).of(50), 5);
        assert_eq!(percent(10.0).of(51), 6);
        assert_eq!(percent(0.01).of(3), 1);
        assert_eq!(percent(14.0).of(100), 14, "not 15 by a binary fraction");
        assert_eq!(percent(0.07).of(10_000), 7);
        assert_eq!(Percent::ALL.of(7), 7);
        assert_eq!(percent(10.0).of(0), 0);
    }

    #[test]
    fn what_is_allowed_is_rounded_down() {
        assert_eq!(Limit::Percent(percent(25.0)).of(50), 12);
        assert_eq!(Limit::Percent(percent(25.0)).of(3), 0);
        assert_eq!(Limit::Count(4).of(3), 4);
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for wrong in [0.0, -1.0, 100.01, f64::NAN, f64::INFINITY, 0.001, 12.345] {
            assert!(Percent::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(percent(33.33).to_string(), "33.33 %");
    }

    #[test]
    fn shares_grow_up_to_everything() {
        assert_eq!(percent(2.0).scaled(2.0), percent(4.0));
        assert_eq!(percent(64.0).scaled(2.0), Percent::ALL);
        assert_eq!(percent(90.0).plus(percent(20.0)), Percent::ALL);
    }
}
