//! How many bytes a sample of history takes in the control plane's own file, and how fast an hour of one metric is read
//! back, beside VictoriaMetrics and Prometheus with the same samples.
//!
//! What is counted is all that `telemetry.redb` takes on the disk, with the index, the free pages that the journal and
//! the pieces of hours left behind, and once with and once without roll-ups, which the others do not have. Theirs are
//! the files that hold samples; their index of names is not counted.

mod load;
mod peers;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_archive::{Aggregate, Archive, ArchiveConfig, Clock, Query, Tiers};
use outrigger_ingest::Source;
use outrigger_protocol::id::{DeploymentId, OrganizationId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Key, KeyRange, Options, RangeOptions, RedbStore, SharedStore};

use crate::figure::{Figure, Reference};
use crate::statistics::Measurements;

use load::Load;

/// Of what an hour is made, and how many of them there are: enough that what a file has besides rows does not matter.
const HOURS: u64 = 3;
const HOUR: u64 = 3_600;
/// Between two flushes, in seconds: those of a control plane, four of them in one.
const FLUSH: u64 = 16;

/// # Errors
/// The disk does not take it, or a peer that is installed does not do as it is told.
pub async fn measure(directory: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, load) in [("busy", Load::busy(60)), ("one busy to four idle", Load::mixed(20))] {
        let samples = load.samples(HOURS * HOUR);
        let each = |bytes: u64| bytes as f64 / samples as f64;
        let finest = Tiers::new(vec![Tiers::default().finest()])?;
        let file = directory.join(format!("{}.redb", name.replace(' ', "-")));
        let alone = write(&file.with_extension("seconds.redb"), &load, finest).await?;
        let whole = write(&file, &load, Tiers::default()).await?;
        let victoria = peers::victoria(directory, &load, HOURS * HOUR).await;
        let prometheus = peers::prometheus(directory, &load, HOURS * HOUR).await;
        let beside = |what: &str, bytes: &Result<u64, String>| Reference {
            what: what.to_owned(),
            value: bytes.clone().map(each),
        };
        let goal = [&victoria, &prometheus].map(|bytes| bytes.as_ref().ok().map(|bytes| each(*bytes)));
        let mut figure = Figure::new(format!("history, {name}: file, by the second"), "bytes/sample", each(alone));
        if let [Some(victoria), Some(prometheus)] = goal {
            figure = figure.at_most((0.9 * victoria).min(0.5 * prometheus));
        }
        figures.push(figure.beside(beside("VictoriaMetrics", &victoria)).beside(beside("Prometheus", &prometheus)));
        let pages = pages(&file.with_extension("seconds.redb")).await?;
        figures.push(Figure::new(
            format!("history, {name}: pages that rows fill, by the second"),
            "bytes/sample",
            each(pages),
        ));
        figures.push(Figure::new(format!("history, {name}: file, with all roll-ups"), "bytes/sample", each(whole)));
        figures.push(read(&file, &load, name).await?);
    }
    Ok(figures)
}

/// A history over a file, whose clock goes as fast as the samples come.
struct Past {
    store: SharedStore,
    archive: Archive,
    now: Arc<AtomicU64>,
}

impl Past {
    async fn open(file: &Path, tiers: Tiers, now: u64) -> Result<Self> {
        // As the control plane opens it.
        let options = Options { change_log_revisions: 1, change_log_bytes: 1, ..Options::default() };
        let store: SharedStore = Arc::new(RedbStore::open(file, options)?);
        let now = Arc::new(AtomicU64::new(now));
        let told = Arc::clone(&now);
        let clock = Clock::new(move || load::second(told.load(Ordering::Relaxed)));
        let archive = Archive::open(Arc::clone(&store), ArchiveConfig { tiers, clock, ..ArchiveConfig::default() });
        Ok(Self { archive: archive.await?, store, now })
    }

    async fn close(self) -> Result<()> {
        self.archive.close().await;
        self.store.close().await.context("the file cannot be closed")
    }
}

const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([7; 16]);

/// What `st_blocks` counts (stat(2)).
const BLOCK: u64 = 512;

/// Bytes that the file takes on the disk when all of it is written and every hour sealed.
async fn write(file: &Path, load: &Load, tiers: Tiers) -> Result<u64> {
    let past = Past::open(file, tiers, 0).await?;
    let (sink, organization) = (past.archive.sink(), OrganizationId::generate());
    let mut sandboxes = load.sandboxes();
    for from in (0..HOURS * HOUR).step_by(usize::try_from(FLUSH)?) {
        let now = from + FLUSH;
        past.now.store(now, Ordering::Relaxed);
        for sandbox in &mut sandboxes {
            let samples: Vec<_> = (from..now.min(HOURS * HOUR)).map(|at| sandbox.sample(at)).collect();
            let source = Source { organization, deployment: DEPLOYMENT, instance: sandbox.instance };
            sink.samples(source, Duration::from_secs(1), &samples, load::second(now));
        }
        past.archive.flush().await;
        past.archive.maintain(false).await;
    }
    past.now.store(HOURS * HOUR + 600, Ordering::Relaxed);
    past.archive.maintain(true).await;
    past.archive.maintain(false).await;
    let stats = past.archive.stats();
    ensure!(stats.failures + stats.damaged + stats.dropped_full == 0, "not everything was kept: {stats:?}");
    past.close().await?;
    // Its length is what redb reserves, up to twice as much, with holes where nothing was written yet.
    Ok(std::fs::metadata(file)?.blocks() * BLOCK)
}

/// Bytes of the pages that the rows in a file fill: what the file would have without free ones.
async fn pages(file: &Path) -> Result<u64> {
    /// What redb gives a row: a part of a page, or a power of two of them; and what it writes into them besides.
    const PAGE: u64 = 4_096;
    const RESERVED: u64 = 48;
    let past = Past::open(file, Tiers::default(), HOURS * HOUR + 600).await?;
    let (mut bytes, mut rest) = (0, KeyRange::prefix(&Key::builder().text("history").build()));
    loop {
        let page = past.store.range(rest.clone(), RangeOptions::default()).await?;
        for entry in &page.entries {
            let length = (entry.key.len() + entry.value.len()) as u64 + RESERVED;
            bytes += if length <= PAGE { length } else { length.div_ceil(PAGE).next_power_of_two() * PAGE };
        }
        match page.entries.last() {
            Some(last) if page.more => rest = rest.after(&last.key),
            _ => break,
        }
    }
    past.close().await?;
    Ok(bytes)
}

/// An hour of seconds of each metric of some sandboxes, from a file that was just opened.
async fn read(file: &Path, load: &Load, name: &str) -> Result<Figure> {
    let past = Past::open(file, Tiers::default(), HOURS * HOUR + 600).await?;
    let mut took = Vec::new();
    for sandbox in load.sandboxes().iter().step_by(7) {
        for metric in load::METRICS {
            let query = Query {
                deployment: DEPLOYMENT,
                instance: Some(sandbox.instance),
                metric: metric.name().to_owned(),
                from: load::second((HOURS - 1) * HOUR),
                to: load::second(HOURS * HOUR),
                step: Some(Duration::from_secs(1)),
                aggregate: Aggregate::Avg,
            };
            let started = Instant::now();
            let answer = past.archive.query(query).await?;
            took.push(started.elapsed());
            ensure!(answer.points.iter().all(Option::is_some), "{} has gaps", metric.name());
        }
    }
    past.close().await?;
    let took = Measurements::of_durations(took).context("nothing was read")?;
    Ok(Figure::new(format!("history, {name}: an hour of seconds of one metric read, p99"), "ms", took.p99())
        .at_most(2.0))
}

/// Of the samples of a load, as their readings are kept.
fn each_series(
    load: &Load,
    seconds: u64,
    mut each: impl FnMut(&str, usize, &mut dyn Iterator<Item = (UnixMillis, f64)>),
) {
    use outrigger_history::precision::rounded;
    for (number, sandbox) in load.sandboxes().iter_mut().enumerate() {
        let samples: Vec<_> = (0..seconds).map(|at| sandbox.sample(at)).collect();
        for metric in load::METRICS {
            let values =
                samples.iter().filter_map(|sample| Some((sample.at, rounded(metric.unit(), sample.value(metric)?))));
            each(metric.name(), number, &mut values.into_iter());
        }
    }
}
