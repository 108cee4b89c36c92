//! The redb backend on a disk that fails: every operation of a workload in turn, full, and without power.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

mod workload;

use outrigger_store::faults::{Disk, Fault, SplitMix};
use outrigger_store::{Health, KeyRange, OpenError, Options, RangeOptions, RedbStore, Store, StoreError, Transaction};
use workload::{Acknowledged, cases, image, run, verify};

/// Transactions in the image, and those that the workload adds.
const BEFORE: u64 = 3;
const AFTER: u64 = 8;

fn open(disk: &Disk) -> Result<RedbStore, OpenError> {
    RedbStore::with_backend(disk.backend(), Options::default())
}

/// Opens the store and runs the workload, as far as the disk lets it. Checks what must hold while it fails.
async fn live(disk: &Disk, acknowledged: &mut Acknowledged, reads_work: bool) {
    let Ok(store) = open(disk) else { return };
    let refusal = run(&store, BEFORE..BEFORE + AFTER, acknowledged).await;
    match refusal {
        Some(StoreError::Failed { .. }) => {
            assert!(matches!(store.health(), Health::Failed(_)));
            let again = store.commit(Transaction::new().put("k", "v")).await;
            assert!(matches!(again, Err(StoreError::Failed { .. })), "{again:?}");
        }
        Some(other) => panic!("an unexpected refusal: {other:?}"),
        None => {}
    }
    if reads_work {
        verify(&store, acknowledged).await;
    }
    // What closing says does not matter: the disk may have been failing all along.
    let _outcome = store.close().await;
    assert!(matches!(store.get(&"k".into()).await, Err(StoreError::Closed)));
}

/// Opens what a fault left, and goes on from there.
async fn recover(disk: &Disk, acknowledged: &Acknowledged) {
    let store = open(disk).expect("what was opened once opens again");
    let revision = verify(&store, acknowledged).await;
    let next = store.commit(workload::transaction(1_000_000)).await.expect("a good disk takes writes");
    assert_eq!(next.revision, revision + 1);
    store.close().await.unwrap();
}

/// How many operations the workload takes on a good disk.
async fn operations(image: &[u8]) -> u64 {
    let disk = Disk::with_content(image.to_vec());
    live(&disk, &mut Acknowledged::new(), true).await;
    disk.operations()
}

/// Meets each operation of the workload with a fault, in turn.
async fn fail_each_operation(fault: Fault) {
    let (image, before) = image(BEFORE).await;
    for operation in 0..operations(&image).await {
        let disk = Disk::with_content(image.clone());
        disk.set_fault(operation, fault);
        let mut acknowledged = before.clone();
        live(&disk, &mut acknowledged, fault == Fault::FailOnce).await;
        if operation % 2 == 0 {
            disk.lose_power(operation);
        }
        disk.restart();
        recover(&disk, &acknowledged).await;
    }
}

#[tokio::test]
async fn whichever_operation_fails_nothing_acknowledged_is_lost() {
    fail_each_operation(Fault::FailOnce).await;
}

#[tokio::test]
async fn whenever_the_disk_stops_working_nothing_acknowledged_is_lost() {
    fail_each_operation(Fault::FailOnwards).await;
}

#[tokio::test]
async fn whenever_the_power_fails_nothing_acknowledged_is_lost() {
    let (image, before) = image(BEFORE).await;
    let count = operations(&image).await;
    for seed in 0..cases(200) {
        let mut random = SplitMix(seed);
        let disk = Disk::with_content(image.clone());
        disk.set_fault(random.below(count), Fault::LosePower { seed: random.draw() });
        let mut acknowledged = before.clone();
        live(&disk, &mut acknowledged, false).await;
        // Again while recovering, and again.
        for _ in 0..random.below(3) {
            disk.restart();
            disk.set_fault(disk.operations() + random.below(80), Fault::LosePower { seed: random.draw() });
            live(&disk, &mut acknowledged.clone(), false).await;
        }
        disk.lose_power(random.draw());
        disk.restart();
        recover(&disk, &acknowledged).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let (image, before) = image(BEFORE).await;
    let length = image.len() as u64;
    for spare in 0..12 {
        let disk = Disk::with_content(image.clone());
        disk.set_capacity(Some(length + spare * 100_000));
        let store = open(&disk).unwrap();
        let mut acknowledged = before.clone();
        let mut next = BEFORE;
        let refusal = loop {
            let refusal = run(&store, next..next + 1, &mut acknowledged).await;
            next += 1;
            if let Some(refusal) = refusal {
                break refusal;
            }
        };
        assert!(matches!(refusal, StoreError::Full), "{refusal:?}");
        assert!(matches!(store.health(), Health::Full));
        verify(&store, &acknowledged).await;
        assert!(store.stats().full > 0);

        // Still full: refused again, and still readable.
        assert!(matches!(run(&store, next..next + 1, &mut acknowledged).await, None | Some(StoreError::Full)));
        verify(&store, &acknowledged).await;

        disk.set_capacity(None);
        assert!(run(&store, next + 1..next + 10, &mut acknowledged).await.is_none());
        assert!(matches!(store.health(), Health::Ready));
        verify(&store, &acknowledged).await;
        if spare % 2 == 0 {
            disk.lose_power(spare);
        } else {
            store.close().await.unwrap();
        }
        disk.restart();
        recover(&disk, &acknowledged).await;
    }
}

#[tokio::test]
async fn a_failed_read_is_an_error_of_that_read_only() {
    let (image, before) = image(40).await;
    // No cache, so that every read reaches the disk.
    let options = Options { cache_bytes: 0, ..Options::default() };
    let disk = Disk::with_content(image);
    let store = RedbStore::with_backend(disk.backend(), options).unwrap();
    for _ in 0..20 {
        disk.set_fault(disk.operations(), Fault::FailOnce);
        let outcome = store.range(KeyRange::all(), RangeOptions::default()).await;
        // The database is opened again below the read, so that it may well succeed at its second attempt.
        assert!(matches!(outcome, Ok(_) | Err(StoreError::ReadFailed { .. })), "{outcome:?}");
        verify(&store, &before).await;
    }
    assert!(matches!(store.health(), Health::Failed(_)));
    store.close().await.unwrap();
}
