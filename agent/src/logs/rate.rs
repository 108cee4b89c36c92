//! How many lines and bytes of logs may pass.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

/// A token bucket: `burst` at once, `per_second` in the long run. The clock may jump: backwards it adds nothing,
/// forwards at most a full bucket.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: u64,
    burst: u64,
    /// In thousandths, so that a millisecond adds a whole number.
    milli_tokens: u64,
    last: Option<UnixMillis>,
}

impl TokenBucket {
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, milli_tokens: burst.saturating_mul(1_000), last: None }
    }

    fn refill(&mut self, now: UnixMillis) {
        let elapsed = self.last.map_or(Duration::ZERO, |last| now.since(last));
        self.last = Some(now);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let added = millis.saturating_mul(self.per_second);
        self.milli_tokens = self.milli_tokens.saturating_add(added).min(self.burst.saturating_mul(1_000));
    }
}

/// Takes from both buckets, or from neither.
pub(super) fn take(lines: &mut TokenBucket, bytes: &mut TokenBucket, length: usize, now: UnixMillis) -> bool {
    lines.refill(now);
    bytes.refill(now);
    // A line longer than the whole burst passes a full bucket and empties it.
    let cost = (length as u64).min(bytes.burst).saturating_mul(1_000);
    if lines.milli_tokens < 1_000 || bytes.milli_tokens < cost {
        return false;
    }
    lines.milli_tokens -= 1_000;
    bytes.milli_tokens -= cost;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::from_millis(millis)
    }

    fn passed(lines: &mut TokenBucket, bytes: &mut TokenBucket, length: usize, now: u64) -> usize {
        (0..1_000).take_while(|_| take(lines, bytes, length, at(now))).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut lines, mut bytes) = (TokenBucket::new(10, 50), TokenBucket::new(1 << 30, 1 << 30));
        assert_eq!(passed(&mut lines, &mut bytes, 1, 10_000), 50);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 10_500), 5);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 3_000_000), 50);
    }

    #[test]
    fn bytes_limit_as_well_and_a_huge_line_passes_a_full_bucket() {
        let (mut lines, mut bytes) = (TokenBucket::new(1_000, 1_000), TokenBucket::new(100, 1_000));
        assert_eq!(passed(&mut lines, &mut bytes, 300, 0), 3);
        assert_eq!(passed(&mut lines, &mut bytes, 5_000, 1_000), 0);
        assert_eq!(passed(&mut lines, &mut bytes, 5_000, 60_000), 1);
    }

    #[test]
    fn a_clock_that_jumps_back_neither_refills_nor_starves() {
        let (mut lines, mut bytes) = (TokenBucket::new(10, 10), TokenBucket::new(1 << 30, 1 << 30));
        assert_eq!(passed(&mut lines, &mut bytes, 1, 86_400_000), 10);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 0), 0);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 500), 5);
    }
}
