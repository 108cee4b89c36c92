//! The handle: starts lanes, feeds them, tells how they do, ends them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_catalog::Catalog;
use outrigger_ingest::Sink;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::instances::{Line, Reading};
use crate::lane::{Format, Lane};
use crate::naming::{Directory, Names};
use crate::otlp::{Envelope, OtlpLogs, OtlpMetrics};
use crate::queue::Queue;
use crate::receiver::{Receiver, ReceiverError};
use crate::remote_write::RemoteWrite;
use crate::settings::{Destination, Protocol};
use crate::stats::{Counters, DestinationStats, Signal};
use crate::tap::{Intake, Tap};

/// Why exports cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot export to `{destination}`")]
    Destination { destination: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Exports that run. Clones are the same exports. With no destination it is nothing: no task, no sink.
#[derive(Debug, Clone)]
pub struct Export(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tap: Option<Arc<Tap>>,
    gauges: Vec<Gauge>,
    closing: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

/// What of a lane can be read from outside.
#[derive(Debug)]
struct Gauge {
    destination: String,
    protocol: &'static str,
    counters: Arc<Counters>,
    queue: Waiting,
}

#[derive(Debug)]
enum Waiting {
    Metrics(Arc<Queue<Reading>>),
    Logs(Arc<Queue<Line>>),
}

impl Waiting {
    const fn signal(&self) -> Signal {
        match self {
            Self::Metrics(_) => Signal::Metrics,
            Self::Logs(_) => Signal::Logs,
        }
    }

    fn queued(&self) -> (usize, usize) {
        match self {
            Self::Metrics(queue) => queue.queued(),
            Self::Logs(queue) => queue.queued(),
        }
    }

    fn dropped(&self) -> u64 {
        match self {
            Self::Metrics(queue) => queue.dropped(),
            Self::Logs(queue) => queue.dropped(),
        }
    }

    fn abandon(&self) -> usize {
        match self {
            Self::Metrics(queue) => queue.abandon(),
            Self::Logs(queue) => queue.abandon(),
        }
    }
}

impl Export {
    /// Starts a task for each signal of each destination. Needs a tokio runtime, and a TLS provider of the process.
    ///
    /// # Errors
    /// Credentials or certificates of a destination cannot be read.
    pub async fn start(destinations: Vec<Destination>, catalog: Catalog) -> Result<Self, ExportError> {
        Self::with_directory(destinations, catalog).await
    }

    pub(crate) async fn with_directory<D: Directory>(
        destinations: Vec<Destination>,
        directory: D,
    ) -> Result<Self, ExportError> {
        let mut start = Start {
            names: Arc::new(Names::new(directory)),
            closing: CancellationToken::new(),
            tasks: JoinSet::new(),
            gauges: Vec::new(),
            metrics: Vec::new(),
            logs: Vec::new(),
        };
        for destination in destinations {
            start.destination(&destination).await.map_err(|source| ExportError::Destination {
                destination: destination.name.clone(),
                source: Box::new(source),
            })?;
        }
        let tap = (!start.gauges.is_empty()).then(|| Arc::new(Tap::new(start.metrics, start.logs)));
        let (gauges, closing, tasks) = (start.gauges, start.closing, Mutex::new(start.tasks));
        Ok(Self(Arc::new(Inner { tap, gauges, closing, tasks })))
    }

    /// What ingest has to be given; `None` when nothing is exported.
    #[must_use]
    pub fn sink(&self) -> Option<Arc<dyn Sink>> {
        self.0.tap.clone().map(|tap| tap as Arc<dyn Sink>)
    }

    /// Every signal of every destination, in the order of the settings.
    #[must_use]
    pub fn stats(&self) -> Vec<DestinationStats> {
        let read = |gauge: &Gauge| {
            let signal = gauge.queue.signal();
            let mut stats = gauge.counters.read(&gauge.destination, gauge.protocol, signal, gauge.queue.queued());
            stats.dropped += gauge.queue.dropped();
            stats
        };
        self.0.gauges.iter().map(read).collect()
    }

    /// Sends what is queued, for so long at the most; what is left then is dropped and counted. Nothing may be put into the
    /// sink any more.
    pub async fn drain(&self, within: Duration) {
        self.0.closing.cancel();
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(within, all).await.is_err() {
            tasks.shutdown().await;
        }
        for gauge in &self.0.gauges {
            let in_flight = gauge.counters.in_flight.swap(0, Ordering::Relaxed);
            gauge.counters.dropped.fetch_add(in_flight, Ordering::Relaxed);
            let lost = in_flight + gauge.queue.abandon() as u64;
            if lost > 0 {
                let signal = gauge.queue.signal().name();
                tracing::warn!(destination = gauge.destination, signal, lost, "an export ended before all was sent");
            }
        }
    }
}

/// Exports on the way up.
struct Start<D> {
    names: Arc<Names<D>>,
    closing: CancellationToken,
    tasks: JoinSet<()>,
    gauges: Vec<Gauge>,
    metrics: Vec<Intake<Reading>>,
    logs: Vec<Intake<Line>>,
}

impl<D: Directory> Start<D> {
    async fn destination(&mut self, destination: &Destination) -> Result<(), ReceiverError> {
        match &destination.protocol {
            Protocol::RemoteWrite { url } => {
                let receiver = Receiver::new(url.clone(), &destination.access).await?;
                let intake =
                    self.lane(destination, RemoteWrite::new(destination.labels.clone()), receiver, Waiting::Metrics);
                self.metrics.push(intake);
            }
            Protocol::Otlp { signals, compression } => {
                for (signal, url) in signals {
                    let receiver = Receiver::new(url.clone(), &destination.access).await?;
                    let envelope = Envelope::new(*compression, destination.labels.clone());
                    match signal {
                        Signal::Metrics => {
                            let intake = self.lane(destination, OtlpMetrics(envelope), receiver, Waiting::Metrics);
                            self.metrics.push(intake);
                        }
                        Signal::Logs => {
                            let intake = self.lane(destination, OtlpLogs(envelope), receiver, Waiting::Logs);
                            self.logs.push(intake);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn lane<F: Format>(
        &mut self,
        destination: &Destination,
        format: F,
        receiver: Receiver,
        waiting: fn(Arc<Queue<F::Item>>) -> Waiting,
    ) -> Intake<F::Item> {
        let queue = Arc::new(Queue::new(destination.queue_bytes, destination.limits));
        let counters = Arc::new(Counters::default());
        tracing::info!(destination = destination.name, url = receiver.address().shown(), "exporting");
        let lane = Lane {
            destination: destination.name.clone(),
            format,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            receiver,
            names: Arc::clone(&self.names),
            persistence: destination.persistence,
        };
        self.tasks.spawn(lane.run(self.closing.clone()));
        self.gauges.push(Gauge {
            destination: destination.name.clone(),
            protocol: destination.protocol.name(),
            counters: Arc::clone(&counters),
            queue: waiting(Arc::clone(&queue)),
        });
        Intake { queue, counters }
    }
}

#[cfg(test)]
mod tests;
