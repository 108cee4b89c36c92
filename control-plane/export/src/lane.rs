//! One signal of one destination: takes batches off its queue, one at a time, and does not let go of one before the receiver
//! has it, refuses it, or has been away for too long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Pace};
use crate::grouped::Namings;
use crate::instances::Said;
use crate::naming::{Directory, Names};
use crate::queue::{Load, Queue};
use crate::receiver::{Outcome, Receiver};
use crate::stats::{Counters, add};

/// How a signal travels.
pub(crate) trait Format: Send + Sync + 'static {
    type Item: Load + Said + Send + Sync + 'static;

    fn headers(&self) -> &'static [(&'static str, &'static str)];

    /// The body of a request. What has no names in `namings` is left out.
    ///
    /// # Errors
    /// It cannot be packed.
    fn encode(&self, batch: &[Arc<Self::Item>], namings: &Namings) -> Result<Vec<u8>, EncodeError>;

    /// Whether the same request may do better later.
    fn is_retryable(status: StatusCode) -> bool;

    /// What the body of a success says.
    fn verdict(body: &[u8]) -> Verdict;

    /// What the body of a refusal says.
    fn complaint(body: &[u8]) -> String;
}

/// A success may be one in part only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) rejected: usize,
    pub(crate) message: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("cannot compress a batch with Snappy")]
    Snappy { source: snap::Error },
    #[error("cannot compress a batch with gzip")]
    Gzip { source: std::io::Error },
}

/// When to try again, and when no more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Persistence {
    pub(crate) pace: Pace,
    /// Since the first attempt.
    pub(crate) retry_for: Duration,
}

#[derive(Debug)]
pub(crate) struct Lane<F: Format, D> {
    /// For the control plane's own log.
    pub(crate) destination: String,
    pub(crate) format: F,
    pub(crate) queue: Arc<Queue<F::Item>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) receiver: Receiver,
    pub(crate) names: Arc<Names<D>>,
    pub(crate) persistence: Persistence,
}

impl<F: Format, D: Directory> Lane<F, D> {
    /// Sends until `closing` says that nothing more comes, and then what is left. Cancelling this future loses the batch
    /// under way, which the counters still know as in flight.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut trouble = Trouble::default();
        while let Some(batch) = self.queue.next_batch(&closing).await {
            let points = batch.iter().map(|item| item.points()).sum::<usize>();
            self.counters.in_flight.store(points as u64, Ordering::Relaxed);
            self.send(&batch, &mut trouble).await;
            self.counters.in_flight.store(0, Ordering::Relaxed);
        }
    }

    async fn send(&self, batch: &[Arc<F::Item>], trouble: &mut Trouble) {
        let namings = self.namings(batch).await;
        let (mut named, mut nameless) = (0, 0);
        for item in batch {
            let known = namings.contains_key(&item.source().deployment);
            *(if known { &mut named } else { &mut nameless }) += item.points();
        }
        add(&self.counters.dropped, nameless);
        if named == 0 {
            return;
        }
        match self.format.encode(batch, &namings) {
            Ok(body) => self.deliver(body.into(), named, trouble).await,
            Err(error) => {
                add(&self.counters.failed, named);
                trouble.began(self, &error.to_string());
            }
        }
    }

    async fn namings(&self, batch: &[Arc<F::Item>]) -> Namings {
        let mut namings = Namings::new();
        for source in batch.iter().map(|item| item.source()) {
            if !namings.contains_key(&source.deployment)
                && let Some(naming) = self.names.of(source).await
            {
                namings.insert(source.deployment, naming);
            }
        }
        namings
    }

    async fn deliver(&self, body: bytes::Bytes, points: usize, trouble: &mut Trouble) {
        let (begun, mut backoff) = (Instant::now(), Backoff::new(self.persistence.pace));
        loop {
            match self.receiver.post::<F>(self.format.headers(), body.clone()).await {
                Outcome::Delivered(verdict) => {
                    let rejected = verdict.rejected.min(points);
                    add(&self.counters.sent, points - rejected);
                    add(&self.counters.failed, rejected);
                    self.counters.succeeded(UnixMillis::now());
                    return match verdict.message {
                        Some(message) if rejected > 0 => trouble.began(self, &format!("accepted in part: {message}")),
                        _ => trouble.ended(self),
                    };
                }
                Outcome::Refused { why } => {
                    add(&self.counters.failed, points);
                    return trouble.began(self, &why);
                }
                Outcome::Unavailable { why, .. } if begun.elapsed() >= self.persistence.retry_for => {
                    add(&self.counters.failed, points);
                    return trouble.began(self, &format!("given up on a batch: {why}"));
                }
                Outcome::Unavailable { why, retry_after } => {
                    trouble.began(self, &why);
                    // Without randomness everybody comes back at the same moment, which is no reason to fail.
                    let wait = backoff.next(getrandom::u32().unwrap_or(u32::MAX), retry_after);
                    sleep(wait).await;
                    add(&self.counters.retries, 1);
                }
            }
        }
    }
}

/// Whether the operator was told already: once when it begins, once when it is over.
#[derive(Debug, Default)]
struct Trouble {
    is_told: bool,
}

impl Trouble {
    fn began<F: Format, D>(&mut self, lane: &Lane<F, D>, why: &str) {
        lane.counters.erred(why);
        let (destination, url) = (&lane.destination, lane.receiver.address().shown());
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(destination, url, why, "an export has trouble");
        } else {
            tracing::debug!(destination, url, why, "an export still has trouble");
        }
    }

    fn ended<F: Format, D>(&mut self, lane: &Lane<F, D>) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!(
                destination = lane.destination,
                url = lane.receiver.address().shown(),
                "an export works again"
            );
        }
    }
}
