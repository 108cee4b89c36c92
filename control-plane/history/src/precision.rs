//! How much of a reading is worth keeping.
//!
//! The columns keep every bit of what they are given. Most bits of a reading are noise all the same: a share of a core
//! is a difference of microseconds divided by the time between two wake-ups, and its tenth digit says nothing about the
//! sandbox, but costs five bytes a sample. So a reading is rounded once, before it enters history: to a hundredth of a
//! percent, a byte, a microsecond.

use outrigger_protocol::metric::Unit;

/// The steps of a unit, as how many of them make one.
const fn steps(unit: Unit) -> f64 {
    match unit {
        Unit::Bytes | Unit::BytesPerSecond => 1.0,
        Unit::Percent | Unit::PerSecond => 100.0,
        Unit::Cores | Unit::Milliseconds | Unit::Seconds | Unit::Count => 1_000.0,
    }
}

/// A reading at the precision that is kept; what is too large to have a fraction, or is not finite, as it is.
#[must_use]
pub fn rounded(unit: Unit, value: f64) -> f64 {
    let scaled = value * steps(unit);
    if scaled.abs() < 9_007_199_254_740_992.0 { scaled.round() / steps(unit) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_rounded_to_what_they_mean() {
        assert_eq!(rounded(Unit::Percent, 12.345_678_9), 12.35);
        assert_eq!(rounded(Unit::BytesPerSecond, 1_023.5), 1_024.0);
        assert_eq!(rounded(Unit::Cores, 0.333_33), 0.333);
        assert_eq!(rounded(Unit::Count, 1e300), 1e300);
        assert_eq!(rounded(Unit::Count, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(rounded(Unit::Count, f64::NAN).is_nan());
    }
}
