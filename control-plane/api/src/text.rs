//! How durations, sizes and times are written in JSON.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use outrigger_protocol::time::UnixMillis;

/// `250ms`, `30s`, `5m`, `2h`, `1d`; at most a year.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const YEAR_MS: u64 = 366 * 86_400_000;
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|ms| *ms <= YEAR_MS).map(Duration::from_millis)
}

/// The shortest text that [`parse_duration`] reads back.
pub(crate) fn write_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let (unit, size) = units.into_iter().find(|(_, size)| ms > 0 && ms % size == 0).unwrap_or(("ms", 1));
    if ms == 0 { "0s".to_owned() } else { format!("{}{unit}", ms / size) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_were_written() {
        for text in ["250ms", "30s", "5m", "2h", "1d", "90s", "0s"] {
            assert_eq!(parse_duration(text).map(write_duration).as_deref(), Some(text));
        }
        for bad in ["", "s", "5", "5 s", "-1s", "5y", "99999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
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
