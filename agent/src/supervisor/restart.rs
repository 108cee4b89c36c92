//! Whether and when a program that ended is started again. Pure: time and entropy are arguments.

use std::time::Duration;

use super::ExitStatus;

/// First pause, doubled each time up to [`LONGEST`] (the values of Pebble and of the kubelet's early steps).
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A program that ran this long has recovered: the pauses begin anew.
const RECOVERED_AFTER: Duration = Duration::from_secs(30);
/// Up to this share of a pause is taken off at random, so that instances that fell together do not rise together.
const JITTER: f64 = 0.2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Never,
    OnFailure,
    Always,
}

impl RestartPolicy {
    #[must_use]
    pub const fn wants_restart(self, status: ExitStatus) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => !status.is_success(),
            Self::Always => true,
        }
    }
}

/// The pauses between starts.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    /// Starts in a row that did not last.
    failures: u32,
}

impl Backoff {
    /// The pause before the next start, after a run of `uptime`. `entropy` is uniform in [0, 1).
    pub fn next(&mut self, uptime: Duration, entropy: f64) -> Duration {
        if uptime >= RECOVERED_AFTER {
            self.failures = 0;
        }
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(1.0 - JITTER * entropy.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next(Duration::ZERO, 0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        for _ in 0..100 {
            assert_eq!(backoff.next(Duration::ZERO, 0.0), LONGEST, "no overflow");
        }
    }

    #[test]
    fn a_run_that_lasted_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.next(Duration::from_secs(29), 0.0);
        }
        assert_eq!(backoff.next(RECOVERED_AFTER, 0.0), FIRST);
    }

    #[test]
    fn jitter_only_shortens() {
        let pause = Backoff::default().next(Duration::ZERO, 0.999);
        assert!(pause < FIRST && pause >= FIRST.mul_f64(1.0 - JITTER), "{pause:?}");
    }

    #[test]
    fn the_policy_looks_at_the_exit() {
        let (good, bad) = (ExitStatus::Code(0), ExitStatus::Code(3));
        assert!(!RestartPolicy::Never.wants_restart(bad));
        assert!(RestartPolicy::OnFailure.wants_restart(bad) && !RestartPolicy::OnFailure.wants_restart(good));
        assert!(RestartPolicy::Always.wants_restart(good));
        assert!(RestartPolicy::OnFailure.wants_restart(ExitStatus::Signal(9)));
    }
}
