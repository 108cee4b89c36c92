//! Which holds are written down. Pure.
//!
//! A deployment at rest is looked at several times a second, and nobody wants to read that nothing happened each time.
//! A hold is written down when it is of another kind than the one before, and else from time to time, with the number
//! of those that were not.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::Cause;

/// What makes two holds the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) replicas: u32,
    pub(super) cause: Cause,
    /// Policies that gave no proposal.
    pub(super) failed: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    last: Option<(Kind, UnixMillis)>,
    unwritten: u64,
}

impl Holds {
    /// Whether to write this hold down: then with how many of the same kind were not. Those of a kind that has ended,
    /// less than `every` of them, are not counted for the next one.
    pub(super) fn consider(&mut self, kind: &Kind, now: UnixMillis, every: Duration) -> Option<u64> {
        let same = self.last.as_ref().filter(|(last, _)| last == kind);
        // A clock that was set back must not silence anything for long.
        if same.is_some_and(|(_, at)| *at <= now && now.since(*at) < every) {
            self.unwritten += 1;
            return None;
        }
        let repeats = if same.is_some() { self.unwritten } else { 0 };
        self.unwritten = 0;
        self.last = Some((kind.clone(), now));
        Some(repeats)
    }

    /// Something else than a hold happened.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_written_when_it_is_new_and_from_time_to_time() {
        let every = Duration::from_secs(60);
        let at = |seconds: u64| UnixMillis::from_millis(1_000_000 + seconds * 1_000);
        let quiet = Kind { replicas: 2, cause: Cause::Policies, failed: Vec::new() };
        let stale = Kind { cause: Cause::Guard("freshness"), ..quiet.clone() };
        let mut holds = Holds::default();
        assert_eq!(holds.consider(&quiet, at(0), every), Some(0));
        for second in 1..60 {
            assert_eq!(holds.consider(&quiet, at(second), every), None);
        }
        assert_eq!(holds.consider(&quiet, at(60), every), Some(59));
        assert_eq!(holds.consider(&stale, at(61), every), Some(0));
        assert_eq!(holds.consider(&stale, at(62), every), None);
        assert_eq!(holds.consider(&stale, at(3), every), Some(1), "the clock was set back");
        assert_eq!(holds.consider(&stale, at(4), every), None);
        assert_eq!(holds.consider(&quiet, at(5), every), Some(0), "another kind counts for itself");
        holds.reset();
        assert_eq!(holds.consider(&quiet, at(6), every), Some(0));
    }
}
