//! Transactions: atomic, isolated, numbered, durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Fixture, commit, concurrently, everything, put, reopen, value};
use crate::error::{Limit, StoreError};
use crate::key::{Key, KeyRange};
use crate::lease::LeaseName;
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::store::{Health, RangeOptions};
use crate::transaction::{Compare, Transaction};

pub async fn an_empty_store_is_at_revision_zero(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.revision(), 0);
    assert_eq!(everything(&store).await, []);
    assert_eq!(value(&store, "k").await, None);
    assert!(matches!(store.health(), Health::Ready));
}

pub async fn a_put_is_read_back_with_its_revisions(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let first = put(&store, "k", "one").await;
    let second = put(&store, "k", "two").await;
    let entry = store.get(&Key::from("k")).await.unwrap().unwrap();
    assert_eq!((first, second), (1, 2));
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    assert_eq!(&entry.value[..], b"two");
    assert_eq!(store.revision(), second);
}

pub async fn a_value_keeps_its_create_revision_until_the_key_is_deleted(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "k", "a").await;
    commit(&store, Transaction::new().delete("k")).await;
    assert_eq!(value(&store, "k").await, None);
    put(&store, "k", "b").await;
    let entry = store.get(&Key::from("k")).await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision), (3, 3));
}

pub async fn revisions_have_no_gaps_and_refusals_take_none(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for expected in 1..=5 {
        assert_eq!(put(&store, "k", "v").await, expected);
        let refused = Transaction::new().when(Compare::Absent(Key::from("k"))).put("k", "x");
        assert!(matches!(store.commit(refused).await, Err(StoreError::Conflict { index: 0 })));
    }
    // A deletion that finds nothing is a transaction all the same.
    assert_eq!(commit(&store, Transaction::new().delete("nothing")).await, 6);
}

pub async fn all_operations_happen_or_none(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "old", "v").await;
    let transaction = Transaction::new().put("a", "1").delete("old").append("log", "entry");
    let refused = transaction.clone().when(Compare::Present(Key::from("missing")));
    assert!(store.commit(refused).await.is_err());
    assert_eq!(everything(&store).await, [("old".to_owned(), "v".to_owned())]);
    commit(&store, transaction).await;
    assert_eq!(everything(&store).await, [("a".to_owned(), "1".to_owned())]);
}

pub async fn each_compare_refuses_by_its_index(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let revision = put(&store, "k", "v").await;
    let (k, missing) = (Key::from("k"), Key::from("missing"));
    let held =
        [Compare::Present(k.clone()), Compare::Absent(missing.clone()), Compare::ModRevision(k.clone(), revision)];
    let refusing = [
        Compare::Absent(k.clone()),
        Compare::Present(missing.clone()),
        Compare::ModRevision(k, revision + 1),
        Compare::ModRevision(missing, revision),
        Compare::LeaseHeld { lease: LeaseName::from("never"), epoch: 1 },
    ];
    let base = held.into_iter().fold(Transaction::new().put("k", "x"), Transaction::when);
    for compare in refusing {
        let outcome = store.commit(base.clone().when(compare.clone())).await;
        assert!(matches!(outcome, Err(StoreError::Conflict { index: 3 })), "{compare:?}: {outcome:?}");
    }
    assert!(store.commit(base).await.is_ok());
}

pub async fn the_last_operation_on_a_key_decides(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    commit(&store, Transaction::new().put("k", "1").put("k", "2").put("gone", "1").delete("gone")).await;
    assert_eq!(everything(&store).await, [("k".to_owned(), "2".to_owned())]);
    let inside = KeyRange::prefix(&Key::from("k"));
    commit(&store, Transaction::new().put("k2", "x").delete_range(inside).put("k3", "y")).await;
    assert_eq!(everything(&store).await, [("k3".to_owned(), "y".to_owned())]);
}

pub async fn deleting_a_range_spares_its_neighbours(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for key in ["a", "b", "b1", "b2", "c"] {
        put(&store, key, key).await;
    }
    commit(&store, Transaction::new().delete_range(KeyRange::between(Key::from("b"), Key::from("b2")))).await;
    let left: Vec<_> = everything(&store).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["a", "b2", "c"]);
    let backwards = KeyRange::between(Key::from("c"), Key::from("a"));
    commit(&store, Transaction::new().delete_range(backwards)).await;
    assert_eq!(everything(&store).await.len(), 3);
}

pub async fn a_transaction_without_operations_checks_and_takes_no_revision(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "k", "v").await;
    let present = Transaction::new().when(Compare::Present(Key::from("k")));
    assert_eq!(commit(&store, present).await, 1);
    let absent = Transaction::new().when(Compare::Absent(Key::from("k")));
    assert!(matches!(store.commit(absent).await, Err(StoreError::Conflict { index: 0 })));
    assert_eq!(put(&store, "k", "v").await, 2);
}

pub async fn what_is_too_large_is_refused_and_changes_nothing(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let big = vec![0; MAX_VALUE_BYTES + 1];
    let outcome = store.commit(Transaction::new().put("a", "1").put("k", big)).await;
    assert!(matches!(outcome, Err(StoreError::TooLarge { limit: Limit::ValueBytes, .. })));
    assert!(matches!(store.commit(Transaction::new().put("", "v")).await, Err(StoreError::EmptyKey)));
    assert_eq!(everything(&store).await, []);

    let (longest, largest) = (Key::from(vec![b'k'; MAX_KEY_BYTES]), vec![7; MAX_VALUE_BYTES]);
    commit(&store, Transaction::new().put(longest.clone(), largest.clone())).await;
    assert_eq!(store.get(&longest).await.unwrap().unwrap().value, largest);
}

pub async fn one_of_many_concurrent_creations_wins(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let winners = Arc::new(AtomicU32::new(0));
    concurrently(&store, 40, |store, index| {
        let winners = Arc::clone(&winners);
        async move {
            let create = Transaction::new().when(Compare::Absent(Key::from("k"))).put("k", index.to_string());
            match store.commit(create).await {
                Ok(_) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert!(matches!(error, StoreError::Conflict { index: 0 }), "{error}"),
            }
        }
    })
    .await;
    assert_eq!(winners.load(Ordering::Relaxed), 1);
    assert_eq!(store.revision(), 1);
}

pub async fn concurrent_increments_are_all_counted(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "counter", "0").await;
    concurrently(&store, 10, |store, _| async move {
        let key = Key::from("counter");
        loop {
            let entry = store.get(&key).await.unwrap().unwrap();
            let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            let unchanged = Compare::ModRevision(key.clone(), entry.mod_revision);
            let increment = Transaction::new().when(unchanged).put(key.clone(), (count + 1).to_string());
            match store.commit(increment).await {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, StoreError::Conflict { index: 0 }), "{error}"),
            }
        }
    })
    .await;
    assert_eq!(value(&store, "counter").await.as_deref(), Some("10"));
    assert_eq!(store.revision(), 11);
}

pub async fn acknowledged_transactions_are_there_after_reopening(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    concurrently(&store, 20, |store, index| async move {
        put(&store, &format!("k{index:02}"), "v").await;
    })
    .await;
    let before = everything(&store).await;
    let store = reopen(fixture, store).await;
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.revision(), 20);
    assert_eq!(put(&store, "next", "v").await, 21);
}

pub async fn a_closed_store_refuses_everything(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "k", "v").await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let key = Key::from("k");
    assert!(matches!(store.commit(Transaction::new().put("k", "w")).await, Err(StoreError::Closed)));
    assert!(matches!(store.get(&key).await, Err(StoreError::Closed)));
    assert!(matches!(store.range(KeyRange::all(), RangeOptions::default()).await, Err(StoreError::Closed)));
    assert!(matches!(store.release_lease(&LeaseName::from("l"), 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.health(), Health::Closed));
}
