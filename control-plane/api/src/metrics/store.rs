//! The databases: the catalog, and what else there is.

use outrigger_store::{Health, StoreStats};

use super::exposition::{Kind, Labels, Page};
use crate::state::StoreProbe;

const STATES: [&str; 4] = ["ready", "full", "failed", "closed"];

/// A store as it is at this moment.
struct Row {
    labels: Labels,
    state: &'static str,
    stats: StoreStats,
    bytes: Option<u64>,
}

impl Row {
    fn new(name: &str, store: &StoreProbe) -> Self {
        let state = match store.health() {
            Health::Ready => "ready",
            Health::Full => "full",
            Health::Closed => "closed",
            _ => "failed",
        };
        Self { labels: Labels::new(&[("store", &name)]), state, stats: store.stats(), bytes: store.file_bytes() }
    }
}

type Value = (Kind, &'static str, &'static str, fn(&StoreStats) -> f64);

const VALUES: &[Value] = &[
    (Kind::Gauge, "revision", "The latest revision.", |stats| stats.revision as f64),
    (Kind::Gauge, "oldest_revision", "The oldest revision that can still be read.", |stats| {
        stats.oldest_revision as f64
    }),
    (Kind::Counter, "commits", "Transactions committed.", |stats| stats.commits as f64),
    (Kind::Counter, "conflicts", "Transactions refused because a compare did not hold.", |stats| {
        stats.conflicts as f64
    }),
    (Kind::Counter, "groups", "Synchronised writes, each shared by the transactions that waited.", |stats| {
        stats.groups as f64
    }),
    (Kind::Gauge, "largest_group", "The most transactions that one synchronised write carried.", |stats| {
        stats.largest_group as f64
    }),
    (
        Kind::Counter,
        "write_seconds",
        "Time spent in synchronised writes; divided by outrigger_store_groups_total, the latency of one.",
        |stats| stats.write_time.as_secs_f64(),
    ),
    (Kind::Gauge, "queued", "Requests waiting for the writer.", |stats| stats.queued as f64),
    (Kind::Gauge, "queued_bytes", "Bytes of the requests waiting for the writer.", |stats| stats.queued_bytes as f64),
    (Kind::Counter, "overloads", "Requests refused because the queue was full.", |stats| stats.overloads as f64),
    (Kind::Counter, "full", "Writes refused because the disk was full.", |stats| stats.full as f64),
    (Kind::Counter, "failures", "Writes refused because the storage had failed.", |stats| stats.failures as f64),
    (Kind::Counter, "read_failures", "Reads that failed.", |stats| stats.read_failures as f64),
    (Kind::Gauge, "watches", "Watches open now.", |stats| stats.watches as f64),
];

pub(super) fn write<'a>(page: &mut Page, stores: impl Iterator<Item = (&'static str, &'a StoreProbe)>) {
    let rows: Vec<Row> = stores.map(|(name, store)| Row::new(name, store)).collect();
    let help = "1 for the state that the store is in: ready, full (reads go on, writes are refused), failed or closed.";
    let mut states = page.family(Kind::Gauge, "outrigger_store_state", help);
    for row in &rows {
        for state in STATES {
            states.sample(&row.labels.with("state", &state), state == row.state);
        }
    }
    drop(states);
    for (kind, name, help, value) in VALUES {
        let mut family = page.family(*kind, format_args!("outrigger_store_{name}"), help);
        for row in &rows {
            family.sample(&row.labels, value(&row.stats));
        }
    }
    let mut sizes = page.family(Kind::Gauge, "outrigger_store_size_bytes", "Size of the store's file.");
    for row in &rows {
        if let Some(bytes) = row.bytes {
            sizes.sample(&row.labels, bytes);
        }
    }
}
