//! The program's output: passed on as it is, and forwarded as masked log lines.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::time::UnixMillis;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::environment::Prepared;
use crate::logs::{LogLimits, LogPipeline, LogRecords, Mirror, SecretSet, capture};
use crate::supervisor::{Capture, Launched};

/// How long a reader of the agent's own output may take for what the program left in its pipes. Beyond it the rest is
/// lost, rather than the agent hanging.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// Both streams of the program, over all its runs.
#[derive(Debug)]
pub(super) struct Output {
    pipeline: Arc<Mutex<LogPipeline>>,
    arrived: Arc<Notify>,
    readers: JoinSet<()>,
    /// What the previous environment held: its program may still be printing.
    secrets: Vec<zeroize::Zeroizing<Vec<u8>>>,
}

impl Output {
    pub(super) fn new() -> Self {
        let pipeline = LogPipeline::new(LogLimits::default(), Arc::new(SecretSet::empty()));
        Self {
            pipeline: Arc::new(Mutex::new(pipeline)),
            arrived: Arc::default(),
            readers: JoinSet::new(),
            secrets: Vec::new(),
        }
    }

    /// What is read rather than inherited. A terminal is inherited: full-screen programs and colours stay as they are.
    pub(super) fn capture(forward: bool) -> Capture {
        use rustix::stdio::{stderr, stdout};
        use rustix::termios::isatty;
        Capture { stdout: forward && !isatty(stdout()), stderr: forward && !isatty(stderr()) }
    }

    /// From now on the secrets of this environment are masked, and those of the one before it.
    pub(super) fn mask(&mut self, environment: &Prepared) {
        let new: Vec<_> =
            environment.secrets().map(|secret| zeroize::Zeroizing::new(secret.as_bytes().to_vec())).collect();
        let all = self.secrets.iter().chain(&new).map(|secret| secret.as_slice());
        let set = Arc::new(SecretSet::new(all));
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).replace_secrets(&set);
        self.secrets = new;
    }

    /// Reads a program that was just started, until it and all its children have closed their ends.
    pub(super) fn attach(&mut self, launched: &mut Launched) {
        let streams = [
            (LogStream::Stdout, launched.stdout.take(), Mirror::stdout as fn() -> io::Result<Mirror>),
            (LogStream::Stderr, launched.stderr.take(), Mirror::stderr),
        ];
        for (stream, descriptor, mirror) in streams {
            let Some(descriptor) = descriptor else { continue };
            match pipe::Receiver::from_owned_fd(descriptor) {
                Ok(reader) => self.read(stream, reader, mirror()),
                Err(error) => tracing::warn!(%error, ?stream, "the program's output cannot be read"),
            }
        }
    }

    fn read(&mut self, stream: LogStream, reader: pipe::Receiver, mirror: io::Result<Mirror>) {
        // A closed stdout is somebody's wish; the lines are forwarded all the same.
        let mirror = mirror.inspect_err(|error| tracing::debug!(%error, ?stream, "output is not passed on")).ok();
        let (pipeline, arrived) = (Arc::clone(&self.pipeline), Arc::clone(&self.arrived));
        self.readers.spawn(async move {
            capture(stream, reader, mirror, &pipeline, &arrived, UnixMillis::now).await;
        });
    }

    /// The agent's own words about the program.
    pub(super) fn note(&self, level: Level, message: &str) {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).note(level, message, UnixMillis::now());
        self.arrived.notify_one();
    }

    /// Waits for lines and takes them. Cancel safe.
    pub(super) async fn lines(&self) -> LogRecords {
        loop {
            let records = self.take_lines();
            if !records.is_empty() {
                return records;
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn take_lines(&self) -> LogRecords {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).drain()
    }

    /// Waits until everything that was written has been read and passed on. Cancel safe.
    pub(super) async fn drained(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// Forgets the readers that have come to their end.
    pub(super) fn tidy(&mut self) {
        while self.readers.try_join_next().is_some() {}
    }
}
