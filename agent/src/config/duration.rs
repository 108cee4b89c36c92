//! Durations as people write them: a whole number and a unit, `500ms`, `10s`, `2m`, `1h`.

use std::time::Duration;

/// Longest duration that is taken; more is a typing error.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    #[error("a duration is a whole number and a unit: 500ms, 10s, 2m or 1h")]
    Form,
    #[error("the longest duration is 7 days")]
    TooLong,
}

/// # Errors
/// The text is not a number with one of the units `ms`, `s`, `m`, `h`, or is more than seven days.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| ParseDurationError::Form)?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(ParseDurationError::Form),
    };
    millis.map(Duration::from_millis).filter(|duration| *duration <= LONGEST).ok_or(ParseDurationError::TooLong)
}

/// The shortest exact form that [`parse`] reads back.
#[must_use]
pub fn display(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "1d", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(ParseDurationError::Form), "{text}");
        }
        for text in ["200h", "18446744073709551615h"] {
            assert_eq!(parse(text), Err(ParseDurationError::TooLong), "{text}");
        }
    }

    #[test]
    fn what_is_displayed_parses_back() {
        for duration in [Duration::from_millis(1), Duration::from_millis(1500), Duration::from_secs(90)] {
            assert_eq!(parse(&display(duration)), Ok(duration));
        }
    }
}
