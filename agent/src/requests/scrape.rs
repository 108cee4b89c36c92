//! The program's own metrics, asked for over HTTP shortly before each sample.
//!
//! `fetch` asks, `exposition` reads a line, `collect` keeps what some rule means, `series` compares an answer with the one
//! before and turns counters into rates. An answer counts as a whole or not at all: one that breaks off says nothing.
//!
//! What must never be true: two questions at a time; an answer that is held in memory; a series without a bound; a
//! program that does not answer reported as one without requests.

mod collect;
mod exposition;
mod fetch;
mod lines;
mod series;
mod url;

use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger_protocol::sample::Sample;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

pub use self::collect::{Collector, Format, Incomplete};
pub use self::exposition::{Kind, Line, LineError, Point, parse};
pub use self::fetch::BODY_BYTES;
pub use self::lines::LINE_BYTES;
pub use self::series::{SERIES, Seen};
pub use self::url::{ParseScrapeUrlError, ScrapeUrl};
use super::mapping::Mapping;
use super::reading::Reading;
use crate::config::duration;
use crate::probes::Lookup;
use crate::sampler::ProgramPid;
use crate::session::text;

/// From the question to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So long before a sample, or a quarter of the interval when that is less: an answer is to be there when the sample is
/// taken, and still fresh.
const LEAD: Duration = Duration::from_millis(50);
/// Programs need a while until they listen. This many failures in a row are worth a line in the log.
const FAILURES_TOLD: u64 = 10;

/// What is asked, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeConfig {
    pub url: ScrapeUrl,
    /// At least so long from one question to the next; with each sample otherwise.
    pub interval: Option<Duration>,
}

/// When samples are taken.
#[derive(Debug, Clone, Copy)]
struct Beat {
    next: Instant,
    interval: Duration,
}

/// For the status command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrapeFigures {
    pub answers: u64,
    /// Since the last answer.
    pub failures: u64,
    /// Why there was none, when there was none.
    pub last_error: Option<String>,
    /// Values that are kept of one answer.
    pub series: usize,
    /// Lines of the latest answer that could not be read.
    pub malformed: u64,
    /// What of the latest answer found no place.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    reading: Option<Reading>,
    figures: ScrapeFigures,
}

/// The task that asks, and what it found. It ends with this handle.
#[derive(Debug)]
pub struct Scraper {
    url: String,
    shared: Arc<Mutex<Shared>>,
    beats: watch::Sender<Beat>,
}

impl Scraper {
    /// Asks before each sample, the first of which is taken at `next`, as long as the program runs.
    #[must_use]
    pub fn start(
        config: &ScrapeConfig,
        mapping: Mapping,
        program: ProgramPid,
        next: Instant,
        interval: Duration,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (beats, heard) = watch::channel(Beat { next, interval });
        let task = Task {
            url: config.url.clone(),
            interval: config.interval.unwrap_or(Duration::ZERO),
            mapping: Arc::new(mapping),
            hashes: RandomState::new(),
            lookup: Lookup::default(),
            program,
            shared: Arc::clone(&shared),
            before: None,
            loss_told: false,
        };
        tokio::spawn(task.run(heard));
        Self { url: config.url.to_string(), shared, beats }
    }

    /// When the next sample is taken.
    pub fn expect(&self, next: Instant, interval: Duration) {
        self.beats.send_replace(Beat { next, interval });
    }

    /// Puts what came since the last time into a sample.
    pub fn take(&self, sample: &mut Sample) {
        let mut shared = lock(&self.shared);
        if let Some(reading) = shared.reading.take() {
            let dropped = reading.record(sample);
            shared.figures.dropped += dropped;
        }
    }

    #[must_use]
    pub fn figures(&self) -> ScrapeFigures {
        lock(&self.shared).figures.clone()
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Task {
    url: ScrapeUrl,
    interval: Duration,
    mapping: Arc<Mapping>,
    hashes: RandomState,
    lookup: Lookup,
    program: ProgramPid,
    shared: Arc<Mutex<Shared>>,
    before: Option<(Seen, Instant)>,
    loss_told: bool,
}

impl Task {
    async fn run(mut self, mut beats: watch::Receiver<Beat>) {
        let mut last: Option<Instant> = None;
        loop {
            let beat = *beats.borrow_and_update();
            let lead = LEAD.min(beat.interval / 4);
            let at = beat.next.checked_sub(lead).unwrap_or(beat.next);
            // A sample that comes a little early is still the one that was meant.
            if last.is_none_or(|last| at + lead >= last + self.interval) {
                tokio::select! {
                    biased;
                    () = sleep_until(at.into()) => {}
                    changed = beats.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
                let began = Instant::now();
                // Who does not answer is asked again before the next sample: it may only be starting.
                if self.program.pid().is_some() && self.ask(began).await {
                    last = Some(began);
                }
            }
            if beats.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns whether there was an answer.
    async fn ask(&mut self, began: Instant) -> bool {
        let asked = fetch::fetch(&self.url, &self.lookup, &self.mapping, &self.hashes);
        let error = match timeout(TIMEOUT, asked).await {
            Ok(Ok(seen)) => {
                self.answered(seen, began);
                return true;
            }
            Ok(Err(error)) => text(&error),
            Err(_elapsed) => format!("no answer within {}", duration::display(TIMEOUT)),
        };
        self.failed(error);
        false
    }

    fn answered(&mut self, seen: Seen, at: Instant) {
        let before = self.before.as_ref().map(|(seen, then)| (seen, at.saturating_duration_since(*then)));
        let mut reading = seen.reading(&self.mapping, before);
        let mut shared = lock(&self.shared);
        if let Some(unread) = shared.reading.take() {
            reading.take_over(unread);
        }
        let failures = std::mem::take(&mut shared.figures.failures);
        if failures >= FAILURES_TOLD {
            tracing::info!(url = %self.url, "the program's metrics are there again");
        }
        let dropped = seen.dropped + reading.dropped();
        if dropped > 0 && !std::mem::replace(&mut self.loss_told, true) {
            tracing::warn!(url = %self.url, dropped, "the program has more metrics than are kept: some are dropped");
        }
        shared.figures = ScrapeFigures {
            answers: shared.figures.answers + 1,
            failures: 0,
            last_error: None,
            series: seen.len(),
            malformed: seen.malformed,
            dropped,
        };
        shared.reading = Some(reading);
        drop(shared);
        self.before = Some((seen, at));
    }

    fn failed(&self, error: String) {
        tracing::debug!(url = %self.url, %error, "no metrics of the program");
        let mut shared = lock(&self.shared);
        shared.figures.failures += 1;
        if shared.figures.failures == FAILURES_TOLD {
            tracing::warn!(url = %self.url, %error, "the program gives no metrics");
        }
        shared.figures.last_error = Some(error);
    }
}
