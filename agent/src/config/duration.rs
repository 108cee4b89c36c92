//! Durations as people write them on the command line, up to what makes sense there.

use std::time::Duration;

use outrigger_protocol::time::parse_duration;
pub use outrigger_protocol::time::write_duration as display;

/// Longest duration that is taken; more is a typing error.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    #[error("a duration is a whole number and a unit: 500ms, 10s, 2m, 1h or 1d")]
    Form,
    #[error("the longest duration is 7 days")]
    TooLong,
}

/// # Errors
/// The text is not a number with one of the units `ms`, `s`, `m`, `h`, `d`, or is more than seven days.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let duration = parse_duration(text).ok_or(ParseDurationError::Form)?;
    if duration <= LONGEST { Ok(duration) } else { Err(ParseDurationError::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_duration_and_what_is_too_long_are_refused() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("7d"), Ok(LONGEST));
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "1w", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(ParseDurationError::Form), "{text}");
        }
        assert_eq!(parse("200h"), Err(ParseDurationError::TooLong));
    }
}
