//! When a certificate is renewed. Pure: time and entropy are arguments.
//!
//! What counts is how long this agent has had the certificate, not what it says of its own beginning: certificates begin
//! before they are issued, for sandboxes whose clock is behind, and a short-lived one would seem to be old when it comes.

use std::time::Duration;

use outrigger_protocol::identity::Validity;
use outrigger_protocol::time::UnixMillis;

/// Renewal falls between these shares of the time that a certificate has to live, at random, so that agents that started
/// together do not renew together, and a failed attempt has time for others.
const EARLIEST: f64 = 0.7;
const LATEST: f64 = 0.9;
/// Between attempts that were not answered.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Between any two attempts, also when a control plane whose clock is wrong issues what is over already: each costs it a
/// signature.
const SOONEST: Duration = Duration::from_secs(10);

/// When to ask for the next certificate. `received` is when this one came, and `None` when that is not known: then it is
/// taken to be as old as it says, and asked for rather early than late. `entropy` is uniform in [0, 1).
#[must_use]
pub(super) fn due(validity: Validity, received: Option<UnixMillis>, entropy: f64) -> UnixMillis {
    let begun = received.map_or(validity.not_before, |received| received.max(validity.not_before));
    let life = validity.not_after.since(begun);
    let due = begun.saturating_add(life.mul_f64(EARLIEST + (LATEST - EARLIEST) * entropy.clamp(0.0, 1.0)));
    received.map_or(due, |received| due.max(received.saturating_add(SOONEST)))
}

/// When to ask again after a question that got no answer: soon, and sooner when little is left.
#[must_use]
pub(super) fn due_again(validity: Validity, now: UnixMillis) -> UnixMillis {
    now.saturating_add(AGAIN_AFTER.min(validity.not_after.since(now) / 4).max(SOONEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> UnixMillis {
        UnixMillis::from_millis(seconds * 1_000)
    }

    const fn validity(from: u64, until: u64) -> Validity {
        Validity { not_before: at(from), not_after: at(until) }
    }

    /// When the issuer's clock said so; certificates begin 300 s before.
    const ISSUED: u64 = 100_000;
    const BEGUN: u64 = ISSUED - 300;

    #[test]
    fn renewal_falls_between_seventy_and_ninety_percent_of_what_there_is_to_live() {
        let cases = [
            ("a day, at the earliest", ISSUED + 86_400, Some(ISSUED), 0.0, ISSUED + 60_480),
            ("a day, in the middle", ISSUED + 86_400, Some(ISSUED), 0.5, ISSUED + 69_120),
            ("a day, at the latest", ISSUED + 86_400, Some(ISSUED), 1.0, ISSUED + 77_760),
            ("two minutes", ISSUED + 120, Some(ISSUED), 0.0, ISSUED + 84),
            ("one minute, far shorter than what it is backdated by", ISSUED + 60, Some(ISSUED), 0.0, ISSUED + 42),
            ("one minute, at the latest", ISSUED + 60, Some(ISSUED), 1.0, ISSUED + 54),
            ("shorter than the pause between attempts", ISSUED + 5, Some(ISSUED), 0.5, ISSUED + 10),
            ("over when it comes", ISSUED - 200, Some(ISSUED), 0.5, ISSUED + 10),
            ("over before it begins", BEGUN - 50, Some(ISSUED), 0.5, ISSUED + 10),
            ("this clock is ahead by a quarter of an hour", ISSUED + 3_600, Some(ISSUED + 900), 0.0, ISSUED + 2_790),
            ("this clock is behind by less than the backdate", ISSUED + 3_600, Some(ISSUED - 200), 0.0, ISSUED + 2_460),
            ("this clock is behind by more", ISSUED + 3_600, Some(ISSUED - 5_000), 0.0, ISSUED + 2_430),
            ("from disk, of unknown age", ISSUED + 3_600, None, 0.0, ISSUED + 2_430),
            ("from disk, short-lived: as good as due", ISSUED + 60, None, 0.0, ISSUED - 48),
            ("entropy out of its range", ISSUED + 86_400, Some(ISSUED), 7.0, ISSUED + 77_760),
        ];
        for (what, not_after, received, entropy, expected) in cases {
            let due = due(validity(BEGUN, not_after), received.map(at), entropy);
            assert_eq!(due, at(expected), "{what}");
        }
    }

    #[test]
    fn no_certificate_is_renewed_more_often_than_the_least_pause() {
        for lifetime in [0, 1, 9, 10, 30, 60, 120, 600] {
            let mut now = ISSUED;
            for _ in 0..20 {
                let due = due(validity(now - 300, now + lifetime), Some(at(now)), 0.0);
                assert!(due.since(at(now)) >= SOONEST, "a lifetime of {lifetime} s");
                now = due.as_millis() / 1_000;
            }
        }
    }

    #[test]
    fn what_is_not_answered_is_asked_again_before_it_is_too_late() {
        let hour = validity(1_000, 4_600);
        for (now, pause) in [(3_600, 60), (4_480, 30), (4_596, 10), (9_000, 10)] {
            assert_eq!(due_again(hour, at(now)).since(at(now)), Duration::from_secs(pause), "at {now}");
        }
    }
}
