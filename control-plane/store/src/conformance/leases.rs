//! Leases: one holder at a time as far as clocks go, one epoch at a time whatever clocks do.

use std::time::Duration;

use super::{Fixture, commit, put, reopen};
use crate::error::{Limit, StoreError};
use crate::lease::{Lease, LeaseName};
use crate::limits::MAX_LEASE_TTL;
use crate::store::SharedStore;
use crate::transaction::{Compare, Transaction};

const TTL: Duration = Duration::from_secs(10);

async fn acquire(store: &SharedStore, holder: &str, now_ms: u64) -> Result<Lease, StoreError> {
    store.acquire_lease(&LeaseName::from("shard/1"), holder, TTL, now_ms).await
}

fn guarded(lease: &Lease) -> Transaction {
    let held = Compare::LeaseHeld { lease: lease.name.clone(), epoch: lease.epoch };
    Transaction::new().when(held).put("effect", lease.holder.clone())
}

pub async fn a_free_lease_is_acquired_with_a_first_epoch(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let lease = acquire(&store, "a", 1_000).await.unwrap();
    assert_eq!((lease.holder.as_str(), lease.epoch, lease.expires_ms), ("a", 1, 11_000));
    let too_long = store.acquire_lease(&lease.name, "a", MAX_LEASE_TTL * 2, 0).await;
    assert!(matches!(too_long, Err(StoreError::TooLarge { limit: Limit::LeaseMillis, .. })));
}

pub async fn a_held_lease_is_refused_until_it_expires(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    acquire(&store, "a", 1_000).await.unwrap();
    match acquire(&store, "b", 10_999).await {
        Err(StoreError::LeaseTaken { holder, expires_ms, .. }) => assert_eq!((&*holder, expires_ms), ("a", 11_000)),
        other => panic!("expected it to be taken, got {other:?}"),
    }
    let lease = acquire(&store, "b", 11_000).await.unwrap();
    assert_eq!((lease.holder.as_str(), lease.epoch), ("b", 2));
}

pub async fn the_same_holder_gets_a_new_epoch(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let first = acquire(&store, "a", 1_000).await.unwrap();
    let second = acquire(&store, "a", 1_001).await.unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
    assert!(matches!(store.commit(guarded(&first)).await, Err(StoreError::Conflict { index: 0 })));
    commit(&store, guarded(&second)).await;
}

pub async fn a_lost_epoch_cannot_renew_or_release(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let old = acquire(&store, "a", 1_000).await.unwrap();
    let new = acquire(&store, "b", 20_000).await.unwrap();
    let renewed = store.renew_lease(&old.name, old.epoch, TTL, 20_001).await;
    assert!(matches!(renewed, Err(StoreError::LeaseLost { epoch: 1, .. })));
    assert!(matches!(store.release_lease(&old.name, old.epoch).await, Err(StoreError::LeaseLost { .. })));
    commit(&store, guarded(&new)).await;
    let unknown = LeaseName::from("unknown");
    assert!(matches!(store.renew_lease(&unknown, 1, TTL, 0).await, Err(StoreError::LeaseLost { .. })));
}

pub async fn a_guarded_transaction_is_refused_after_a_takeover(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let old = acquire(&store, "a", 1_000).await.unwrap();
    commit(&store, guarded(&old)).await;
    let new = acquire(&store, "b", 11_000).await.unwrap();
    assert!(matches!(store.commit(guarded(&old)).await, Err(StoreError::Conflict { index: 0 })));
    commit(&store, guarded(&new)).await;
    store.release_lease(&new.name, new.epoch).await.unwrap();
    assert!(matches!(store.commit(guarded(&new)).await, Err(StoreError::Conflict { index: 0 })));
}

pub async fn a_renewed_lease_keeps_its_epoch(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let lease = acquire(&store, "a", 1_000).await.unwrap();
    let renewed = store.renew_lease(&lease.name, lease.epoch, TTL, 5_000).await.unwrap();
    assert_eq!(renewed, Lease { expires_ms: 15_000, ..lease.clone() });
    assert!(matches!(acquire(&store, "b", 11_000).await, Err(StoreError::LeaseTaken { .. })));
    // Late, but nobody came in between.
    assert!(store.renew_lease(&lease.name, lease.epoch, TTL, 60_000).await.is_ok());
    commit(&store, guarded(&lease)).await;
}

pub async fn epochs_grow_across_release_and_reopening(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let first = acquire(&store, "a", 1_000).await.unwrap();
    store.release_lease(&first.name, first.epoch).await.unwrap();
    let second = acquire(&store, "b", 1_001).await.unwrap();
    let store = reopen(fixture, store).await;
    let third = acquire(&store, "c", 30_000).await.unwrap();
    assert_eq!([first.epoch, second.epoch, third.epoch], [1, 2, 3]);
    assert!(matches!(store.commit(guarded(&second)).await, Err(StoreError::Conflict { index: 0 })));
}

pub async fn a_lease_takes_no_revision(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let lease = acquire(&store, "a", 1_000).await.unwrap();
    store.renew_lease(&lease.name, lease.epoch, TTL, 1_001).await.unwrap();
    store.release_lease(&lease.name, lease.epoch).await.unwrap();
    assert_eq!(put(&store, "k", "v").await, 1);
}
