//! Append-only logs.

use super::{Fixture, commit, concurrently, reopen};
use crate::key::Key;
use crate::link::{Link, Linked, SharedLink};
use crate::log::{Direction, LogName, LogPosition};
use crate::store::SharedStore;
use crate::transaction::{Compare, Transaction};

async fn append(store: &SharedStore, log: &str, value: &str) {
    commit(store, Transaction::new().append(log, value.to_owned())).await;
}

async fn positions(store: &SharedStore, log: &str, from: LogPosition, limit: usize, way: Direction) -> Vec<u64> {
    let page = store.read_log(&LogName::from(log), from, limit, way).await.unwrap();
    page.entries.iter().map(|entry| entry.position).collect()
}

pub async fn appends_are_numbered_without_gaps(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let both = Transaction::new().append("l", "a").append("other", "x").append("l", "b");
    let committed = store.commit(both).await.unwrap();
    assert_eq!(committed.log_positions, [0, 0, 1]);
    concurrently(&store, 20, |store, _| async move { append(&store, "l", "c").await }).await;
    let page = store.read_log(&LogName::from("l"), 0, 100, Direction::Forward).await.unwrap();
    assert!(page.entries.iter().map(|entry| entry.position).eq(0..22));
    assert!(page.entries.is_sorted_by_key(|entry| entry.revision));
    assert_eq!((page.next_position, page.more), (22, false));
    assert_eq!(&page.entries[1].value[..], b"b");
}

pub async fn a_log_is_read_both_ways(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for value in ["0", "1", "2", "3", "4"] {
        append(&store, "l", value).await;
    }
    assert_eq!(positions(&store, "l", 1, 2, Direction::Forward).await, [1, 2]);
    assert_eq!(positions(&store, "l", 3, 9, Direction::Forward).await, [3, 4]);
    assert_eq!(positions(&store, "l", 5, 9, Direction::Forward).await, [0; 0]);
    assert_eq!(positions(&store, "l", LogPosition::MAX, 2, Direction::Backward).await, [4, 3]);
    assert_eq!(positions(&store, "l", 1, 9, Direction::Backward).await, [1, 0]);
    let page = store.read_log(&LogName::from("l"), 0, 5, Direction::Forward).await.unwrap();
    assert!(!page.more);
    let page = store.read_log(&LogName::from("l"), 4, 4, Direction::Backward).await.unwrap();
    assert!(page.more);
}

pub async fn an_unwritten_log_is_empty(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let page = store.read_log(&LogName::from("l"), 0, 10, Direction::Forward).await.unwrap();
    assert_eq!((page.entries.len(), page.more, page.next_position), (0, false, 0));
    assert_eq!(store.trim_log(&LogName::from("l"), 10).await.unwrap(), 0);
}

pub async fn trimming_removes_the_old_end_only(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let many = (0..2500).fold(Transaction::new(), |t, i| t.append("l", i.to_string()));
    commit(&store, many.append("m", "x")).await;
    assert_eq!(store.trim_log(&LogName::from("l"), 2400).await.unwrap(), 2400);
    assert_eq!(store.trim_log(&LogName::from("l"), 2400).await.unwrap(), 0);
    assert_eq!(positions(&store, "l", 0, 1, Direction::Forward).await, [2400]);
    assert_eq!(positions(&store, "l", 0, 1000, Direction::Forward).await.len(), 100);
    assert_eq!(positions(&store, "m", 0, 10, Direction::Forward).await, [0]);
    assert_eq!(store.revision(), 1);
}

pub async fn positions_are_not_reused_after_a_trim(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    for value in ["0", "1", "2"] {
        append(&store, "l", value).await;
    }
    assert_eq!(store.trim_log(&LogName::from("l"), LogPosition::MAX).await.unwrap(), 3);
    let store = reopen(fixture, store).await;
    append(&store, "l", "3").await;
    let page = store.read_log(&LogName::from("l"), 0, 10, Direction::Forward).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!((page.entries[0].position, page.next_position), (3, 4));
}

pub async fn logs_with_similar_names_do_not_mix(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let names = [
        Key::from("l"),
        Key::from("l\0"),
        Key::from("l\0\0\0\0\0\0\0\0"),
        Key::from("la"),
        Key::from(vec![b'l', 0xFF]),
    ];
    for (index, name) in names.iter().enumerate() {
        let transaction = (0..=index).fold(Transaction::new(), |t, _| t.append(name.clone(), "x"));
        commit(&store, transaction).await;
    }
    for (index, name) in names.iter().enumerate() {
        let log = LogName::from(name.clone());
        for (from, way) in [(0, Direction::Forward), (LogPosition::MAX, Direction::Backward)] {
            let page = store.read_log(&log, from, 100, way).await.unwrap();
            assert_eq!((page.entries.len(), page.next_position), (index + 1, index as u64 + 1));
        }
    }
}

pub async fn a_refused_transaction_appends_nothing(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    append(&store, "l", "0").await;
    let refused = Transaction::new().when(Compare::Present(Key::from("k"))).append("l", "1");
    assert!(store.commit(refused).await.is_err());
    append(&store, "l", "2").await;
    let page = store.read_log(&LogName::from("l"), 0, 10, Direction::Forward).await.unwrap();
    let values: Vec<_> = page.entries.iter().map(|entry| &entry.value[..]).collect();
    assert_eq!(values, [b"0", b"2"]);
}

/// Each entry names the one before it, and the head names the last.
struct Names;

impl Link for Names {
    fn link(&self, head: Option<&[u8]>, position: LogPosition, value: &[u8]) -> Linked {
        let before = head.map_or("nothing".into(), String::from_utf8_lossy);
        let name = format!("{position}:{}", String::from_utf8_lossy(value));
        Linked { entry: format!("{name} after {before}").into(), head: name.into() }
    }
}

/// Reads the log `l` and its head, and says how many links there are. All have to fit.
async fn links(store: &SharedStore) -> usize {
    let page = store.read_log(&LogName::from("l"), 0, 1000, Direction::Forward).await.unwrap();
    let mut before = "nothing".to_owned();
    for entry in &page.entries {
        let text = String::from_utf8(entry.value.to_vec()).unwrap();
        let (name, after) = text.split_once(" after ").unwrap();
        assert!(name.starts_with(&format!("{}:", entry.position)), "{text}");
        assert_eq!(after, before);
        before = name.to_owned();
    }
    let head = store.get(&Key::from("head")).await.unwrap().map(|row| row.value);
    assert_eq!(head.as_deref().unwrap_or(b"nothing"), before.as_bytes());
    page.entries.len()
}

pub async fn linked_appends_follow_each_other_whoever_makes_them(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let link = SharedLink::new(Names);
    let three = ["a", "b", "c"].into_iter().fold(Transaction::new(), |t, v| t.append_linked("l", "head", v, &link));
    let committed = store.commit(three.append("other", "x")).await.unwrap();
    assert_eq!(committed.log_positions, [0, 1, 2, 0]);
    concurrently(&store, 40, |store, index| {
        let link = link.clone();
        async move {
            let transaction = Transaction::new().append_linked("l", "head", index.to_string(), &link);
            commit(&store, transaction).await;
        }
    })
    .await;
    let store = reopen(fixture, store).await;
    commit(&store, Transaction::new().append_linked("l", "head", "last", &link)).await;
    assert_eq!(links(&store).await, 44);
}

pub async fn a_refused_linked_append_leaves_no_link(fixture: &dyn Fixture) {
    let store = fixture.open().await;
    let link = SharedLink::new(Names);
    let append = |value: &'static str| Transaction::new().append_linked("l", "head", value, &link);
    commit(&store, append("a")).await;
    assert!(store.commit(append("b").when(Compare::Present(Key::from("k")))).await.is_err());
    commit(&store, append("c")).await;
    assert_eq!(links(&store).await, 2);
}
