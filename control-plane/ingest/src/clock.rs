//! An agent's clock against this machine's. Pure.
//!
//! Samples are stamped by the sandbox, whose clock may be wrong by days. The difference is measured when the agent
//! says hello and again with every heartbeat; samples are moved by it and must then lie in a believable past.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

/// How far the agent's clock is behind (positive) or ahead (negative) of the server's, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClockOffset(i64);

/// Jitter of the network and of two schedulers: a smaller difference between two measurements means nothing.
const NOISE: Duration = Duration::from_millis(250);

impl ClockOffset {
    /// The offset of a peer that says it is `theirs` when it is `ours` here.
    #[must_use]
    pub(crate) fn measure(ours: UnixMillis, theirs: UnixMillis) -> Self {
        let ours = i64::try_from(ours.as_millis()).unwrap_or(i64::MAX);
        let theirs = i64::try_from(theirs.as_millis()).unwrap_or(i64::MAX);
        Self(ours.saturating_sub(theirs))
    }

    /// This offset, or the newer one when it differs by more than noise: the agent's clock was set.
    #[must_use]
    pub(crate) fn updated(self, newer: Self) -> Self {
        let noise = i64::try_from(NOISE.as_millis()).unwrap_or(i64::MAX);
        if newer.0.saturating_sub(self.0).saturating_abs() > noise { newer } else { self }
    }

    /// A moment of the agent's in the server's time, or `None` when it is not believable: older than `oldest`, or
    /// after `now` by more than the noise. Within the noise it is `now`, so that nothing is fresher than the present.
    #[must_use]
    pub(crate) fn correct(self, at: UnixMillis, now: UnixMillis, oldest: Duration) -> Option<UnixMillis> {
        let millis = i64::try_from(at.as_millis()).ok()?.checked_add(self.0)?;
        let corrected = UnixMillis::from_millis(u64::try_from(millis).ok()?);
        let believable = corrected <= now.saturating_add(NOISE) && now.since(corrected) <= oldest;
        believable.then_some(corrected.min(now))
    }
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
        assert_eq!(none.correct(at(10_000_251), now, HOUR), None);
        assert_eq!(none.correct(at(10_000_200), now, HOUR), Some(now));
        assert_eq!(none.correct(at(6_400_000), now, HOUR), Some(at(6_400_000)));
        assert_eq!(none.correct(at(6_399_999), now, HOUR), None);
        assert_eq!(none.correct(at(u64::MAX), now, HOUR), None);
        assert_eq!(ClockOffset::measure(at(0), at(u64::MAX)).correct(at(0), now, HOUR), None);
    }

    #[test]
    fn noise_does_not_move_the_offset_and_a_set_clock_does() {
        let first = ClockOffset::measure(at(1_000), at(0));
        assert_eq!(first.updated(ClockOffset::measure(at(2_100), at(1_000))), first);
        let set = ClockOffset::measure(at(2_000), at(61_000));
        assert_eq!(first.updated(set), set);
    }
}
