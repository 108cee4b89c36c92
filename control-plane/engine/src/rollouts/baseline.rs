//! What a deployment has served lately, for a rollout to compare with.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::Traffic;

/// Traffic is kept in pieces of this length, in milliseconds, and forgotten by the piece.
const PIECE_MS: u64 = 10_000;
/// Two minutes: as long as the bake time of a deployment that says nothing else.
const PIECES: usize = 12;

/// What one instance has served, as ingest tells everybody who listens.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) latency: Arc<LatencyHistogram>,
}

/// The requests of the last two minutes.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// By their number since 1970, oldest first.
    pieces: VecDeque<(u64, Traffic)>,
}

impl Baseline {
    pub(super) fn add(&mut self, until: UnixMillis, served: &Served) {
        let piece = number(until);
        if self.pieces.back().is_none_or(|(newest, _)| *newest < piece) {
            if self.pieces.len() == PIECES {
                self.pieces.pop_front();
            }
            self.pieces.push_back((piece, Traffic::default()));
        }
        if let Some((_, traffic)) = self.pieces.back_mut() {
            merge(traffic, served.requests, served.errors, &served.latency);
        }
    }

    /// All of it, if there were requests.
    pub(super) fn read(&self, now: UnixMillis) -> Option<Traffic> {
        let oldest = number(now).saturating_sub(PIECES as u64);
        let recent = self.pieces.iter().filter(|(piece, _)| *piece > oldest);
        let mut all = Traffic::default();
        recent.for_each(|(_, piece)| merge(&mut all, piece.requests, piece.errors, &piece.latency));
        (all.requests > 0).then_some(all)
    }
}

fn number(at: UnixMillis) -> u64 {
    at.as_millis() / PIECE_MS
}

fn merge(into: &mut Traffic, requests: u64, errors: u64, latency: &LatencyHistogram) {
    into.requests = into.requests.saturating_add(requests);
    into.errors = into.errors.saturating_add(errors);
    into.latency.merge(latency);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: u64) -> UnixMillis {
        UnixMillis::from_millis(second * 1_000)
    }

    fn served(requests: u64) -> Served {
        Served { requests, errors: 1, latency: Arc::default() }
    }

    #[test]
    fn two_minutes_are_kept_and_no_more() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.read(at(0)), None);
        for second in 1_000..1_200 {
            baseline.add(at(second), &served(10));
        }
        let read = baseline.read(at(1_200)).expect("there were requests");
        assert_eq!((read.requests, read.errors), (1_100, 110), "eleven whole pieces, and the new one is empty");
        assert_eq!(baseline.read(at(1_400)), None, "nobody asks for what was long ago");
        assert!(baseline.pieces.len() <= PIECES);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let mut baseline = Baseline::default();
        baseline.add(at(2_000), &served(5));
        baseline.add(at(1_000), &served(5));
        assert_eq!(baseline.read(at(2_000)).map(|read| read.requests), Some(10));
    }
}
