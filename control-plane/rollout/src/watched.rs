//! Time that somebody watched.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

/// Between two looks, at most this much is counted.
pub const LONGEST_STEP: Duration = Duration::from_secs(5);
/// How often somebody has to look for no time to be lost.
pub const LOOK: Duration = Duration::from_secs(1);

/// Time as a rollout counts it: what passed while it was watched.
///
/// A bake time says "nothing bad was seen for ten minutes". Ten minutes in which the control plane was down, or that
/// exist only because the clock was set forward, say nothing; so a step counts [`LONGEST_STEP`] at most. A clock that
/// is set back counts nothing, and then goes on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// When somebody looked last.
    pub last: UnixMillis,
    /// What was counted since the beginning.
    pub elapsed: Duration,
}

impl Watched {
    pub(crate) const fn new(now: UnixMillis) -> Self {
        Self { last: now, elapsed: Duration::ZERO }
    }

    /// Somebody looks; returns what is counted for it.
    pub(crate) fn look(&mut self, now: UnixMillis) -> Duration {
        let step = now.since(self.last).min(LONGEST_STEP);
        self.last = now;
        self.elapsed = self.elapsed.saturating_add(step);
        step
    }

    /// For how long something has been so.
    pub(crate) const fn since(&self, moment: Duration) -> Duration {
        self.elapsed.saturating_sub(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> UnixMillis {
        UnixMillis::from_millis(seconds * 1_000)
    }

    #[test]
    fn gaps_and_jumps_do_not_count() {
        let mut watched = Watched::new(at(100));
        watched.look(at(101));
        watched.look(at(103));
        assert_eq!(watched.elapsed, Duration::from_secs(3));
        watched.look(at(3_600));
        assert_eq!(watched.elapsed, Duration::from_secs(3) + LONGEST_STEP);
        let before = watched.elapsed;
        watched.look(at(50));
        assert_eq!(watched.elapsed, before, "set back");
        watched.look(at(51));
        assert_eq!(watched.since(before), Duration::from_secs(1), "and goes on");
    }
}
