//! A workload whose traces show afterwards which transactions happened, and that each happened whole.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use outrigger_store::faults::Disk;
use outrigger_store::{
    Compare, Direction, Entry, Key, KeyRange, LogName, Options, RedbStore, Revision, Store, StoreError, Transaction,
};

/// What was acknowledged: the number of a transaction, and its revision.
pub(crate) type Acknowledged = BTreeMap<u64, Revision>;

/// Transaction `number`: a marker, a pair of keys, an entry of a log, and the one scratch key there ever is.
pub(crate) fn transaction(number: u64) -> Transaction {
    // From a few bytes to more than a page, so that pages split and the file grows.
    let value = vec![number.to_le_bytes()[0]; usize::try_from(number * 977 % 9000).unwrap()];
    Transaction::new()
        .when(Compare::Absent(numbered("t", number)))
        .put(numbered("t", number), number.to_string())
        .put(numbered("a", number), value.clone())
        .put(numbered("b", number), value)
        .delete_range(KeyRange::prefix(&Key::builder().text("scratch").build()))
        .put(numbered("scratch", number), "")
        .append("log", number.to_string())
}

fn numbered(kind: &str, number: u64) -> Key {
    Key::builder().text(kind).u64(number).build()
}

/// Commits transactions, up to four at once, and notes what was acknowledged. Returns what refused
/// the first one that was.
pub(crate) async fn run(
    store: &RedbStore,
    numbers: std::ops::Range<u64>,
    acknowledged: &mut Acknowledged,
) -> Option<StoreError> {
    let numbers: Vec<_> = numbers.collect();
    let mut refusal = None;
    for (batch, size) in numbers.chunks(4).zip([2, 3, 1, 4].into_iter().cycle()) {
        for some in batch.chunks(size) {
            let outcomes = join_all(some.iter().map(|number| store.commit(transaction(*number)))).await;
            for (number, outcome) in some.iter().zip(outcomes) {
                match outcome {
                    Ok(committed) => drop(acknowledged.insert(*number, committed.revision)),
                    Err(error) => drop(refusal.get_or_insert(error)),
                }
            }
        }
    }
    refusal
}

async fn all(store: &dyn Store, kind: &str) -> Vec<Entry> {
    let range = KeyRange::prefix(&Key::builder().text(kind).build());
    let page = store.list(range, 10_000).await.expect("reading works");
    assert!(!page.more);
    page.entries
}

fn by_number(entries: &[Entry], kind: &str) -> BTreeMap<u64, Revision> {
    let prefix = Key::builder().text(kind).build();
    let number = |entry: &Entry| entry.key.reader_after(&prefix).unwrap().u64().unwrap();
    entries.iter().map(|entry| (number(entry), entry.mod_revision)).collect()
}

/// Checks that everything acknowledged is there, and that whatever is there is whole. Returns the revision.
pub(crate) async fn verify(store: &dyn Store, acknowledged: &Acknowledged) -> Revision {
    let happened = by_number(&all(store, "t").await, "t");
    let revision = store.revision();
    for (number, at) in acknowledged {
        assert_eq!(happened.get(number), Some(at), "transaction {number} was acknowledged");
    }
    let mut revisions: Vec<_> = happened.values().copied().collect();
    revisions.sort_unstable();
    assert!(revisions.iter().copied().eq(1..=revision), "revisions have gaps: {revisions:?}, latest {revision}");
    for kind in ["a", "b"] {
        assert_eq!(by_number(&all(store, kind).await, kind), happened, "a transaction is there in part");
    }
    let scratch = by_number(&all(store, "scratch").await, "scratch");
    assert!(scratch.values().copied().eq((revision > 0).then_some(revision)), "{scratch:?} at {revision}");
    verify_log(store, &happened).await;
    verify_history(store, revision).await;
    revision
}

async fn verify_log(store: &dyn Store, happened: &BTreeMap<u64, Revision>) {
    let page = store.read_log(&LogName::from("log"), 0, 10_000, Direction::Forward).await.expect("reading works");
    assert!(page.entries.iter().map(|entry| entry.position).eq(0..happened.len() as u64));
    let number = |value: &[u8]| std::str::from_utf8(value).unwrap().parse::<u64>().unwrap();
    let logged: BTreeMap<_, _> = page.entries.iter().map(|entry| (number(&entry.value), entry.revision)).collect();
    assert_eq!(logged, *happened);
}

async fn verify_history(store: &dyn Store, revision: Revision) {
    let mut watch = store.watch(KeyRange::all(), 1);
    for expected in 1..=revision {
        let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("no event is missing");
        assert_eq!(event.expect("the change log is whole").revision, expected);
    }
}

/// The bytes of a store that was created and closed, with `count` transactions in it.
pub(crate) async fn image(count: u64) -> (Vec<u8>, Acknowledged) {
    let disk = Disk::new();
    let store = RedbStore::with_backend(disk.backend(), Options::default()).unwrap();
    let mut acknowledged = Acknowledged::new();
    assert!(run(&store, 0..count, &mut acknowledged).await.is_none());
    store.close().await.unwrap();
    (disk.content(), acknowledged)
}

/// How many random cases to try: a number from the environment, or a default that takes seconds.
pub(crate) fn cases(default: u64) -> u64 {
    std::env::var("OUTRIGGER_STORE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}
