//! Reads of ranges and of the past, and watches.

use std::collections::BTreeMap;

use super::{Fixture, RETAINED, commit, concurrently, end, everything, next, put, reopen, text};
use crate::error::StoreError;
use crate::key::{Key, KeyRange};
use crate::store::{RangeOptions, SharedStore};
use crate::transaction::Transaction;
use crate::watch::{Change, ChangeKind, Event};

async fn keys(store: &SharedStore, range: KeyRange, options: RangeOptions) -> (Vec<String>, bool) {
    let page = store.range(range, options).await.unwrap();
    (page.entries.iter().map(|entry| entry.key.to_string()).collect(), page.more)
}

fn change(key: &str, value: Option<&str>) -> Change {
    let kind = value.map_or(ChangeKind::Delete, |value| ChangeKind::Put(value.to_owned().into()));
    Change { key: Key::from(key), kind }
}

pub async fn ranges_are_ordered_limited_and_reversible(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for key in ["b", "a", "d", "c", "e"] {
        put(&store, key, key).await;
    }
    let middle = KeyRange::between(Key::from("b"), Key::from("e"));
    let options = RangeOptions::default();
    assert_eq!(keys(&store, middle.clone(), options).await, (vec!["b".into(), "c".into(), "d".into()], false));
    assert_eq!(keys(&store, middle.clone(), options.limit(2)).await, (vec!["b".into(), "c".into()], true));
    assert!(!keys(&store, middle.clone(), options.limit(3)).await.1);
    assert_eq!(keys(&store, middle.clone(), options.limit(2).reverse()).await, (vec!["d".into(), "c".into()], true));
    assert_eq!(keys(&store, middle.before(&Key::from("c")), options.reverse()).await, (vec!["b".into()], false));
    let nothing = KeyRange::between(Key::from("e"), Key::from("b"));
    assert_eq!(keys(&store, nothing, options).await, (vec![], false));
}

pub async fn pages_continue_at_one_revision_while_others_write(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let all = (0..20).fold(Transaction::new(), |t, i| t.put(format!("k{i:02}"), "old"));
    commit(&store, all).await;
    for reverse in [false, true] {
        let direction = if reverse { RangeOptions::default().reverse() } else { RangeOptions::default() };
        let mut range = KeyRange::prefix(&Key::from("k"));
        let first = store.range(range.clone(), direction.limit(6)).await.unwrap();
        let mut found = first.entries;
        // Everything that a page could get wrong: changed, deleted and new keys, before and behind it.
        let disturb = Transaction::new().put("k03", "new").put("k10", "new").delete("k12").put("k12a", "new");
        commit(&store, disturb).await;
        loop {
            let last = found.last().unwrap().key.clone();
            range = if reverse { range.before(&last) } else { range.after(&last) };
            let page = store.range(range.clone(), direction.at(first.revision).limit(6)).await.unwrap();
            found.extend(page.entries);
            if !page.more {
                break;
            }
        }
        let mut found: Vec<_> = found.iter().map(text).collect();
        if reverse {
            found.reverse();
        }
        let old: Vec<_> = (0..20).map(|i| (format!("k{i:02}"), "old".to_owned())).collect();
        assert_eq!(found, old);
        let restore = Transaction::new().put("k03", "old").put("k10", "old").put("k12", "old").delete("k12a");
        commit(&store, restore).await;
    }
    let listed = store.list(KeyRange::prefix(&Key::from("k")), 7).await.unwrap();
    assert_eq!((listed.entries.len(), listed.more), (7, true));
}

pub async fn the_recent_past_is_read_as_it_was(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut states: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
    for step in 0..RETAINED / 2 {
        let mut state = states.last().unwrap().clone();
        let (kept, dropped) = (format!("k{}", step % 7), format!("k{}", (step * 3) % 7));
        let transaction = Transaction::new().put(kept.clone(), step.to_string()).delete(dropped.clone());
        commit(&store, transaction).await;
        state.insert(kept, step.to_string());
        state.remove(&dropped);
        states.push(state);
    }
    for (revision, state) in (0..).zip(&states) {
        let page = store.range(KeyRange::all(), RangeOptions::default().at(revision)).await.unwrap();
        assert_eq!(page.revision, revision);
        assert_eq!(page.entries.iter().map(text).collect::<BTreeMap<_, _>>(), *state);
        for entry in &page.entries {
            assert!(entry.create_revision <= entry.mod_revision && entry.mod_revision <= revision);
        }
    }
}

pub async fn the_distant_past_and_the_future_are_refused(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for step in 0..RETAINED * 3 {
        put(&store, "k", &step.to_string()).await;
    }
    let latest = store.revision();
    let at = |revision| store.range(KeyRange::all(), RangeOptions::default().at(revision));
    assert!(at(latest - RETAINED).await.is_ok());
    match at(1).await {
        Err(StoreError::Compacted { requested: 1, oldest }) => {
            assert!(at(oldest).await.is_ok());
            assert!(matches!(at(oldest - 1).await, Err(StoreError::Compacted { .. })));
        }
        other => panic!("expected a compacted revision, got {other:?}"),
    }
    let future = at(latest + 1).await;
    assert!(matches!(future, Err(StoreError::FutureRevision { latest: l, .. }) if l == latest), "{future:?}");
}

pub async fn a_watch_sees_every_change_of_its_range_in_order(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch(KeyRange::prefix(&Key::from("in/")), 1);
    commit(&store, Transaction::new().put("in/b", "1").put("in/a", "1").put("out", "1")).await;
    put(&store, "out", "2").await;
    commit(&store, Transaction::new().delete("in/a").delete("in/never")).await;
    put(&store, "in/a", "2").await;
    let first = vec![change("in/a", Some("1")), change("in/b", Some("1"))];
    assert_eq!(next(&mut watch).await, Event { revision: 1, changes: first });
    assert_eq!(next(&mut watch).await, Event { revision: 3, changes: vec![change("in/a", None)] });
    assert_eq!(next(&mut watch).await, Event { revision: 4, changes: vec![change("in/a", Some("2"))] });
    assert_eq!(watch.revision(), 4);
}

pub async fn a_watch_resumes_where_another_stopped(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    concurrently(&store, 30, |store, index| async move {
        put(&store, &format!("k{}", index % 4), &index.to_string()).await;
    })
    .await;
    let mut whole = Vec::new();
    let mut watch = store.watch(KeyRange::all(), 1);
    for _ in 0..30 {
        whole.push(next(&mut watch).await);
    }
    let mut pieces: Vec<Event> = Vec::new();
    while pieces.len() < 30 {
        let from = pieces.last().map_or(0, |event| event.revision) + 1;
        let mut watch = store.watch(KeyRange::all(), from);
        for _ in 0..7.min(30 - pieces.len()) {
            pieces.push(next(&mut watch).await);
        }
    }
    assert_eq!(pieces, whole);
    assert!(whole.iter().map(|event| event.revision).eq(1..=30));
    let replayed: BTreeMap<_, _> = whole.into_iter().flat_map(|event| event.changes).map(as_text).collect();
    assert_eq!(replayed.into_iter().collect::<Vec<_>>(), everything(&store).await);
}

fn as_text(change: Change) -> (String, String) {
    match change.kind {
        ChangeKind::Put(value) => (change.key.to_string(), String::from_utf8(value.to_vec()).unwrap()),
        ChangeKind::Delete => panic!("nothing was deleted"),
    }
}

pub async fn a_watch_waits_for_the_future(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch(KeyRange::all(), 3);
    let writer = async {
        for value in ["1", "2", "3"] {
            put(&store, "k", value).await;
        }
    };
    let (event, ()) = tokio::join!(next(&mut watch), writer);
    assert_eq!(event, Event { revision: 3, changes: vec![change("k", Some("3"))] });
}

pub async fn a_watch_of_compacted_revisions_says_so(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut slow = store.watch(KeyRange::all(), 1);
    for step in 0..RETAINED * 3 {
        put(&store, "k", &step.to_string()).await;
    }
    let StoreError::Compacted { requested: 1, oldest } = end(&mut slow).await else { panic!("it is compacted") };
    assert!(matches!(end(&mut slow).await, StoreError::Closed));
    let mut again = store.watch(KeyRange::all(), oldest);
    assert_eq!(next(&mut again).await.revision, oldest);
}

pub async fn a_watch_ends_when_the_store_closes(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let mut watch = store.watch(KeyRange::all(), 1);
    let (ended, closed) = tokio::join!(end(&mut watch), store.close());
    assert!(matches!(ended, StoreError::Closed));
    closed.unwrap();
}

pub async fn history_survives_reopening(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    put(&store, "k", "1").await;
    put(&store, "k", "2").await;
    let store = reopen(fixture, store).await;
    let page = store.range(KeyRange::all(), RangeOptions::default().at(1)).await.unwrap();
    assert_eq!(page.entries.iter().map(text).collect::<Vec<_>>(), [("k".to_owned(), "1".to_owned())]);
    let mut watch = store.watch(KeyRange::all(), 2);
    assert_eq!(next(&mut watch).await, Event { revision: 2, changes: vec![change("k", Some("2"))] });
}
