//! Lengths of time in configurations: `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A length of time in whole milliseconds. In a configuration it is a whole number and its unit: `ms`, `s`, `m`, `h` or
/// `d`. In a JSON Schema: `{ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A text that is not a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseSpanError;

impl Span {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How many steps of `step` milliseconds it takes to cover this; at least 1.
    pub fn steps(self, step: u64) -> usize {
        usize::try_from(self.0.div_ceil(step.max(1))).unwrap_or(usize::MAX).max(1)
    }
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or(ParseSpanError)?;
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).map(Self).ok_or(ParseSpanError)
    }
}

impl fmt::Display for ParseSpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a whole number and a unit, such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\"")
    }
}

impl std::error::Error for ParseSpanError {}

impl fmt::Display for Span {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => f.write_str("0s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;

        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"30s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(|error| E::custom(format_args!("`{text}` is not a length of time: {error}")))
            }
        }

        deserializer.deserialize_str(SpanVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(text.parse(), Ok(Span(millis)));
            assert_eq!(Span(millis).to_string(), text);
        }
        assert_eq!(Span(90_000).to_string(), "90s");
        assert_eq!(Span(0).to_string(), "0s");
    }

    #[test]
    fn what_is_no_length_of_time_is_refused_in_words() {
        for text in ["", "30", "s", "1.5s", "-1s", "30 s", "1w", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(ParseSpanError), "{text}");
        }
        let error = serde_json::from_str::<Span>("\"soon\"").unwrap_err().to_string();
        assert!(error.contains("`soon` is not a length of time: expected a whole number and a unit"), "{error}");
        let error = serde_json::from_str::<Span>("30").unwrap_err().to_string();
        assert!(error.contains("a length of time such as \"30s\""), "{error}");
    }

    #[test]
    fn a_window_covers_at_least_one_step() {
        assert_eq!([0, 1, 1000, 1001].map(|millis| Span(millis).steps(1000)), [1, 1, 1, 2]);
    }
}
