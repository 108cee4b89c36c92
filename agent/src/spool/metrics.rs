//! Samples on their way to the control plane: older ones are thinned out to make room.

use std::collections::VecDeque;
use std::time::Duration;

use outrigger_protocol::limits::{CUSTOM_METRICS_PER_SAMPLE, METRICS_BYTES, SAMPLES_PER_BATCH};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};

use super::bounded::{Goods, Spool};
use super::thin::{Weighted, thin};

/// Kept in memory for a response time histogram, at the most.
const HISTOGRAM_BYTES: usize = 1024;

/// A bounded spool of samples; see the [module's head](super).
pub type MetricSpool = Spool<Samples>;

/// A sample and the time that it is about: since the one before it, by a clock that nobody sets.
#[derive(Debug)]
pub struct Reading {
    pub sample: Sample,
    pub covers: Duration,
}

/// Samples as they are spooled.
#[derive(Debug)]
pub struct Samples;

impl Goods for Samples {
    type Item = Reading;
    type Waiting = Weighted;
    type Batch = MetricBatch;

    const BATCH_ITEMS: usize = SAMPLES_PER_BATCH;
    /// The frame of a batch is smaller than what it takes in memory (a value of 16 bytes travels as at most 11); half of
    /// the lane's limit leaves room for the rest of the frame.
    const BATCH_BYTES: usize = METRICS_BYTES as usize / 2;
    const COUNT_TRAVELS_ALONE: bool = false;

    fn admit(mut reading: Reading) -> Weighted {
        // The receiver refuses a sample that holds more.
        reading.sample.custom.truncate(CUSTOM_METRICS_PER_SAMPLE);
        Weighted::new(reading)
    }

    fn size(waiting: &Weighted) -> usize {
        // What is beside the sample is a few bytes.
        size_of::<Weighted>() - size_of::<Sample>() + size_of_sample(&waiting.sample)
    }

    /// Thins out; drops what is left when there is nothing to thin out.
    fn make_room(queue: &mut VecDeque<Weighted>, _: usize) -> usize {
        if queue.len() < 2 {
            queue.clear();
        } else {
            thin(queue);
        }
        for waiting in &mut *queue {
            waiting.sample.custom.truncate(CUSTOM_METRICS_PER_SAMPLE);
        }
        queue.iter().map(Self::size).sum()
    }

    fn pack(id: BatchId, items: impl Iterator<Item = Weighted>, dropped: u64) -> MetricBatch {
        MetricBatch { id, samples: items.map(|waiting| waiting.sample).collect(), dropped }
    }
}

fn size_of_sample(sample: &Sample) -> usize {
    let custom: usize = sample.custom.iter().map(|(name, _)| size_of::<(String, f64)>() + name.len()).sum();
    size_of::<Sample>()
        + sample.values.capacity() * size_of::<(Metric, f64)>()
        + custom
        + sample.latency.as_ref().map_or(0, |_| HISTOGRAM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Acknowledged;
    use outrigger_protocol::time::UnixMillis;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    fn sample(at: u64) -> Sample {
        let mut sample = Sample::new(UnixMillis::from_millis(at));
        sample.set(Metric::Cpu, at as f64);
        sample
    }

    fn reading(at: u64) -> Reading {
        Reading { sample: sample(at), covers: Duration::from_millis(1) }
    }

    fn times(batch: &MetricBatch) -> Vec<u64> {
        batch.samples.iter().map(|sample| sample.at.as_millis()).collect()
    }

    #[test]
    fn a_full_spool_keeps_the_newest_fine_and_the_oldest_coarse() {
        let mut spool = MetricSpool::new(1, 64 * 1024);
        for at in 1..=10_000 {
            spool.push(reading(at));
        }
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        while let Some(batch) = spool.next_batch() {
            kept.extend(times(&batch));
            dropped.push(batch.dropped);
            spool.acknowledge(batch.id);
        }
        let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(kept.is_sorted() && kept.last() == Some(&10_000));
        assert!(gaps[0] > 8, "{gaps:?}");
        assert!(gaps.iter().rev().take(kept.len() / 8).all(|gap| *gap == 1), "{gaps:?}");
        assert!(gaps.windows(2).all(|pair| pair[0] >= pair[1]), "coarse before fine: {gaps:?}");
        assert!(kept[0] < 200, "the beginning is still there: {}", kept[0]);
        assert_eq!(dropped[0] + kept.len() as u64, 10_000);
        assert!(dropped[1..].iter().all(|dropped| *dropped == 0), "told once");
        assert_eq!(spool.dropped(), dropped[0]);
    }

    #[test]
    fn a_spool_too_small_for_one_sample_drops_and_counts_it() {
        let mut spool = MetricSpool::new(1, 16);
        spool.push(reading(1));
        assert_eq!((spool.unsent(), spool.bytes(), spool.dropped()), (0, 0, 1));
    }

    #[test]
    fn a_batch_stays_below_the_lanes_limit() {
        let mut spool = MetricSpool::new(1, 8 << 20);
        for at in 0..2_000 {
            let mut sample = sample(at);
            sample.custom = (0..200).map(|i| (format!("{i:0>128}"), 1.0)).collect();
            spool.push(Reading { sample, covers: Duration::from_secs(1) });
        }
        let batch = spool.next_batch().unwrap();
        assert!(batch.samples.iter().map(size_of_sample).sum::<usize>() <= Samples::BATCH_BYTES);
        assert!(batch.samples.iter().all(|sample| sample.custom.len() <= CUSTOM_METRICS_PER_SAMPLE));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Next,
        Acknowledge(u64),
        Rewind,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1_usize..60).prop_map(Step::Push),
            4 => Just(Step::Next),
            2 => (0_u64..40).prop_map(Step::Acknowledge),
            1 => Just(Step::Rewind),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn every_promise_holds_under_any_order_of_events(steps in steps(), capacity in 2_000_usize..20_000) {
            let mut spool = MetricSpool::new(3, capacity);
            let mut seen: HashMap<u64, Arc<MetricBatch>> = HashMap::new();
            let (mut pushed, mut newest, mut acknowledged, mut expected) = (0, 0, 0, 1);
            let mut reported = 0;
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        pushed += 1;
                        spool.push(reading(pushed));
                    },
                    Step::Next => if let Some(batch) = spool.next_batch() {
                        let seq = batch.id.seq;
                        prop_assert!(seq > acknowledged, "acknowledged and sent again");
                        prop_assert_eq!(seq, expected, "out of order");
                        expected += 1;
                        prop_assert!(!batch.samples.is_empty() && batch.samples.len() <= SAMPLES_PER_BATCH);
                        if let Some(before) = seen.get(&seq) {
                            prop_assert_eq!(before, &batch, "an id with two contents");
                        } else {
                            reported += batch.dropped;
                            for at in times(&batch) {
                                prop_assert!(at > newest, "samples out of order");
                                newest = at;
                            }
                            seen.insert(seq, batch);
                        }
                    },
                    Step::Acknowledge(seq) => {
                        let was = spool.acknowledge(BatchId { epoch: 3, seq });
                        if was != Acknowledged::Foreign {
                            acknowledged = acknowledged.max(seq);
                            expected = expected.max(acknowledged + 1);
                        }
                    }
                    Step::Rewind => {
                        spool.rewind();
                        expected = acknowledged + 1;
                    }
                }
                prop_assert!(spool.bytes() <= capacity);
                let held: u64 = seen.values().map(|batch| batch.samples.len() as u64).sum();
                prop_assert_eq!(held + spool.unsent() as u64 + spool.dropped(), pushed, "every sample accounted for");
                prop_assert!(reported <= spool.dropped());
            }
        }
    }
}
