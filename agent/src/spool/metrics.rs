//! Samples on their way to the control plane.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::limits::{CUSTOM_METRICS_PER_SAMPLE, METRICS_BYTES, SAMPLES_PER_BATCH};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};

use super::thin::{Weighted, thin};
use super::window::{Acknowledged, Window};

/// Held bytes of one batch. The frame of a batch is smaller than what it takes in memory (a value of 16 bytes travels
/// as at most 11); half of the lane's limit leaves room for the rest of the frame.
const BATCH_BYTES: usize = METRICS_BYTES as usize / 2;
/// Kept in memory for a response time histogram, at the most.
const HISTOGRAM_BYTES: usize = 1024;

/// A bounded spool of samples; see the [module's head](super).
#[derive(Debug)]
pub struct MetricSpool {
    capacity: usize,
    window: Window<MetricBatch>,
    unsent: VecDeque<Weighted>,
    unsent_bytes: usize,
    /// Dropped since the last batch was cut.
    untold: u64,
    dropped: u64,
}

impl MetricSpool {
    /// `epoch` is drawn at the start of the agent's process; `capacity` is in bytes.
    #[must_use]
    pub fn new(epoch: u64, capacity: usize) -> Self {
        Self { capacity, window: Window::new(epoch), unsent: VecDeque::new(), unsent_bytes: 0, untold: 0, dropped: 0 }
    }

    /// Takes a sample. When there is no room, older unsent samples are thinned out first.
    pub fn push(&mut self, mut sample: Sample) {
        // The receiver refuses a sample that holds more.
        sample.custom.truncate(CUSTOM_METRICS_PER_SAMPLE);
        self.unsent_bytes += size_of_sample(&sample);
        self.unsent.push_back(Weighted { sample, weight: 1 });
        while self.bytes() > self.capacity && !self.unsent.is_empty() {
            self.make_room();
        }
    }

    /// The next batch to send: first those to be sent again, then a new one of unsent samples. `None` when nothing
    /// waits, or when as much as may be is unacknowledged.
    pub fn next_batch(&mut self) -> Option<Arc<MetricBatch>> {
        if let Some(batch) = self.window.next() {
            return Some(batch);
        }
        if self.unsent.is_empty() || !self.window.has_room(self.capacity / 4) {
            return None;
        }
        let (mut count, mut bytes) = (0, 0);
        for entry in self.unsent.iter().take(SAMPLES_PER_BATCH) {
            let size = size_of_sample(&entry.sample);
            if count > 0 && bytes + size > BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += size;
        }
        let samples = self.unsent.drain(..count).map(|entry| entry.sample).collect();
        self.unsent_bytes -= bytes;
        let dropped = std::mem::take(&mut self.untold);
        Some(self.window.cut(bytes, |id| MetricBatch { id, samples, dropped }))
    }

    /// Everything up to `id` is safe with the server.
    pub fn acknowledge(&mut self, id: BatchId) -> Acknowledged {
        self.window.acknowledge(id)
    }

    /// After a reconnect: whatever was not acknowledged is sent again, under its id and as it was.
    pub fn rewind(&mut self) {
        self.window.rewind();
    }

    /// Samples that are in no batch yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Batches that were cut and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// Whether batches wait to be sent again.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.window.is_behind()
    }

    /// Bytes held, sent and unsent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.window.bytes() + self.unsent_bytes
    }

    /// Samples dropped since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Thins out; drops what is left when there is nothing to thin out.
    fn make_room(&mut self) {
        let gone = if self.unsent.len() < 2 { self.unsent.drain(..).count() } else { thin(&mut self.unsent) };
        self.count_dropped(gone as u64);
        for entry in &mut self.unsent {
            entry.sample.custom.truncate(CUSTOM_METRICS_PER_SAMPLE);
        }
        self.unsent_bytes = self.unsent.iter().map(|entry| size_of_sample(&entry.sample)).sum();
    }

    fn count_dropped(&mut self, samples: u64) {
        self.untold = self.untold.saturating_add(samples);
        self.dropped = self.dropped.saturating_add(samples);
    }
}

/// What a sample takes in memory, and an upper bound of what it takes in a frame.
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
    use outrigger_protocol::time::UnixMillis;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn sample(at: u64) -> Sample {
        let mut sample = Sample::new(UnixMillis::from_millis(at));
        sample.set(Metric::Cpu, at as f64);
        sample
    }

    fn times(batch: &MetricBatch) -> Vec<u64> {
        batch.samples.iter().map(|sample| sample.at.as_millis()).collect()
    }

    #[test]
    fn batches_are_numbered_from_one_in_the_epoch() {
        let mut spool = MetricSpool::new(7, 1 << 20);
        assert!(spool.next_batch().is_none());
        spool.push(sample(1));
        assert_eq!(spool.next_batch().unwrap().id, BatchId { epoch: 7, seq: 1 });
        assert!(spool.next_batch().is_none());
        spool.push(sample(2));
        spool.push(sample(3));
        let second = spool.next_batch().unwrap();
        assert_eq!((second.id.seq, times(&second)), (2, vec![2, 3]));
    }

    #[test]
    fn after_a_rewind_the_unacknowledged_come_again_before_anything_new() {
        let mut spool = MetricSpool::new(1, 1 << 20);
        let sent: Vec<_> = (1..=3)
            .map(|at| {
                spool.push(sample(at));
                spool.next_batch().unwrap()
            })
            .collect();
        assert_eq!(spool.acknowledge(sent[0].id), Acknowledged::Forgotten(1));
        spool.push(sample(4));
        spool.rewind();
        assert!(spool.is_behind());
        assert_eq!(spool.next_batch().as_ref(), Some(&sent[1]));
        assert_eq!(spool.acknowledge(sent[1].id), Acknowledged::Forgotten(1));
        assert_eq!(spool.next_batch().as_ref(), Some(&sent[2]));
        assert_eq!(times(&spool.next_batch().unwrap()), [4]);
    }

    #[test]
    fn a_late_acknowledgement_spares_sending_again() {
        let mut spool = MetricSpool::new(1, 1 << 20);
        spool.push(sample(1));
        let id = spool.next_batch().unwrap().id;
        spool.rewind();
        spool.acknowledge(id);
        assert!(spool.next_batch().is_none() && !spool.is_behind());
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_forgets_nothing() {
        let mut spool = MetricSpool::new(1, 1 << 20);
        spool.push(sample(1));
        let id = spool.next_batch().unwrap().id;
        assert_eq!(spool.acknowledge(BatchId { seq: u64::MAX, ..id }), Acknowledged::Foreign);
        assert_eq!(spool.acknowledge(BatchId { epoch: 2, ..id }), Acknowledged::Foreign);
        assert_eq!(spool.unacknowledged(), 1);
        spool.acknowledge(id);
        assert_eq!(spool.acknowledge(id), Acknowledged::Known);
    }

    #[test]
    fn a_full_spool_keeps_the_newest_fine_and_the_oldest_coarse() {
        let mut spool = MetricSpool::new(1, 64 * 1024);
        for at in 1..=10_000 {
            spool.push(sample(at));
        }
        let kept: Vec<u64> = spool.unsent.iter().map(|entry| entry.sample.at.as_millis()).collect();
        let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(kept.is_sorted() && kept.last() == Some(&10_000));
        assert!(gaps[0] > 8, "{gaps:?}");
        assert!(gaps.iter().rev().take(kept.len() / 8).all(|gap| *gap == 1), "{gaps:?}");
        assert!(gaps.windows(2).all(|pair| pair[0] >= pair[1]), "coarse before fine: {gaps:?}");
        assert!(kept[0] < 200, "the beginning is still there: {}", kept[0]);
        let batch = spool.next_batch().unwrap();
        assert_eq!(batch.dropped + kept.len() as u64, 10_000);
        spool.acknowledge(batch.id);
        spool.push(sample(10_001));
        assert_eq!(spool.dropped(), batch.dropped);
        assert_eq!(spool.next_batch().unwrap().dropped, 0, "told once");
    }

    #[test]
    fn a_spool_too_small_for_one_sample_drops_and_counts_it() {
        let mut spool = MetricSpool::new(1, 16);
        spool.push(sample(1));
        assert_eq!((spool.unsent(), spool.bytes(), spool.dropped()), (0, 0, 1));
    }

    #[test]
    fn a_batch_stays_below_the_lanes_limit() {
        let mut spool = MetricSpool::new(1, 8 << 20);
        for at in 0..2_000 {
            let mut sample = sample(at);
            sample.custom = (0..200).map(|i| (format!("{i:0>128}"), 1.0)).collect();
            spool.push(sample);
        }
        let batch = spool.next_batch().unwrap();
        assert!(batch.samples.iter().map(size_of_sample).sum::<usize>() <= BATCH_BYTES);
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
                        spool.push(sample(pushed));
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
