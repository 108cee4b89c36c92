//! An archive whose clock and disk belong to the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_archive::{Aggregate, Answer, Archive, ArchiveConfig, Clock, Query};
use outrigger_ingest::Source;
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::faults::Disk;
use outrigger_store::{OpenError, Options, RedbStore, SharedStore};

/// The beginning of an hour.
pub(crate) const START: u64 = 1_789_999_200_000;
pub(crate) const HOUR: u64 = 3_600;

pub(crate) const fn second(seconds: u64) -> UnixMillis {
    UnixMillis::from_millis(START + 1_000 * seconds)
}

pub(crate) fn options() -> Options {
    Options { change_log_revisions: 1, change_log_bytes: 1, ..Options::default() }
}

pub(crate) fn store_on(disk: &Disk) -> Result<SharedStore, OpenError> {
    Ok(Arc::new(RedbStore::with_backend(disk.backend(), options())?))
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) store: SharedStore,
    pub(crate) archive: Archive,
    /// Seconds since the start.
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) deployment: DeploymentId,
}

impl World {
    pub(crate) async fn new() -> Self {
        let now = Arc::new(AtomicU64::new(0));
        Self::over(Disk::new(), now, DeploymentId::generate(), |_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ArchiveConfig)) -> Self {
        Self::over(Disk::new(), Arc::default(), DeploymentId::generate(), change).await
    }

    async fn over(
        disk: Disk,
        now: Arc<AtomicU64>,
        deployment: DeploymentId,
        change: impl FnOnce(&mut ArchiveConfig),
    ) -> Self {
        let store = store_on(&disk).unwrap();
        let told = Arc::clone(&now);
        let clock = Clock::new(move || second(told.load(Ordering::Relaxed)));
        let mut config = ArchiveConfig { clock, ..ArchiveConfig::default() };
        change(&mut config);
        let archive = Archive::open(Arc::clone(&store), config).await.unwrap();
        Self { disk, store, archive, now, deployment }
    }

    /// After a restart in order.
    pub(crate) async fn reopened(self) -> Self {
        self.archive.close().await;
        self.store.close().await.unwrap();
        self.killed().await
    }

    /// After the process ended without a word.
    pub(crate) async fn killed(self) -> Self {
        let Self { disk, now, deployment, .. } = self;
        disk.restart();
        Self::over(disk, now, deployment, |_| ()).await
    }

    pub(crate) fn at(&self, seconds: u64) {
        self.now.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn source(&self, instance: InstanceId) -> Source {
        Source { organization: OrganizationId::generate(), deployment: self.deployment, instance }
    }

    pub(crate) fn push(&self, instance: InstanceId, samples: &[Sample]) {
        let now = second(self.now.load(Ordering::Relaxed));
        self.archive.sink().samples(self.source(instance), Duration::from_secs(1), samples, now);
    }

    pub(crate) async fn ask(&self, query: Ask<'_>) -> Answer {
        self.archive.query(query.of(self.deployment)).await.unwrap()
    }
}

/// A query by seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) metric: &'a str,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) step: u64,
    pub(crate) aggregate: Aggregate,
}

impl Ask<'_> {
    pub(crate) fn of(self, deployment: DeploymentId) -> Query {
        Query {
            deployment,
            instance: self.instance,
            metric: self.metric.to_owned(),
            from: second(self.from),
            to: second(self.to),
            step: Some(Duration::from_secs(self.step)),
            aggregate: self.aggregate,
        }
    }
}

pub(crate) fn cpu(at: u64, value: f64) -> Sample {
    let mut sample = Sample::new(second(at));
    sample.set(Metric::Cpu, value);
    sample
}

/// One whose values tell when and where they were taken.
pub(crate) fn telling(instance: u64, at: u64) -> Sample {
    let mut sample = cpu(at, (at % 5_000) as f64 / 100.0);
    sample.custom.push(("jobs_total".to_owned(), (instance * 1_000_000 + at) as f64));
    let mut latency = LatencyHistogram::new();
    latency.record(Duration::from_millis(1 + at % 100));
    sample.latency = Some(latency);
    sample
}
