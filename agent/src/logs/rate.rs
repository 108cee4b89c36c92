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

impl TokenBucket {
    /// Whether there are this many tokens, or all that there may be.
    fn has(&mut self, tokens: u64, now: UnixMillis) -> bool {
        self.refill(now);
        self.milli_tokens >= tokens.min(self.burst).saturating_mul(1_000)
    }
}

/// Both limits, and what it takes to get past them.
///
/// Once a line was refused for its length, none is looked at before there is room for one like it: shorter ones would slip
/// through by chance, and each that does not has cost the work of cleaning and masking.
#[derive(Debug)]
pub(super) struct Gate {
    lines: TokenBucket,
    bytes: TokenBucket,
    /// Bytes that have to be there.
    wanted: u64,
}

/// A longer line that was refused does not shut out ordinary ones until there is room for it.
const MOST_WANTED_BYTES: u64 = 4096;

impl Gate {
    pub(super) const fn new(lines: TokenBucket, bytes: TokenBucket) -> Self {
        Self { lines, bytes, wanted: 0 }
    }

    /// Whether a line that begins now cannot pass. At the same `now` it stays so.
    pub(super) fn is_closed(&mut self, now: UnixMillis) -> bool {
        // Not `min(burst)` for lines: a burst of none lets none through.
        self.lines.refill(now);
        self.lines.milli_tokens < 1_000 || !self.bytes.has(self.wanted, now)
    }

    /// Whether a line of this length passes.
    pub(super) fn take(&mut self, length: usize, now: UnixMillis) -> bool {
        let passes = take(&mut self.lines, &mut self.bytes, length, now);
        self.wanted = if passes { 0 } else { (length as u64).min(MOST_WANTED_BYTES) };
        passes
    }
}

/// Takes from both buckets, or from neither.
fn take(lines: &mut TokenBucket, bytes: &mut TokenBucket, length: usize, now: UnixMillis) -> bool {
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
    fn after_a_refusal_nothing_is_looked_at_before_there_is_room_for_its_like() {
        let mut gate = Gate::new(TokenBucket::new(1_000, 1_000), TokenBucket::new(1_000, 1_000));
        assert!(!gate.is_closed(at(0)) && gate.take(900, at(0)));
        assert!(!gate.is_closed(at(0)) && !gate.take(300, at(0)));
        assert!(gate.is_closed(at(0)) && gate.is_closed(at(199)) && !gate.is_closed(at(200)));
        assert!(gate.take(300, at(200)));
        assert!(!gate.take(1 << 20, at(200)), "as long as no line should be");
        assert!(gate.is_closed(at(1_199)) && !gate.is_closed(at(1_200)), "it waits for no more than there can be");
        let mut shut = Gate::new(TokenBucket::new(0, 0), TokenBucket::new(1_000, 1_000));
        assert!(shut.is_closed(at(0)) && shut.is_closed(at(u64::MAX)));
    }

    #[test]
    fn a_clock_that_jumps_back_neither_refills_nor_starves() {
        let (mut lines, mut bytes) = (TokenBucket::new(10, 10), TokenBucket::new(1 << 30, 1 << 30));
        assert_eq!(passed(&mut lines, &mut bytes, 1, 86_400_000), 10);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 0), 0);
        assert_eq!(passed(&mut lines, &mut bytes, 1, 500), 5);
    }
}
