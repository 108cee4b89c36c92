//! When to try again. Pure: entropy is an argument.

use std::time::Duration;

/// Upper bound of the first pause; it doubles with every failure up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// What a control plane may ask for at most. A longer absence would look like a lost agent.
const LONGEST_REQUEST: Duration = Duration::from_secs(15 * 60);
/// What is added to a pause that was asked for, as a share of it: everybody was asked at the same time.
const REQUEST_SPREAD: f64 = 0.5;
/// How far agents spread when the control plane goes down on purpose.
const DRAIN_SPREAD: Duration = Duration::from_secs(2);

/// Pauses between attempts to connect: exponential with full jitter, drawn after the cap, so that a fleet that lost its
/// control plane comes back spread over the whole pause.
#[derive(Debug, Clone, Default)]
pub struct Reconnect {
    failures: u32,
}

impl Reconnect {
    /// The pause after a failure. `entropy` is uniform in [0, 1).
    pub fn next(&mut self, entropy: f64) -> Duration {
        let cap = FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        cap.mul_f64(entropy.clamp(0.0, 1.0))
    }

    /// The pause after an identity was refused: as long as there is, for nothing but an operator can change it.
    pub fn after_refusal(&mut self, entropy: f64) -> Duration {
        self.failures = u32::MAX;
        LONGEST.mul_f64(0.5 + entropy.clamp(0.0, 1.0) / 2.0)
    }

    /// A connection worked: the next failure is the first again.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The pause when the control plane asked for one.
#[must_use]
pub(super) fn after_request(delay: Duration, entropy: f64) -> Duration {
    delay.min(LONGEST_REQUEST).mul_f64(1.0 + REQUEST_SPREAD * entropy.clamp(0.0, 1.0))
}

/// The pause when the control plane drains.
#[must_use]
pub(super) fn after_drain(entropy: f64) -> Duration {
    DRAIN_SPREAD.mul_f64(entropy.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_are_drawn_below_it() {
        let mut reconnect = Reconnect::default();
        let caps: Vec<u128> = (0..9).map(|_| reconnect.next(1.0).as_millis()).collect();
        assert_eq!(caps, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(reconnect.next(0.0), Duration::ZERO, "full jitter reaches down to nothing");
        reconnect.succeeded();
        assert_eq!(reconnect.next(1.0), FIRST);
    }

    #[test]
    fn requests_are_honoured_bounded_and_spread() {
        assert_eq!(after_request(Duration::from_secs(10), 0.0), Duration::from_secs(10));
        assert!(after_request(Duration::from_secs(10), 0.9) > Duration::from_secs(14));
        assert!(after_request(Duration::from_secs(1_000_000), 0.0) <= LONGEST_REQUEST);
        assert!(Reconnect::default().after_refusal(0.0) >= LONGEST / 2);
    }
}
