//! Requests as counts, from samples that carry rates. Pure.
//!
//! A sample says of the time since the one before it how many requests arrived per second, how many failed per second, and
//! how long those took that were done. What is told here is about requests that are done with, because failures are found
//! out then: a program that hangs has no requests here, and not requests without a failure.
//!
//! How exact that is:
//!
//! - **Requests** are the durations in the histogram, which are counted one by one: exact. An answer that breaks off has
//!   failed and has no duration, so there are never fewer requests than failures. An answer of class 5xx fails with its
//!   head and is timed with its end: when a sample falls between the two and has nothing else in it, that request is told
//!   twice, once as failed.
//! - **Failures** are their rate times the time that the sample covers. The agent divides by a monotonic clock and stamps
//!   with one that shows milliseconds, so at one sample a second that is exact up to some two hundred failures in a sample,
//!   and within about 0.2 % beyond.
//! - **The time** that a sample covers begins with the sample before it. Samples that the agent has folded into one, after
//!   an outage, cover the time of all of them. Where the sample before is not known (another process of the agent, batches
//!   that were dropped, the first one that this server hears), the deployment's interval is taken for it.
//!
//! What must never be true: a request of a batch that is sent again is counted again (only batches that are new come here),
//! or two spans of one instance overlap.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, Sample};
use outrigger_protocol::time::UnixMillis;

/// What an instance served between two moments of this server's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) since: UnixMillis,
    pub(crate) until: UnixMillis,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) latency: LatencyHistogram,
}

/// Where the samples of one instance have got to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    /// The newest batch, and when its last sample was taken by the agent's clock.
    newest: Option<(BatchId, UnixMillis)>,
    /// The end of the last span, by the server's clock.
    until: UnixMillis,
}

impl Meter {
    /// What the samples of a batch that counts say was served, if anything was. `correct` says when something was by the
    /// server's clock, or that it is not believable.
    pub(crate) fn count(
        &mut self,
        id: BatchId,
        samples: &[Sample],
        interval: Duration,
        now: UnixMillis,
        correct: impl Fn(UnixMillis) -> Option<UnixMillis>,
    ) -> Option<Served> {
        let follows =
            |(newest, _): &(BatchId, UnixMillis)| newest.epoch == id.epoch && newest.seq.checked_add(1) == Some(id.seq);
        let mut before = self.newest.filter(follows).map(|(_, at)| at);
        let mut served: Option<Served> = None;
        for sample in samples {
            let Some(until) = correct(sample.at) else { continue };
            let covered = covered(sample, before.replace(sample.at), interval);
            let since = until.saturating_sub(covered);
            let served = served.get_or_insert_with(|| Served::nothing(since, until));
            served.since = served.since.min(since);
            served.until = served.until.max(until);
            served.add(sample, covered);
        }
        self.newest = before.map(|at| (id, at));
        self.place(served?, now)
    }

    /// Puts a span behind the last one. Small differences come from one measurement of the agent's clock to the next.
    fn place(&mut self, mut served: Served, now: UnixMillis) -> Option<Served> {
        if self.until > now {
            // The server's clock was set back.
            self.until = UnixMillis::EPOCH;
        }
        served.since = served.since.max(self.until);
        if served.since >= served.until {
            return None;
        }
        self.until = served.until;
        (served.requests > 0).then_some(served)
    }
}

impl Served {
    fn nothing(since: UnixMillis, until: UnixMillis) -> Self {
        Self { since, until, requests: 0, errors: 0, latency: LatencyHistogram::new() }
    }

    fn add(&mut self, sample: &Sample, covered: Duration) {
        let errors = whole(sample.value(Metric::RequestErrors).unwrap_or(0.0) * covered.as_secs_f64());
        let timed = sample.latency.as_ref().map_or(0, LatencyHistogram::count);
        self.requests = self.requests.saturating_add(timed.max(errors));
        self.errors = self.errors.saturating_add(errors);
        if let Some(latency) = &sample.latency {
            self.latency.merge(latency);
        }
    }
}

/// The time that a sample is about.
fn covered(sample: &Sample, before: Option<UnixMillis>, interval: Duration) -> Duration {
    let Some(gap) = before.map(|before| sample.at.since(before)).filter(|gap| !gap.is_zero()) else { return interval };
    if gap <= interval.saturating_add(interval / 2) {
        return gap;
    }
    // Something was folded, was lost, or the sandbox's clock was set. Of what was folded the histogram has all: about as
    // many requests are done with as arrive.
    let arriving = sample.value(Metric::Requests).unwrap_or(0.0);
    let timed = sample.latency.as_ref().map_or(0, LatencyHistogram::count);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let estimate = Duration::try_from_secs_f64(timed as f64 / arriving).unwrap_or(interval);
    estimate.clamp(interval, gap)
}

/// Nothing for what is not a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and NaN is 0")]
fn whole(count: f64) -> u64 {
    count.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::busy_sample;

    const SECOND: Duration = Duration::from_secs(1);
    /// By which the agent's clock is behind.
    const BEHIND: u64 = 100_000;
    const NOW: UnixMillis = UnixMillis::from_millis(BEHIND + 1_000_000);

    const fn at(millis: u64) -> UnixMillis {
        UnixMillis::from_millis(millis)
    }

    const fn batch(epoch: u64, seq: u64) -> BatchId {
        BatchId { epoch, seq }
    }

    fn sample(millis: u64, elapsed: u64, requests: u32, errors: u32) -> Sample {
        busy_sample(at(millis), Duration::from_millis(elapsed), requests, errors, Duration::from_millis(20))
    }

    fn count(meter: &mut Meter, id: BatchId, samples: &[Sample]) -> Option<Served> {
        meter.count(id, samples, SECOND, NOW, |at| Some(at.saturating_add(Duration::from_millis(BEHIND))))
    }

    /// Since and until by the agent's clock, requests, errors.
    fn told(served: Option<Served>) -> Option<(u64, u64, u64, u64)> {
        let served = served?;
        assert_eq!(served.latency.count(), served.requests);
        let agents = |at: UnixMillis| at.as_millis() - BEHIND;
        Some((agents(served.since), agents(served.until), served.requests, served.errors))
    }

    #[test]
    fn batch_after_batch_is_counted_exactly_and_without_overlap() {
        let mut meter = Meter::default();
        let mut expected_since = 4_000;
        for (seq, (millis, requests, errors)) in
            [(5_000, 100, 3), (6_003, 117, 0), (7_001, 9, 9), (8_000, 1_000, 333)].into_iter().enumerate()
        {
            let id = batch(7, 1 + seq as u64);
            let served = count(&mut meter, id, &[sample(millis, millis - expected_since, requests, errors)]);
            assert_eq!(told(served), Some((expected_since, millis, requests.into(), errors.into())));
            expected_since = millis;
        }
    }

    #[test]
    fn a_batch_of_many_samples_is_one_span() {
        let samples: Vec<_> = (1..=10).map(|second| sample(second * 1_000, 1_000, 10, 1)).collect();
        assert_eq!(told(count(&mut Meter::default(), batch(7, 1), &samples)), Some((0, 10_000, 100, 10)));
    }

    #[test]
    fn nothing_is_told_where_nothing_was_served() {
        let mut meter = Meter::default();
        assert_eq!(count(&mut meter, batch(7, 1), &[]), None);
        assert_eq!(count(&mut meter, batch(7, 2), &[sample(5_000, 1_000, 0, 0)]), None);
        let mut hanging = sample(6_000, 1_000, 50, 0);
        hanging.latency = None;
        assert_eq!(count(&mut meter, batch(7, 3), &[hanging]), None, "they arrive, and none is done with");
        let served = count(&mut meter, batch(7, 4), &[sample(7_000, 1_000, 5, 0)]);
        assert_eq!(told(served), Some((6_000, 7_000, 5, 0)));
    }

    #[test]
    fn an_answer_that_breaks_off_is_a_request_that_failed() {
        let broken = sample(5_000, 1_000, 4, 6);
        let served = count(&mut Meter::default(), batch(7, 1), &[broken]).unwrap();
        assert_eq!((served.requests, served.errors, served.latency.count()), (6, 6, 4));
    }

    #[test]
    fn folded_samples_cover_the_time_of_all_of_them() {
        let mut meter = Meter::default();
        count(&mut meter, batch(7, 1), &[sample(5_000, 1_000, 10, 0)]);
        let served = count(&mut meter, batch(7, 2), &[sample(13_000, 8_000, 80, 8), sample(14_000, 1_000, 10, 1)]);
        assert_eq!(told(served), Some((5_000, 14_000, 90, 9)));
    }

    #[test]
    fn after_a_hole_a_sample_covers_its_interval() {
        let first = [sample(5_000, 1_000, 10, 0)];
        let after = [sample(65_000, 1_000, 10, 5)];
        for id in [batch(8, 1), batch(7, 9), batch(7, 2)] {
            let mut meter = Meter::default();
            count(&mut meter, batch(7, 1), &first);
            assert_eq!(told(count(&mut meter, id, &after)), Some((64_000, 65_000, 10, 5)), "{id:?}");
        }
    }

    #[test]
    fn spans_never_overlap_whatever_the_clocks_do() {
        let mut meter = Meter::default();
        count(&mut meter, batch(7, 1), &[sample(5_000, 1_000, 10, 0)]);
        // Measured anew, the agent's clock is less behind.
        let correct = |at: UnixMillis| Some(at.saturating_add(Duration::from_millis(BEHIND - 300)));
        let served = meter.count(batch(7, 2), &[sample(6_000, 1_000, 10, 1)], SECOND, NOW, correct).unwrap();
        assert_eq!((served.since, served.until), (at(BEHIND + 5_000), at(BEHIND + 5_700)));
        assert_eq!((served.requests, served.errors), (10, 1));
        let set_back = count(&mut meter, batch(7, 3), &[sample(2_000, 1_000, 10, 1)]);
        assert_eq!(set_back, None);
        let served = count(&mut meter, batch(7, 4), &[sample(7_000, 1_000, 10, 1)]).unwrap();
        assert_eq!(served.since, at(BEHIND + 6_000));
    }

    #[test]
    fn when_the_servers_clock_is_set_back_counting_goes_on() {
        let mut meter = Meter::default();
        let count =
            |meter: &mut Meter, seq, now| meter.count(batch(7, seq), &[sample(5_000, 1_000, 10, 0)], SECOND, now, Some);
        assert!(count(&mut meter, 1, at(5_000)).is_some());
        assert!(count(&mut meter, 2, at(5_500)).is_none());
        assert!(count(&mut meter, 3, at(4_999)).is_some());
    }

    #[test]
    fn lies_are_bounded() {
        let mut liar = Sample::new(at(u64::MAX));
        liar.set(Metric::Requests, -1.0);
        liar.set(Metric::RequestErrors, f64::MAX);
        let mut meter = Meter::default();
        let served = meter.count(batch(u64::MAX, u64::MAX), &[liar.clone(), liar], Duration::MAX, NOW, Some).unwrap();
        assert_eq!((served.requests, served.errors), (u64::MAX, u64::MAX));
        let negative = Sample { values: vec![(Metric::RequestErrors, -5.0)], ..sample(5_000, 1_000, 3, 0) };
        let served = count(&mut Meter::default(), batch(7, 1), &[negative]);
        assert_eq!(served.map(|served| (served.requests, served.errors)), Some((3, 0)));
        let unbelievable = |_| None;
        assert_eq!(meter.count(batch(1, 1), &[sample(1, 1_000, 5, 5)], SECOND, NOW, unbelievable), None);
    }
}
