//! How durations, sizes and times are written in JSON.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use outrigger_protocol::time::{self, UnixMillis};

/// No duration of the API is longer; what is, has a unit too large.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// `250ms`, `30s`, `5m`, `2h`, `1d`; at most a year.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    time::parse_duration(text).filter(|duration| *duration <= LONGEST)
}

/// A number of bytes, or a number with `KiB`, `MiB` or `GiB`.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
const LAST_TIME: u64 = 253_402_300_799_999;

/// What [`parse_time`] reads.
pub(crate) const TIME: &str = "a time such as 2026-01-31T12:00:00Z, or Unix milliseconds";

/// RFC 3339, or Unix milliseconds.
pub(crate) fn parse_time(text: &str) -> Option<UnixMillis> {
    if let Ok(millis) = text.parse::<u64>() {
        return Some(millis).filter(|millis| *millis <= LAST_TIME).map(UnixMillis::from_millis);
    }
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis::from_millis)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn write_time(time: UnixMillis) -> Timestamp {
    i64::try_from(time.as_millis()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

pub(crate) fn write_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 32 bytes as [`write_hex`] writes them.
pub(crate) fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_year_at_most() {
        assert_eq!(parse_duration("366d"), Some(LONGEST));
        for bad in ["367d", "99999999999d", "soon"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hash_reads_back_and_nothing_else_does() {
        let hash = std::array::from_fn(|at| at.to_le_bytes()[0].wrapping_mul(37));
        assert_eq!(parse_hash(&write_hex(&hash)), Some(hash));
        let short = write_hex(&hash[1..]);
        for bad in ["", short.as_str(), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(parse_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(parse_bytes("256MiB"), Some(256 << 20));
        assert_eq!(parse_bytes("1024"), Some(1024));
        assert_eq!(parse_bytes("1 GiB"), Some(1 << 30));
        assert_eq!(parse_bytes("1GB"), None);
    }
}
