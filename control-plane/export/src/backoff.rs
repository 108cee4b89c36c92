//! How long to wait before a request is made again.

use std::time::{Duration, SystemTime};

/// A receiver may ask for patience, but not for all of it.
const LONGEST_REQUESTED: Duration = Duration::from_secs(5 * 60);

/// First and longest wait; each is up to twice the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// Exponential, each wait a random one between half of the step and all of it, so that many senders that lost one
/// receiver do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self { step: pace.first, longest: pace.longest }
    }

    /// The next wait, `random` being any number. What the receiver asked for is never undercut.
    pub(crate) fn next(&mut self, random: u32, requested: Option<Duration>) -> Duration {
        let half = self.step / 2;
        let wait = half + half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.step = self.step.saturating_mul(2).min(self.longest);
        wait.max(requested.unwrap_or_default().min(LONGEST_REQUESTED))
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

    proptest! {
        #[test]
        fn waits_double_up_to_the_longest_and_never_exceed_it(random in prop::collection::vec(any::<u32>(), 1..40)) {
            let mut backoff = Backoff::new(PACE);
            for (nth, random) in random.into_iter().enumerate() {
                let step = PACE.first.saturating_mul(1 << nth.min(20)).min(PACE.longest);
                let wait = backoff.next(random, None);
                prop_assert!(step / 2 <= wait && wait <= step, "{wait:?} of {step:?}");
            }
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_kept_within_reason() {
        let mut backoff = Backoff::new(PACE);
        assert_eq!(backoff.next(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.next(0, Some(Duration::from_secs(86_400))), LONGEST_REQUESTED);
        assert_eq!(backoff.next(0, Some(Duration::ZERO)), Duration::from_secs(1));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now + Duration::from_secs(60)), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
