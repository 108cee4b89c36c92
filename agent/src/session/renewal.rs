//! When a certificate is renewed. Pure: time and entropy are arguments.

use std::time::Duration;

use outrigger_protocol::identity::Validity;
use outrigger_protocol::time::UnixMillis;

/// Renewal falls between these shares of a certificate's life, at random, so that agents that started together do not
/// renew together, and a failed attempt has time for others.
const EARLIEST: f64 = 0.7;
const LATEST: f64 = 0.9;
/// Between attempts that were not answered.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Between any two attempts.
const SOONEST: Duration = Duration::from_secs(1);

/// When to ask for the next certificate. `entropy` is uniform in [0, 1).
#[must_use]
pub(super) fn due(validity: Validity, entropy: f64) -> UnixMillis {
    let life = validity.not_after.since(validity.not_before);
    validity.not_before.saturating_add(life.mul_f64(EARLIEST + (LATEST - EARLIEST) * entropy.clamp(0.0, 1.0)))
}

/// When to ask for the one after a certificate that has just come. Never at once: a control plane whose clock is wrong
/// may issue what is old already.
#[must_use]
pub(super) fn due_next(validity: Validity, now: UnixMillis, entropy: f64) -> UnixMillis {
    due(validity, entropy).max(now.saturating_add(SOONEST))
}

/// When to ask again after a question that got no answer: soon, and sooner when little is left.
#[must_use]
pub(super) fn due_again(validity: Validity, now: UnixMillis) -> UnixMillis {
    now.saturating_add(AGAIN_AFTER.min(validity.not_after.since(now) / 4).max(SOONEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Validity =
        Validity { not_before: UnixMillis::from_millis(1_000_000), not_after: UnixMillis::from_millis(4_600_000) };

    #[test]
    fn renewal_falls_between_seventy_and_ninety_percent() {
        assert_eq!(due(HOUR, 0.0).as_millis(), 1_000_000 + 2_520_000);
        assert!(due(HOUR, 0.999_999).as_millis() < 1_000_000 + 3_240_000);
        assert!(due(HOUR, 0.5) > due(HOUR, 0.4));
    }

    #[test]
    fn a_certificate_that_comes_old_is_not_answered_by_a_storm() {
        let over = UnixMillis::from_millis(9_000_000);
        assert_eq!(due_next(HOUR, over, 0.5).since(over), SOONEST);
        assert_eq!(due_next(HOUR, HOUR.not_before, 0.5), due(HOUR, 0.5));
    }

    #[test]
    fn what_is_not_answered_is_asked_again_before_it_is_too_late() {
        let early = UnixMillis::from_millis(3_600_000);
        assert_eq!(due_again(HOUR, early).since(early), AGAIN_AFTER);
        let late = UnixMillis::from_millis(4_596_000);
        assert_eq!(due_again(HOUR, late).since(late), Duration::from_secs(1));
        let over = UnixMillis::from_millis(9_000_000);
        assert_eq!(due_again(HOUR, over).since(over), Duration::from_secs(1));
    }
}
