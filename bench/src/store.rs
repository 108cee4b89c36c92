//! What a durable write costs, beside the bare system call that makes it durable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use outrigger_store::{Key, Options, RedbStore, Store as _, Transaction};

use crate::figure::{Figure, Reference};
use crate::statistics::Measurements;

/// A value as a row of the control plane is.
const VALUE_BYTES: usize = 512;
const COMMITS: usize = 200;
/// Commits that wait at the same time, and how many each makes.
const COMMITTERS: usize = 500;
const COMMITS_EACH: usize = 8;

/// # Errors
/// The disk does not take it.
pub async fn measure(directory: &Path) -> Result<Vec<Figure>> {
    let store = RedbStore::open(directory.join("store.redb"), Options::default())?;
    let mut bare = BareFile::create(&directory.join("bare"))?;
    let (mut committed, mut synced) = (Vec::new(), Vec::new());
    for number in 0..COMMITS {
        committed.push(commit(&store, "alone", number).await?);
        synced.push(bare.append()?);
    }
    let committed = Measurements::of_durations(committed).context("nothing was committed")?;
    let synced = Measurements::of_durations(synced).context("nothing was synchronised")?;

    let started = Instant::now();
    let waited = try_join_all((0..COMMITTERS).map(|committer| committer_of(&store, committer))).await?;
    let elapsed = started.elapsed();
    let together = Measurements::of_durations(waited.into_iter().flatten()).context("nothing was committed")?;
    let each = elapsed.as_secs_f64() * 1e6 / (COMMITTERS * COMMITS_EACH) as f64;
    let stats = store.stats();
    ensure!(stats.commits >= (COMMITS + COMMITTERS * COMMITS_EACH) as u64, "commits are missing: {stats:?}");
    store.close().await?;
    Ok(vec![
        Figure::new(format!("store: one durable commit of {VALUE_BYTES} bytes, median"), "ms", committed.median())
            .beside(Reference::new("write and fdatasync of the same bytes", synced.median())),
        Figure::new(format!("store: a commit among {COMMITTERS} at a time, p99"), "ms", together.p99()),
        Figure::new(format!("store: per commit, {COMMITTERS} at a time"), "µs", each)
            .beside(Reference::new("write and fdatasync of the same bytes", synced.median() * 1e3)),
    ])
}

async fn commit(store: &RedbStore, table: &str, number: usize) -> Result<Duration> {
    let key = Key::builder().text(table).u64(number as u64).build();
    let started = Instant::now();
    store.commit(Transaction::new().put(key, vec![7; VALUE_BYTES])).await?;
    Ok(started.elapsed())
}

async fn committer_of(store: &RedbStore, committer: usize) -> Result<Vec<Duration>> {
    let table = format!("committer {committer}");
    let mut waited = Vec::with_capacity(COMMITS_EACH);
    for number in 0..COMMITS_EACH {
        waited.push(commit(store, &table, number).await?);
    }
    Ok(waited)
}

/// A file that grows by one value at a time, each synchronised.
struct BareFile {
    file: File,
    length: u64,
}

impl BareFile {
    fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: File::create(path).context("cannot create a file")?, length: 0 })
    }

    fn append(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.file.write_all_at(&[7; VALUE_BYTES], self.length)?;
        self.file.sync_data()?;
        self.length += VALUE_BYTES as u64;
        Ok(started.elapsed())
    }
}
