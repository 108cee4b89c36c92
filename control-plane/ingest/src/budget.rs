//! What one agent may send. Pure: time is an argument.
//!
//! A budget is a token bucket. An agent that is over it is first made to wait, which its transport feels as a full
//! window, and nobody else does; one that keeps pushing for longer than `patience` has broken the protocol.

use std::time::{Duration, Instant};

/// A rate and how much may come at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

/// The tokens of one [`Rate`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// May be negative: what was taken is owed.
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    #[must_use]
    pub(crate) const fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, refilled: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = passed.mul_add(rate.per_second, self.tokens).min(rate.burst);
        self.refilled = self.refilled.max(now);
    }

    /// Takes `cost`, and says how long to wait until nothing is owed any more. A cost above the burst is possible:
    /// it is owed for longer.
    pub(crate) fn take(&mut self, rate: Rate, cost: f64, now: Instant) -> Duration {
        self.refill(rate, now);
        self.tokens -= cost;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / rate.per_second).unwrap_or(Duration::MAX)
    }

    /// Takes `cost` only when it is there.
    pub(crate) fn try_take(&mut self, rate: Rate, cost: f64, now: Instant) -> bool {
        self.refill(rate, now);
        let there = self.tokens >= cost;
        if there {
            self.tokens -= cost;
        }
        there
    }

    /// Whether nothing would be lost by forgetting this bucket.
    #[must_use]
    pub(crate) fn is_full(&self, rate: Rate, now: Instant) -> bool {
        let mut then = *self;
        then.refill(rate, now);
        then.tokens >= rate.burst
    }
}

/// What one lane of one session may carry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneLimits {
    pub frames: Rate,
    pub bytes: Rate,
    /// How long an agent may be over its budget before its session is closed.
    pub patience: Duration,
}

/// What a frame has to do before the next one is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toll {
    Pass,
    Wait(Duration),
    /// Over the budget for longer than the patience.
    Exhausted,
}

/// The budget of one lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneBudget {
    frames: Bucket,
    bytes: Bucket,
    /// Since when the agent has been over without a pause.
    over_since: Option<Instant>,
}

impl LaneBudget {
    #[must_use]
    pub(crate) const fn new(limits: &LaneLimits, now: Instant) -> Self {
        Self { frames: Bucket::full(limits.frames, now), bytes: Bucket::full(limits.bytes, now), over_since: None }
    }

    /// Charges one frame of `bytes`.
    pub(crate) fn charge(&mut self, limits: &LaneLimits, bytes: usize, now: Instant) -> Toll {
        #[expect(clippy::cast_precision_loss, reason = "a frame's length is far below 2^53")]
        let bytes = bytes as f64;
        let wait = self.frames.take(limits.frames, 1.0, now).max(self.bytes.take(limits.bytes, bytes, now));
        if wait.is_zero() {
            self.over_since = None;
            return Toll::Pass;
        }
        let since = *self.over_since.get_or_insert(now);
        if now.saturating_duration_since(since) > limits.patience { Toll::Exhausted } else { Toll::Wait(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LaneLimits = LaneLimits {
        frames: Rate { per_second: 10.0, burst: 20.0 },
        bytes: Rate { per_second: 1_000.0, burst: 4_000.0 },
        patience: Duration::from_secs(5),
    };

    #[test]
    fn lines_that_come_every_ten_milliseconds_never_wait() {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = crate::IngestConfig::new(listen, Vec::new()).logs;
        let start = Instant::now();
        let mut budget = LaneBudget::new(&limits, start);
        let mut beats = (0..6_000).map(|beat| start + Duration::from_millis(10) * beat);
        assert!(beats.all(|now| budget.charge(&limits, 1_000, now) == Toll::Pass));
    }

    #[test]
    fn a_burst_passes_and_the_rate_holds_after_it() {
        let start = Instant::now();
        let mut budget = LaneBudget::new(&LIMITS, start);
        assert!((0..20).all(|_| budget.charge(&LIMITS, 1, start) == Toll::Pass));
        assert_eq!(budget.charge(&LIMITS, 1, start), Toll::Wait(Duration::from_millis(100)));
    }

    #[test]
    fn one_large_frame_is_owed_in_bytes() {
        let start = Instant::now();
        let mut budget = LaneBudget::new(&LIMITS, start);
        assert_eq!(budget.charge(&LIMITS, 6_000, start), Toll::Wait(Duration::from_secs(2)));
    }

    #[test]
    fn an_agent_that_waits_as_told_is_never_exhausted() {
        let mut now = Instant::now();
        let mut budget = LaneBudget::new(&LIMITS, now);
        for _ in 0..500 {
            match budget.charge(&LIMITS, 1, now) {
                Toll::Pass => {}
                Toll::Wait(wait) => now += wait + Duration::from_millis(100),
                Toll::Exhausted => panic!("a polite agent was cut off"),
            }
        }
    }

    #[test]
    fn one_that_keeps_pushing_runs_out_of_patience() {
        let start = Instant::now();
        let mut budget = LaneBudget::new(&LIMITS, start);
        let exhausted = (0..10_000u64)
            .map(|frame| start + Duration::from_millis(10 * frame))
            .position(|now| budget.charge(&LIMITS, 1, now) == Toll::Exhausted);
        let frame = exhausted.expect("ten times the rate for a hundred seconds");
        assert!(frame > 500, "closed after {frame} frames, before its patience was over");
    }

    #[test]
    fn a_clock_that_goes_back_grants_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let rate = LIMITS.frames;
        let mut bucket = Bucket::full(rate, start);
        assert!(bucket.try_take(rate, 20.0, start));
        assert!(!bucket.try_take(rate, 1.0, start - Duration::from_secs(5)));
        assert!(!bucket.try_take(rate, 1.0, start));
        assert!(bucket.is_full(rate, start + Duration::from_secs(2)));
    }
}
