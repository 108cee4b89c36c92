//! An agent's clock against this machine's. Pure.
//!
//! Samples are stamped by the sandbox, whose clock may be wrong by days. The difference is measured when the agent
//! says hello and again with every heartbeat. A message that was under way for long makes the agent's clock look slow,
//! and then its samples seem to come from the future: which is how such a measurement is found out and put right.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

/// How far the agent's clock is behind (positive) or ahead (negative) of the server's, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClockOffset(i64);

/// Two measurements that differ by less say the same.
const NOISE_MS: i64 = 250;
/// A message that was under way for longer is not explained by the network. Sessions open within as much.
const LONGEST_DELAY_MS: i64 = 10_000;

impl ClockOffset {
    /// The offset of a peer that says it is `theirs` when it is `ours` here: the true one and the time that the
    /// message was under way.
    #[must_use]
    pub(crate) fn measure(ours: UnixMillis, theirs: UnixMillis) -> Self {
        Self(signed(ours).saturating_sub(signed(theirs)))
    }

    /// This offset or a newer measurement: the smaller, because less delay is in it, unless the newer is larger by
    /// more than noise, because then the agent's clock may have been set back.
    #[must_use]
    pub(crate) fn updated(self, newer: Self) -> Self {
        let larger_by = newer.0.saturating_sub(self.0);
        if (0..=NOISE_MS).contains(&larger_by) { self } else { newer }
    }

    /// The offset without the delay that a sample of the near future gives away.
    #[must_use]
    pub(crate) fn fitted(self, at: UnixMillis, now: UnixMillis) -> Self {
        let ahead = signed(at).saturating_add(self.0).saturating_sub(signed(now));
        if (1..=LONGEST_DELAY_MS).contains(&ahead) { Self(self.0.saturating_sub(ahead)) } else { self }
    }

    /// A moment of the agent's in the server's time, or `None` when it is not believable: after `now`, or older than
    /// `oldest`.
    #[must_use]
    pub(crate) fn correct(self, at: UnixMillis, now: UnixMillis, oldest: Duration) -> Option<UnixMillis> {
        let millis = i64::try_from(at.as_millis()).ok()?.checked_add(self.0)?;
        let corrected = UnixMillis::from_millis(u64::try_from(millis).ok()?);
        (corrected <= now && now.since(corrected) <= oldest).then_some(corrected)
    }
}

fn signed(at: UnixMillis) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    const fn at(millis: u64) -> UnixMillis {
        UnixMillis::from_millis(millis)
    }

    #[test]
    fn a_clock_that_is_a_day_wrong_is_corrected() {
        let day = 86_400_000;
        let ahead = ClockOffset::measure(at(10 * day), at(11 * day));
        assert_eq!(ahead.correct(at(11 * day + 500), at(10 * day + 600), HOUR), Some(at(10 * day + 500)));
        let behind = ClockOffset::measure(at(10 * day), at(9 * day));
        assert_eq!(behind.correct(at(9 * day + 500), at(10 * day + 600), HOUR), Some(at(10 * day + 500)));
    }

    #[test]
    fn a_moment_in_the_future_or_in_the_far_past_is_not_believed() {
        let none = ClockOffset::default();
        let now = at(10_000_000);
        assert_eq!(none.correct(now, now, HOUR), Some(now));
        assert_eq!(none.correct(at(10_000_001), now, HOUR), None);
        assert_eq!(none.correct(at(6_400_000), now, HOUR), Some(at(6_400_000)));
        assert_eq!(none.correct(at(6_399_999), now, HOUR), None);
        assert_eq!(none.correct(at(u64::MAX), now, HOUR), None);
        assert_eq!(none.fitted(at(u64::MAX), now), none);
        assert_eq!(ClockOffset::measure(at(0), at(u64::MAX)).correct(at(0), now, HOUR), None);
    }

    #[test]
    fn a_hello_that_was_under_way_for_long_is_found_out_by_the_first_sample() {
        let late = ClockOffset::measure(at(10_003_000), at(10_000_000));
        let (taken, now) = (at(10_004_000), at(10_004_010));
        assert_eq!(late.correct(taken, now, HOUR), None);
        let fitted = late.fitted(taken, now);
        assert_eq!(fitted.correct(taken, now, HOUR), Some(now));
        assert_eq!(fitted.correct(at(10_003_000), now, HOUR), Some(at(10_003_010)), "distances stay");
        assert_eq!(fitted.fitted(at(10_003_000), now), fitted);
    }

    #[test]
    fn the_measurement_with_the_least_delay_stands_until_the_clock_is_set() {
        let first = ClockOffset::measure(at(1_100), at(0));
        assert_eq!(first.updated(ClockOffset::measure(at(2_200), at(1_000))), first, "noise");
        let better = ClockOffset::measure(at(2_010), at(1_000));
        assert_eq!(first.updated(better), better);
        let set_back = ClockOffset::measure(at(61_000), at(1_000));
        assert_eq!(first.updated(set_back), set_back);
        let set_ahead = ClockOffset::measure(at(2_000), at(61_000));
        assert_eq!(first.updated(set_ahead), set_ahead);
    }
}
