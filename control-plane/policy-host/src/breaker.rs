//! Stops asking a policy that keeps failing. A pure state machine: time is an argument.
//!
//! ```text
//!           N faults in a row                 back-off over
//! closed ─────────────────────▶ open ─────────────────────▶ half-open
//!    ▲                            ▲                             │
//!    │                            └───── the trial failed ──────┤ (back-off doubles)
//!    └─────────────────────────────────── the trial succeeded ──┘
//! ```

use std::time::{Duration, Instant};

/// When a breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Faults in a row that open it; at least 1.
    pub faults: u32,
    /// How long it stays open the first time.
    pub backoff: Duration,
    /// The most that doubling leads to.
    pub max_backoff: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { faults: 3, backoff: Duration::from_secs(5), max_backoff: Duration::from_secs(300) }
    }
}

/// One breaker, for one policy bound to one deployment: neither another policy nor another deployment notices.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    /// Faults since the last success.
    faults: u32,
    backoff: Duration,
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused until the instant.
    Open { until: Instant },
    /// One call is on trial.
    HalfOpen,
}

/// A breaker that does not let a call through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy is not asked after {faults} faults in a row; the next try is in {} s", retry_in.as_secs_f64().ceil())]
pub struct BreakerOpen {
    pub faults: u32,
    /// Zero while a trial is under way.
    pub retry_in: Duration,
}

impl Breaker {
    #[must_use]
    pub const fn new(config: BreakerConfig) -> Self {
        Self { config, state: BreakerState::Closed, faults: 0, backoff: config.backoff }
    }

    /// Asks whether to call the policy now. After `Ok` the caller must tell the outcome by [`succeeded`](Self::succeeded),
    /// [`failed`](Self::failed) or [`abandoned`](Self::abandoned).
    ///
    /// # Errors
    /// While the breaker is open, and while the one call that it let through on trial has not come back.
    pub fn admit(&mut self, now: Instant) -> Result<(), BreakerOpen> {
        match self.state {
            BreakerState::Closed => Ok(()),
            BreakerState::Open { until } if now < until => {
                Err(BreakerOpen { faults: self.faults, retry_in: until.duration_since(now) })
            }
            BreakerState::Open { .. } => {
                self.state = BreakerState::HalfOpen;
                Ok(())
            }
            BreakerState::HalfOpen => Err(BreakerOpen { faults: self.faults, retry_in: Duration::ZERO }),
        }
    }

    /// The policy answered.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.config);
    }

    /// The policy failed through its own fault. True when this opened the breaker.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.faults = self.faults.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.faults < self.config.faults => return false,
            // A call that was under way when the breaker opened changes nothing any more.
            BreakerState::Open { .. } => return false,
            BreakerState::Closed => {}
            BreakerState::HalfOpen => self.backoff = self.backoff.saturating_mul(2).min(self.config.max_backoff),
        }
        self.state = BreakerState::Open { until: now + self.backoff };
        true
    }

    /// The call came to nothing without the policy's fault, so it says nothing: a trial may be tried again at once.
    pub fn abandoned(&mut self, now: Instant) {
        if self.state == BreakerState::HalfOpen {
            self.state = BreakerState::Open { until: now };
        }
    }

    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig =
        BreakerConfig { faults: 3, backoff: Duration::from_secs(5), max_backoff: Duration::from_secs(12) };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        assert_eq!([breaker.failed(now), breaker.failed(now), breaker.failed(now)], [false, false, true]);
        breaker
    }

    #[test]
    fn it_opens_after_faults_in_a_row_and_a_success_between_them_starts_the_count_again() {
        let now = Instant::now();
        let mut breaker = Breaker::new(CONFIG);
        breaker.failed(now);
        breaker.failed(now);
        breaker.succeeded();
        breaker.failed(now);
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(breaker.failed(now));
        assert_eq!(breaker.admit(now), Err(BreakerOpen { faults: 3, retry_in: Duration::from_secs(5) }));
    }

    #[test]
    fn one_trial_is_let_through_after_the_back_off() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(5);
        assert!(breaker.admit(later - Duration::from_millis(1)).is_err());
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "a second call while the first is on trial");
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn each_failed_trial_doubles_the_back_off_up_to_its_cap() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let wait = breaker.admit(now).unwrap_err().retry_in;
            waits.push(wait.as_secs());
            now += wait;
            breaker.admit(now).unwrap();
            assert!(breaker.failed(now));
        }
        assert_eq!(waits, [5, 10, 12, 12]);
    }

    #[test]
    fn a_trial_that_says_nothing_is_tried_again_without_a_longer_wait() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(5);
        breaker.admit(later).unwrap();
        breaker.abandoned(later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn a_fault_that_arrives_while_open_does_not_prolong_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(now + Duration::from_secs(4)));
        assert_eq!(breaker.admit(now + Duration::from_secs(5)), Ok(()));
    }
}
