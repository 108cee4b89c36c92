//! What a deployment has served lately, for a rollout to compare with.

use std::collections::VecDeque;

use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Span, Traffic};

/// Traffic is kept in pieces of this length, in milliseconds, and forgotten by the piece.
const PIECE_MS: u64 = 10_000;
/// Two minutes: as long as the bake time of a deployment that says nothing else.
const PIECES: usize = 12;

/// The requests of the last two minutes.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// By their number since 1970, oldest first.
    pieces: VecDeque<(u64, Traffic)>,
}

impl Baseline {
    pub(super) fn add(&mut self, span: &Span) {
        let piece = number(span.until);
        match self.pieces.back_mut() {
            Some((newest, traffic)) if *newest >= piece => merge(traffic, &span.traffic),
            _ => {
                if self.pieces.len() == PIECES {
                    self.pieces.pop_front();
                }
                self.pieces.push_back((piece, span.traffic.clone()));
            }
        }
    }

    /// All of it, if there were requests.
    pub(super) fn read(&self, now: UnixMillis) -> Option<Traffic> {
        let oldest = number(now).saturating_sub(PIECES as u64);
        let recent = self.pieces.iter().filter(|(piece, _)| *piece > oldest);
        let mut all = Traffic::default();
        recent.for_each(|(_, traffic)| merge(&mut all, traffic));
        (all.requests > 0).then_some(all)
    }
}

fn number(at: UnixMillis) -> u64 {
    at.as_millis() / PIECE_MS
}

fn merge(into: &mut Traffic, other: &Traffic) {
    into.requests = into.requests.saturating_add(other.requests);
    into.errors = into.errors.saturating_add(other.errors);
    into.latency.merge(&other.latency);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(second: u64, requests: u64) -> Span {
        let at = |second: u64| UnixMillis::from_millis(second * 1_000);
        let traffic = Traffic { requests, errors: 1, ..Traffic::default() };
        Span { since: at(second.saturating_sub(1)), until: at(second), traffic }
    }

    #[test]
    fn two_minutes_are_kept_and_no_more() {
        let mut baseline = Baseline::default();
        let now = |second: u64| UnixMillis::from_millis(second * 1_000);
        assert_eq!(baseline.read(now(0)), None);
        for second in 1_000..1_200 {
            baseline.add(&span(second, 10));
        }
        let read = baseline.read(now(1_200)).expect("there were requests");
        assert_eq!((read.requests, read.errors), (1_100, 110), "eleven whole pieces, and the new one is empty");
        assert_eq!(baseline.read(now(1_400)), None, "nobody asks for what was long ago");
        assert!(baseline.pieces.len() <= PIECES);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let mut baseline = Baseline::default();
        baseline.add(&span(2_000, 5));
        baseline.add(&span(1_000, 5));
        assert_eq!(baseline.read(UnixMillis::from_millis(2_000_000)).map(|read| read.requests), Some(10));
    }
}
