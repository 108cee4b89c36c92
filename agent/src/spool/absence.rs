//! An absent control plane, with time as an argument: what is told afterwards is what was seen.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{MetricBatch, Sample};
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use super::{MetricSpool, Reading};

/// A sandbox that serves requests, by its own clock.
struct Sandbox {
    now: UnixMillis,
    spool: MetricSpool,
    capacity: usize,
    requests: u64,
    errors: f64,
    kills: f64,
}

impl Sandbox {
    fn new(capacity: usize) -> Self {
        let spool = MetricSpool::new(1, capacity);
        Self { now: UnixMillis::from_millis(1_000_000), spool, capacity, requests: 0, errors: 0.0, kills: 0.0 }
    }

    /// Takes a sample of the time since the one before.
    fn sample(&mut self, covers: Duration, requests: u32, errors: u32) {
        self.now = self.now.saturating_add(covers);
        let mut sample = Sample::new(self.now);
        sample.set(Metric::Cpu, 50.0);
        sample.set(Metric::CpuLimit, 2.0);
        sample.set(Metric::Requests, f64::from(requests) / covers.as_secs_f64());
        sample.set(Metric::RequestErrors, f64::from(errors) / covers.as_secs_f64());
        sample.set(Metric::OomKills, f64::from(errors % 2));
        sample.custom = vec![("jobs".to_owned(), 7.0)];
        let mut latency = LatencyHistogram::new();
        (0..requests).for_each(|request| latency.record(Duration::from_micros(500 + u64::from(request) * 100)));
        sample.latency = (!latency.is_empty()).then_some(latency);
        self.requests += u64::from(requests);
        self.errors += f64::from(errors);
        self.kills += f64::from(errors % 2);
        self.spool.push(Reading { sample, covers });
        assert!(self.spool.bytes() <= self.capacity, "{} bytes", self.spool.bytes());
    }

    /// The control plane is back: everything that waits, in the order in which it arrives.
    fn replay(&mut self) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.spool.rewind();
        while let Some(batch) = self.spool.next_batch() {
            samples.extend(MetricBatch::clone(&batch).samples);
            self.spool.acknowledge(batch.id);
        }
        samples
    }
}

/// A rate times its time, summed.
fn total(samples: &[Sample], begun: UnixMillis, metric: Metric) -> f64 {
    let mut before = begun;
    let total = samples.iter().map(|sample| {
        let covered = sample.at.since(std::mem::replace(&mut before, sample.at));
        sample.value(metric).unwrap_or(0.0) * covered.as_secs_f64()
    });
    total.sum()
}

fn timed(samples: &[Sample]) -> u64 {
    samples.iter().filter_map(|sample| sample.latency.as_ref()).map(LatencyHistogram::count).sum()
}

#[test]
fn an_hour_alone_at_a_sample_a_second_is_told_whole_within_the_spool() {
    // As much as samples have by default.
    let mut sandbox = Sandbox::new(super::DEFAULT_BYTES / 2);
    let begun = sandbox.now;
    for second in 0..3_600_u32 {
        sandbox.sample(Duration::from_secs(1), 20 + second % 30, second % 3);
    }
    let (requests, errors, now) = (sandbox.requests, sandbox.errors, sandbox.now);
    let samples = sandbox.replay();
    assert!(samples.is_sorted_by(|a, b| a.at < b.at), "in order");
    assert_eq!(samples.last().map(|sample| sample.at), Some(now), "to the newest");
    assert!(samples[0].at.since(begun) <= Duration::from_secs(16), "from the beginning: {}", samples[0].at);
    assert_eq!(timed(&samples), requests, "every response time once");
    assert!((total(&samples, begun, Metric::Requests) - requests as f64).abs() < 1e-3);
    assert!((total(&samples, begun, Metric::RequestErrors) - errors).abs() < 1e-3);
    let fine = samples.iter().rev().take_while(|sample| now.since(sample.at) < Duration::from_secs(300)).count();
    assert_eq!(fine, 300, "the last five minutes at full resolution");
    assert!(sandbox.spool.bytes() == 0 && sandbox.replay().is_empty(), "told once");
}

#[test]
fn a_week_alone_leaves_a_coarse_picture_of_all_of_it() {
    let mut sandbox = Sandbox::new(256 * 1024);
    let begun = sandbox.now;
    let minutes = 7 * 24 * 60;
    (0..minutes).for_each(|_| sandbox.sample(Duration::from_secs(60), 2, 1));
    let requests = sandbox.requests;
    let samples = sandbox.replay();
    assert!(samples.len() > 50, "{}", samples.len());
    assert!(samples[0].at.since(begun) < Duration::from_secs(24 * 3600));
    assert_eq!(timed(&samples), requests);
    assert!(samples.iter().all(|sample| sample.value(Metric::CpuLimit) == Some(2.0)));
}

#[derive(Debug, Clone)]
enum Step {
    Sample {
        millis: u64,
        requests: u32,
        errors: u32,
    },
    /// Connected for one batch, which may not be acknowledged.
    Send {
        acknowledged: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sample = (100_u64..5_000, 0_u32..30, 0_u32..5).prop_map(|(millis, requests, errors)| Step::Sample {
        millis,
        requests,
        errors,
    });
    let step = prop_oneof![8 => sample, 1 => any::<bool>().prop_map(|acknowledged| Step::Send { acknowledged })];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn whatever_the_intervals_totals_stay_and_nothing_is_told_twice(steps in steps(), capacity in 16_usize..200) {
        let mut sandbox = Sandbox::new(capacity * 1024);
        let begun = sandbox.now;
        let mut told = Vec::new();
        for step in steps {
            match step {
                Step::Sample { millis, requests, errors } => {
                    sandbox.sample(Duration::from_millis(millis), requests, errors);
                }
                Step::Send { acknowledged } => {
                    sandbox.spool.rewind();
                    if let Some(batch) = sandbox.spool.next_batch() && acknowledged {
                        told.extend(MetricBatch::clone(&batch).samples);
                        sandbox.spool.acknowledge(batch.id);
                    }
                }
            }
        }
        told.extend(sandbox.replay());
        prop_assert!(told.is_sorted_by(|a, b| a.at < b.at));
        prop_assert_eq!(timed(&told), sandbox.requests);
        let close = |metric, expected: f64| (total(&told, begun, metric) - expected).abs() < 1e-6 * (1.0 + expected);
        prop_assert!(close(Metric::Requests, sandbox.requests as f64));
        prop_assert!(close(Metric::RequestErrors, sandbox.errors));
        let kills: f64 = told.iter().filter_map(|sample| sample.value(Metric::OomKills)).sum();
        prop_assert!((kills - sandbox.kills).abs() < 1e-6);
        prop_assert!(told.iter().all(|sample| (sample.value(Metric::Cpu).unwrap() - 50.0).abs() < 1e-6));
    }
}
