//! A disk that fails at every operation in turn: what was flushed comes back, and once.

use std::ops::Range;

use outrigger_archive::{Aggregate, Archive, ArchiveConfig, Clock};
use outrigger_ingest::Source;
use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_store::faults::{Disk, Fault};
use outrigger_store::{Health, SharedStore};

use crate::world::{Ask, HOUR, second, store_on, telling};

const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([7; 16]);
const INSTANCE: InstanceId = InstanceId::from_bytes([8; 16]);

async fn open(disk: &Disk, now: u64) -> Option<(SharedStore, Archive)> {
    let store = store_on(disk).ok()?;
    let config = ArchiveConfig { clock: Clock::new(move || second(now)), ..ArchiveConfig::default() };
    let archive = Archive::open(SharedStore::clone(&store), config).await.ok()?;
    Some((store, archive))
}

/// Pushes, flushes, cuts and seals, as far as the disk lets it, in two processes. Returns which seconds are durable.
async fn live(disk: &Disk) -> Vec<Range<u64>> {
    let mut durable = Vec::new();
    for (life, now) in [(0, HOUR - 50), (1, HOUR + 600)] {
        let Some((store, archive)) = open(disk, now).await else { return durable };
        let source = Source { organization: OrganizationId::generate(), deployment: DEPLOYMENT, instance: INSTANCE };
        for part in 0..3 {
            let from = 100 * (3 * life + part);
            let samples: Vec<_> = (from..from + 100).map(|at| telling(0, at)).collect();
            archive.sink().samples(source, std::time::Duration::from_secs(1), &samples, second(now));
            archive.flush().await;
            if archive.stats().failures == 0 && matches!(store.health(), Health::Ready) {
                durable.push(from..from + 100);
            }
            archive.maintain(part == 1).await;
        }
        archive.close().await;
        let _whatever = store.close().await;
    }
    durable
}

async fn assert_once(disk: &Disk, durable: &[Range<u64>]) {
    let (store, archive) = open(disk, HOUR + 700).await.expect("a good disk opens");
    for aggregate in [Aggregate::Count, Aggregate::Max] {
        let ask =
            Ask { instance: Some(INSTANCE), metric: "cpu", from: 0, to: 600, step: 1, aggregate: Aggregate::Count };
        let metric = if aggregate == Aggregate::Max { "jobs_total" } else { "cpu" };
        let found = archive.query(Ask { metric, aggregate, ..ask }.of(DEPLOYMENT)).await.unwrap().points;
        for (at, found) in (0_u64..).zip(found) {
            let expected = if aggregate == Aggregate::Max { at as f64 } else { 1.0 };
            assert!(found.is_none_or(|found| found == expected), "second {at} has {found:?}");
            assert!(
                found.is_some() || !durable.iter().any(|span| span.contains(&at)),
                "second {at} of {durable:?} is lost"
            );
        }
    }
    archive.maintain(true).await;
    assert_eq!(archive.stats().damaged, 0);
    store.close().await.unwrap();
}

async fn fail_each(fault: impl Fn(u64) -> Fault) {
    let disk = Disk::new();
    assert_eq!(live(&disk).await.len(), 6);
    let operations = disk.operations();
    // As many as take a few seconds, spread over all of them.
    let stride = usize::try_from((operations / 90).max(1)).unwrap();
    // What an interrupted creation leaves is the store's affair.
    let made = Disk::new();
    let (store, archive) = open(&made, 0).await.unwrap();
    archive.close().await;
    store.close().await.unwrap();
    let image = made.content();
    for operation in (0..operations).step_by(stride) {
        let disk = Disk::with_content(image.clone());
        disk.set_fault(operation, fault(operation));
        let durable = live(&disk).await;
        disk.restart();
        assert_once(&disk, &durable).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_operation_fails_what_was_flushed_comes_back_once() {
    fail_each(|_| Fault::FailOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_disk_stops_working_what_was_flushed_comes_back_once() {
    fail_each(|_| Fault::FailOnwards).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_power_fails_what_was_flushed_comes_back_once() {
    fail_each(|seed| Fault::LosePower { seed }).await;
}
