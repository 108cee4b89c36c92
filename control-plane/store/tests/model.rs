//! Random transactions against the redb backend and against a map, at every revision.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use outrigger_store::faults::Disk;
use outrigger_store::{
    ChangeKind, Compare, Key, KeyRange, Op, Options, RangeOptions, RedbStore, Revision, Store, StoreError, Transaction,
};
use proptest::prelude::*;

#[derive(Debug, Clone, PartialEq)]
struct Row {
    value: Bytes,
    create_revision: Revision,
    mod_revision: Revision,
}

type State = BTreeMap<Key, Row>;

/// Every state that there was, by revision.
#[derive(Debug)]
struct Model {
    states: Vec<State>,
}

impl Model {
    fn latest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<Revision, usize> {
        let before = self.latest();
        let holds = |compare: &Compare| match compare {
            Compare::Absent(key) => !before.contains_key(key),
            Compare::Present(key) => before.contains_key(key),
            Compare::ModRevision(key, revision) => before.get(key).is_some_and(|row| row.mod_revision == *revision),
            Compare::LeaseHeld { .. } => false,
        };
        if let Some(index) = transaction.compares().iter().position(|compare| !holds(compare)) {
            return Err(index);
        }
        let revision = self.states.len() as Revision;
        let mut after = before.clone();
        for op in transaction.ops() {
            match op {
                Op::Put(key, value) => {
                    let create_revision = before.get(key).map_or(revision, |row| row.create_revision);
                    after.insert(key.clone(), Row { value: value.clone(), create_revision, mod_revision: revision });
                }
                Op::Delete(key) => drop(after.remove(key)),
                Op::DeleteRange(range) => after.retain(|key, _| !range.contains(key)),
                Op::Append { .. } => {}
                Op::AppendLinked { .. } => unreachable!("the strategy makes none"),
            }
        }
        self.states.push(after);
        Ok(revision)
    }
}

fn key() -> impl Strategy<Value = Key> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(b'b'), Just(0xFF)], 1..4).prop_map(Key::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        Just(KeyRange::all()),
        key().prop_map(|key| KeyRange::prefix(&key)),
        key().prop_map(|key| KeyRange::only(&key)),
        (key(), key()).prop_map(|(start, end)| KeyRange::between(start, end)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (key(), any::<[u8; 2]>()).prop_map(|(key, value)| Op::Put(key, Bytes::copy_from_slice(&value))),
        2 => key().prop_map(Op::Delete),
        1 => range().prop_map(Op::DeleteRange),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    prop_oneof![
        key().prop_map(Compare::Absent),
        key().prop_map(Compare::Present),
        (key(), 0u64..20).prop_map(|(key, revision)| Compare::ModRevision(key, revision)),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let compares = prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(compare(), 1..3)];
    (compares, proptest::collection::vec(op(), 1..6)).prop_map(|(compares, ops)| {
        let transaction = compares.into_iter().fold(Transaction::new(), Transaction::when);
        ops.into_iter().fold(transaction, Transaction::op)
    })
}

async fn check_range(store: &RedbStore, model: &Model, revision: Revision, range: &KeyRange, reverse: bool) {
    let state = &model.states[usize::try_from(revision).unwrap()];
    let mut expected: Vec<_> = state.iter().filter(|(key, _)| range.contains(key)).collect();
    let mut options = RangeOptions::default().at(revision).limit(3);
    if reverse {
        expected.reverse();
        options = options.reverse();
    }
    let page = store.range(range.clone(), options).await.unwrap();
    assert_eq!(page.more, expected.len() > 3);
    assert_eq!(page.entries.len(), expected.len().min(3));
    for (entry, (key, row)) in page.entries.into_iter().zip(expected) {
        let found =
            Row { value: entry.value, create_revision: entry.create_revision, mod_revision: entry.mod_revision };
        assert_eq!((&entry.key, &found), (key, row));
    }
}

/// Replays the history that a watch tells, from an arbitrary revision on.
async fn check_watch(store: &RedbStore, model: &Model, from: Revision) {
    let mut replayed = model.states[usize::try_from(from).unwrap() - 1].clone();
    let mut watch = store.watch(KeyRange::all(), from);
    for (revision, state) in (from..).zip(&model.states[usize::try_from(from).unwrap()..]) {
        if *state == replayed {
            continue;
        }
        let event = watch.next().await.unwrap();
        assert_eq!(event.revision, revision);
        for change in event.changes {
            match change.kind {
                ChangeKind::Put(value) => {
                    let create_revision = replayed.get(&change.key).map_or(revision, |row| row.create_revision);
                    replayed.insert(change.key, Row { value, create_revision, mod_revision: revision });
                }
                ChangeKind::Delete => assert!(replayed.remove(&change.key).is_some()),
            }
        }
        assert_eq!(replayed, *state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_is_a_map_with_a_past(
        transactions in proptest::collection::vec(transaction(), 1..20),
        ranges in proptest::collection::vec((range(), any::<bool>()), 3),
        reopen_after in 0usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::new();
            let mut store = RedbStore::with_backend(disk.backend(), Options::default()).unwrap();
            let mut model = Model { states: vec![State::new()] };
            for (index, transaction) in transactions.iter().enumerate() {
                match (store.commit(transaction.clone()).await, model.commit(transaction)) {
                    (Ok(committed), Ok(revision)) => assert_eq!(committed.revision, revision),
                    (Err(StoreError::Conflict { index }), Err(expected)) => assert_eq!(index, expected),
                    (found, expected) => panic!("{found:?} where {expected:?} was expected"),
                }
                if index == reopen_after {
                    store.close().await.unwrap();
                    store = RedbStore::with_backend(disk.backend(), Options::default()).unwrap();
                }
            }
            for (range, reverse) in &ranges {
                for revision in 0..model.states.len() as Revision {
                    check_range(&store, &model, revision, range, *reverse).await;
                }
            }
            for from in 1..model.states.len() as Revision {
                check_watch(&store, &model, from).await;
            }
            store.close().await.unwrap();
        });
    }
}
