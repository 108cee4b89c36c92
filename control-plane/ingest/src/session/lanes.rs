//! Metrics and logs.

use std::sync::Arc;
use std::time::Instant;

use outrigger_protocol::codec::Discarded;
use outrigger_protocol::log::LogBatch;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{Lane, Reader};
use tokio::time::sleep;

use super::{Live, end_of};
use crate::budget::{LaneBudget, Toll};
use crate::dedup::Admission;
use crate::events::{IngestEvent, SessionEnd};
use crate::stats::{Count, Reject};
use crate::traffic::Served;

/// About the bytes that a value, a sample and a log record take beside their text.
const VALUE_BYTES: usize = 10;
const RECORD_BYTES: usize = 16;

impl Live<'_> {
    /// Reads the two lanes, in whatever order the agent opens them.
    pub(super) async fn lanes(&self) -> SessionEnd {
        tokio::select! {
            end = self.lane() => end,
            end = self.lane() => end,
        }
    }

    /// One lane after the other: an agent that finished one may open it again.
    async fn lane(&self) -> SessionEnd {
        loop {
            let ended = match self.session.connection.accept_lane().await {
                Ok(Lane::Metrics(reader)) => self.metrics(reader).await,
                Ok(Lane::Logs(reader)) => self.logs(reader).await,
                Err(error) => Some(end_of(&error)),
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    async fn metrics(&self, mut reader: Reader<MetricBatch>) -> Option<SessionEnd> {
        let limits = &self.ingest.config.metrics;
        let mut budget = LaneBudget::new(limits, Instant::now());
        let mut discarded = Discarded::default().total();
        loop {
            let batch = match reader.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return None,
                Err(error) => return Some(end_of(&error)),
            };
            self.hear();
            let before = std::mem::replace(&mut discarded, reader.discarded().total());
            self.ingest.stats.add(Count::ValuesDiscarded, discarded - before);
            let toll = budget.charge(limits, batch.samples.iter().map(sample_weight).sum(), Instant::now());
            if toll == Toll::Exhausted {
                return Some(SessionEnd::Refused(Reject::OverBudget));
            }
            self.take_metrics(batch);
            if let Toll::Wait(wait) = toll {
                sleep(wait).await;
            }
        }
    }

    /// Puts a batch into the window if it counts, and acknowledges it once it is there.
    fn take_metrics(&self, batch: MetricBatch) {
        let Self { ingest, session, peer } = self;
        let (admission, accepted) = peer.with(|known| (known.metrics.admit(batch.id), known.metrics.accepted()));
        if self.count(admission) {
            ingest.stats.add(Count::SamplesDroppedByAgents, batch.dropped);
            self.take_samples(batch.id, batch.samples);
        }
        if admission != Admission::Stale
            && let Some(accepted) = accepted
        {
            session.outbox.metrics_accepted(accepted);
        }
    }

    fn take_samples(&self, id: BatchId, mut samples: Vec<Sample>) {
        let Self { ingest, session, peer } = self;
        let now = UnixMillis::now();
        let clock =
            session.learn_clock(|known| samples.iter().fold(known, |clock, sample| clock.fitted(sample.at, now)));
        let interval = ingest.sample_interval(peer.deployment);
        let timely = |at| clock.correct(at, now, ingest.config.oldest_sample);
        let lately = |at| clock.correct(at, now, ingest.config.oldest_traffic);
        self.tell_traffic(peer.with(|known| known.meter.count(id, &samples, interval, now, lately)));
        let received = samples.len();
        samples.retain_mut(|sample| match timely(sample.at) {
            Some(at) => {
                sample.at = at;
                true
            }
            None => false,
        });
        if samples.len() < received {
            session.doubt_clock();
        }
        let taken = ingest.windows.push(peer.deployment, interval, peer.instance, &samples, now).unwrap_or(0);
        ingest.sinks().for_each(|sink| sink.samples(peer.source(), interval, &samples, now));
        ingest.stats.add(Count::Samples, taken as u64);
        ingest.stats.add(Count::SamplesUntimely, (received - samples.len()) as u64);
        ingest.stats.add(Count::SamplesUnused, (samples.len() - taken) as u64);
        if let Some(newest) = samples.into_iter().max_by_key(|sample| sample.at) {
            peer.with(|known| {
                if known.latest.as_ref().is_none_or(|latest| latest.at <= newest.at || latest.at > now) {
                    known.latest = Some(Arc::new(newest));
                }
            });
        }
    }

    fn tell_traffic(&self, served: Option<Served>) {
        let Self { ingest, peer, .. } = self;
        let Some(Served { since, until, requests, errors, latency }) = served else { return };
        let (deployment, instance, latency) = (peer.deployment, peer.instance, Arc::new(latency));
        ingest.tell(IngestEvent::Traffic { deployment, instance, since, until, requests, errors, latency });
    }

    async fn logs(&self, mut reader: Reader<LogBatch>) -> Option<SessionEnd> {
        let limits = &self.ingest.config.logs;
        let mut budget = LaneBudget::new(limits, Instant::now());
        loop {
            let batch = match reader.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return None,
                Err(error) => return Some(end_of(&error)),
            };
            self.hear();
            let weight = batch.records.iter().map(|record| RECORD_BYTES + record.message.len()).sum();
            let toll = budget.charge(limits, weight, Instant::now());
            if toll == Toll::Exhausted {
                return Some(SessionEnd::Refused(Reject::OverBudget));
            }
            self.take_logs(batch);
            if let Toll::Wait(wait) = toll {
                sleep(wait).await;
            }
        }
    }

    fn take_logs(&self, mut batch: LogBatch) {
        let Self { ingest, session, peer } = self;
        let (admission, accepted) = peer.with(|known| (known.logs.admit(batch.id), known.logs.accepted()));
        if self.count(admission) {
            let now = UnixMillis::now();
            let times = batch.records.iter().map(|record| record.at);
            let clock = session.learn_clock(|known| times.fold(known, |clock, at| clock.fitted(at, now)));
            for record in &mut batch.records {
                record.at = clock.correct(record.at, now, ingest.config.oldest_sample).unwrap_or_else(|| {
                    // A line with a wrong time is still a line.
                    session.doubt_clock();
                    now
                });
            }
            ingest.stats.add(Count::LogLines, batch.records.len() as u64);
            ingest.stats.add(Count::LogLinesDroppedByAgents, batch.dropped);
            ingest.sinks().for_each(|sink| sink.logs(peer.source(), &batch.records, batch.dropped, now));
        }
        if admission != Admission::Stale
            && let Some(accepted) = accepted
        {
            session.outbox.logs_accepted(accepted);
        }
    }

    /// Counts a batch by what becomes of it; `true` when it is new.
    fn count(&self, admission: Admission) -> bool {
        let stats = &self.ingest.stats;
        match admission {
            Admission::Fresh { missed } => {
                stats.add(Count::Batches, 1);
                stats.add(Count::MissedBatches, missed);
            }
            Admission::Duplicate => stats.add(Count::DuplicateBatches, 1),
            Admission::Stale => stats.add(Count::StaleBatches, 1),
        }
        matches!(admission, Admission::Fresh { .. })
    }
}

fn sample_weight(sample: &Sample) -> usize {
    let custom: usize = sample.custom.iter().map(|(name, _)| VALUE_BYTES + name.len()).sum();
    let latency = sample.latency.as_ref().map_or(0, |_| RECORD_BYTES * VALUE_BYTES);
    RECORD_BYTES + sample.values.len() * VALUE_BYTES + custom + latency
}
