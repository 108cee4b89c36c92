//! Where ingest's telemetry branches off: the [`Sink`] that fills the queues of all lanes.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_ingest::{Sink, Source};
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use crate::instances::{Instance, Line, Reading};
use crate::queue::Queue;
use crate::stats::{Counters, add};

/// Sessions of different instances seldom meet at the same lock.
const SHARDS: usize = 16;

/// Where a lane's task takes from.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    pub(crate) queue: Arc<Queue<T>>,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Debug)]
pub(crate) struct Tap {
    /// Of instances that ingest has not said are gone.
    shards: [Mutex<HashMap<InstanceId, Instance>>; SHARDS],
    metrics: Vec<Intake<Reading>>,
    logs: Vec<Intake<Line>>,
}

impl Tap {
    pub(crate) fn new(metrics: Vec<Intake<Reading>>, logs: Vec<Intake<Line>>) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), metrics, logs }
    }

    fn shard(&self, instance: InstanceId) -> MutexGuard<'_, HashMap<InstanceId, Instance>> {
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        let at = hasher.finish() % SHARDS as u64;
        lock(&self.shards[usize::try_from(at).expect("less than the number of shards")])
    }

    fn send(&self, reading: Reading) {
        let reading = Arc::new(reading);
        self.metrics.iter().for_each(|lane| lane.queue.push(Arc::clone(&reading)));
    }
}

impl Sink for Tap {
    fn samples(&self, source: Source, interval: Duration, samples: &[Sample], _: UnixMillis) {
        if self.metrics.is_empty() || samples.is_empty() {
            return;
        }
        let mut in_order: Vec<&Sample> = samples.iter().collect();
        in_order.sort_by_key(|sample| sample.at);
        // Held while the queues are filled: two sessions of one instance must not overtake each other.
        let mut shard = self.shard(source.instance);
        let instance = shard.entry(source.instance).or_insert_with(|| Instance::new(source, in_order[0].at, interval));
        let mut left_out = 0;
        for sample in in_order {
            let (reading, refused) = instance.take(sample);
            left_out += refused;
            if let Some(reading) = reading {
                self.send(reading);
            }
        }
        if left_out > 0 {
            self.metrics.iter().for_each(|lane| add(&lane.counters.dropped, left_out));
        }
    }

    fn logs(&self, source: Source, records: &[LogRecord], dropped: u64, received_at: UnixMillis) {
        if self.logs.is_empty() {
            return;
        }
        let mut dropped_before = dropped;
        for record in records {
            let dropped_before = std::mem::take(&mut dropped_before);
            let line = Arc::new(Line { source, record: record.clone(), received_at, dropped_before });
            self.logs.iter().for_each(|lane| lane.queue.push(Arc::clone(&line)));
        }
    }

    fn instance_gone(&self, source: Source) {
        let mut shard = self.shard(source.instance);
        if let Some(end) = shard.remove(&source.instance).and_then(|instance| instance.end(UnixMillis::now())) {
            self.send(end);
        }
    }

    fn deployment_gone(&self, deployment: DeploymentId) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            for (_, instance) in shard.extract_if(|_, instance| instance.source().deployment == deployment) {
                if let Some(end) = instance.end(UnixMillis::now()) {
                    self.send(end);
                }
            }
        }
    }
}

fn lock(shard: &Mutex<HashMap<InstanceId, Instance>>) -> MutexGuard<'_, HashMap<InstanceId, Instance>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::log::{Level, LogStream};
    use outrigger_protocol::metric::Metric;

    use super::*;
    use crate::instances::tests::{sample, source};
    use crate::queue::BatchLimits;

    const SECOND: Duration = Duration::from_secs(1);

    fn lane<T: crate::queue::Load>(bytes: usize) -> Intake<T> {
        let limits = BatchLimits { points: 1_000, bytes: 1 << 20, linger: SECOND };
        Intake { queue: Arc::new(Queue::new(bytes, limits)), counters: Arc::default() }
    }

    async fn taken<T: crate::queue::Load>(lane: &Intake<T>) -> Vec<Arc<T>> {
        let closing = tokio_util::sync::CancellationToken::new();
        closing.cancel();
        lane.queue.next_batch(&closing).await.unwrap_or_default()
    }

    #[tokio::test]
    async fn samples_of_an_instance_are_queued_in_the_order_of_their_times() {
        let tap = Tap::new(vec![lane(1 << 20), lane(1 << 20)], Vec::new());
        let mixed = [12, 10, 11].map(|at| sample(at, &[(Metric::Cpu, 1.0)]));
        tap.samples(source(1), SECOND, &mixed, UnixMillis::EPOCH);
        tap.samples(source(1), SECOND, &mixed[..1], UnixMillis::EPOCH);
        for lane in &tap.metrics {
            let times: Vec<_> = taken(lane).await.iter().map(|reading| reading.at.as_millis()).collect();
            assert_eq!(times, [10_000, 11_000, 12_000]);
            assert_eq!(lane.counters.dropped.load(std::sync::atomic::Ordering::Relaxed), 1, "the repeated one");
        }
    }

    #[tokio::test]
    async fn a_full_lane_loses_its_oldest_and_the_others_nothing() {
        let tap = Tap::new(vec![lane(500), lane(1 << 20)], Vec::new());
        for at in 10..30 {
            tap.samples(source(1), SECOND, &[sample(at, &[(Metric::Cpu, 1.0)])], UnixMillis::EPOCH);
        }
        let (few, all) = (taken(&tap.metrics[0]).await, taken(&tap.metrics[1]).await);
        assert_eq!(all.len(), 20);
        assert_eq!(few.len() as u64 + tap.metrics[0].queue.dropped(), 20);
        assert_eq!(few.last(), all.last());
    }

    #[tokio::test]
    async fn series_end_with_their_instance_or_their_deployment() {
        let tap = Tap::new(vec![lane(1 << 20)], Vec::new());
        for n in 1..=3 {
            tap.samples(source(n), SECOND, &[sample(10, &[(Metric::Cpu, 1.0)])], UnixMillis::EPOCH);
        }
        taken(&tap.metrics[0]).await;
        tap.instance_gone(source(1));
        tap.instance_gone(source(1));
        let ends = taken(&tap.metrics[0]).await;
        assert!(ends.len() == 1 && ends[0].is_last && ends[0].source == source(1));
        tap.deployment_gone(source(1).deployment);
        assert_eq!(taken(&tap.metrics[0]).await.iter().filter(|end| end.is_last).count(), 2);
    }

    #[tokio::test]
    async fn the_first_line_tells_how_many_are_missing_before_it() {
        let tap = Tap::new(Vec::new(), vec![lane(1 << 20)]);
        let record = |message: &str| LogRecord {
            at: UnixMillis::EPOCH,
            stream: LogStream::Stdout,
            level: Level::Info,
            message: message.to_owned(),
            truncated: false,
        };
        tap.logs(source(1), &[record("a"), record("b")], 7, UnixMillis::EPOCH);
        let lines: Vec<_> =
            taken(&tap.logs[0]).await.iter().map(|line| (line.record.message.clone(), line.dropped_before)).collect();
        assert_eq!(lines, [("a".to_owned(), 7), ("b".to_owned(), 0)]);
    }
}
