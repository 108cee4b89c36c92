//! The program's output: passed on, as it is or masked, and forwarded as masked log lines.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_protocol::log::{Level, LogStream};
use rustix::stdio::{stderr, stdout};
use rustix::termios::isatty;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::known::KnownSecrets;
use crate::clock::SteadyClock;
use crate::config::{PtyMode, RunConfig};
use crate::console::Console;
use crate::environment::Prepared;
use crate::logs::{LogLimits, LogPipeline, LogRecords, MIN_SECRET_BYTES, Mirror, Passage, SecretSet, Tap, capture};
use crate::supervisor::{Launched, Stream, Streams, Terminal};

/// How long a reader of the agent's own output may take for what the program left in its pipes. Beyond it the rest is
/// lost, rather than the agent hanging.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// What the program's streams are, and what becomes of the agent's own terminal.
///
/// A terminal is handed to the program as it is when nothing has to be read: full-screen programs and colours stay what
/// they are, and cost nothing.
pub(super) fn wire(config: &RunConfig, terminal: Terminal) -> (Streams, Terminal) {
    let (out, err) = (isatty(stdout()), isatty(stderr()));
    let is_read = config.forward_logs || config.mask_output;
    let own_terminal = match config.pty {
        PtyMode::Never => false,
        PtyMode::Auto => terminal.is_owned() && out && is_read,
        PtyMode::Always => true,
    };
    if own_terminal {
        let stdin = if terminal.is_owned() { Stream::Terminal } else { Stream::Inherited };
        // What was sent elsewhere stays elsewhere; where nothing is a terminal, the program is to see one everywhere.
        let apart = if is_read { Stream::Pipe } else { Stream::Inherited };
        let stderr = if err || !out { Stream::Terminal } else { apart };
        return (Streams { stdin, stdout: Stream::Terminal, stderr }, terminal.keep());
    }
    let stream = |is_terminal: bool| match config.mask_output || (config.forward_logs && !is_terminal) {
        true => Stream::Pipe,
        false => Stream::Inherited,
    };
    (Streams { stdin: Stream::Inherited, stdout: stream(out), stderr: stream(err) }, terminal)
}

/// Both streams of the program, over all its runs.
#[derive(Debug)]
pub(super) struct Output {
    pipeline: Arc<Mutex<LogPipeline>>,
    arrived: Arc<Notify>,
    readers: JoinSet<()>,
    known: KnownSecrets,
    console: Option<Console>,
    clock: SteadyClock,
    forward: bool,
    mask: bool,
}

impl Output {
    /// `forward`: whether there are to be log lines. `mask`: whether what is passed on is masked too.
    pub(super) fn new(forward: bool, mask: bool, clock: SteadyClock) -> Self {
        let pipeline = LogPipeline::new(LogLimits::default(), Arc::new(SecretSet::empty()));
        Self {
            pipeline: Arc::new(Mutex::new(pipeline)),
            arrived: Arc::default(),
            readers: JoinSet::new(),
            known: KnownSecrets::default(),
            console: None,
            clock,
            forward,
            mask,
        }
    }

    /// The program was started with this environment: its secrets are masked, and those that it or what it left behind
    /// knew before.
    pub(super) fn mask_started(&mut self, environment: &Prepared) {
        self.known.started(environment.secrets());
        self.mask(environment);
    }

    /// The program was told of this environment while it runs: its secrets are masked as well.
    pub(super) fn mask_changed(&mut self, environment: &Prepared) {
        self.known.changed(environment.secrets());
        self.mask(environment);
    }

    fn mask(&self, environment: &Prepared) {
        if !self.forward && !self.mask {
            return;
        }
        let short: Vec<&str> = environment.secrets_below(MIN_SECRET_BYTES).collect();
        if !short.is_empty() {
            let names = short.join(", ");
            tracing::warn!(%names, "secrets of less than {MIN_SECRET_BYTES} bytes are not masked");
        }
        let set = Arc::new(SecretSet::new(self.known.values()));
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).replace_secrets(&set);
    }

    /// Reads a program that was just started, until it and all its children have closed their ends.
    pub(super) fn attach(&mut self, launched: &mut Launched, terminal: Terminal) {
        if let Some(near) = launched.terminal.take() {
            self.attach_terminal(near, terminal.is_owned());
        }
        let pipes = [(LogStream::Stdout, launched.stdout.take()), (LogStream::Stderr, launched.stderr.take())];
        for (stream, descriptor) in pipes {
            let Some(descriptor) = descriptor else { continue };
            match pipe::Receiver::from_owned_fd(descriptor) {
                Ok(reader) => self.read(stream, reader),
                Err(error) => tracing::warn!(%error, ?stream, "the program's output cannot be read"),
            }
        }
    }

    fn attach_terminal(&mut self, near: OwnedFd, own: bool) {
        match Console::connect(near, own) {
            Ok((console, reader)) => {
                self.console = Some(console);
                self.read(LogStream::Stdout, reader);
            }
            // The program hears that its terminal is gone (HUP).
            Err(error) => tracing::error!(%error, "the program's terminal cannot be connected"),
        }
    }

    fn read(&mut self, stream: LogStream, reader: impl AsyncRead + Unpin + Send + 'static) {
        let mirror = match stream {
            LogStream::Stderr => Mirror::stderr(),
            LogStream::Stdout | LogStream::Agent => Mirror::stdout(),
        };
        // A closed stdout is somebody's wish; the lines are forwarded all the same.
        let mirror: Option<Mirror> =
            mirror.inspect_err(|error: &io::Error| tracing::debug!(%error, ?stream, "output is not passed on")).ok();
        let passage = mirror.map(if self.mask { Passage::masked } else { Passage::plain });
        let (pipeline, arrived) = (Arc::clone(&self.pipeline), Arc::clone(&self.arrived));
        let (forward, clock) = (self.forward, self.clock);
        self.readers.spawn(async move {
            let tap = Tap { pipeline: &pipeline, arrived: &arrived, forward };
            capture(stream, reader, passage, &tap, || clock.now()).await;
        });
    }

    /// The agent's terminal has another size. Returns whether the program has one of its own, which has it now too.
    pub(super) fn resize(&self) -> bool {
        self.console.as_ref().map(Console::resize).is_some()
    }

    /// The agent was stopped and goes on.
    pub(super) fn resume(&mut self) {
        if let Some(console) = &mut self.console {
            console.resume();
        }
    }

    /// The agent's own words about the program.
    pub(super) fn note(&self, level: Level, message: &str) {
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner).note(level, message, self.clock.now());
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

    /// A run is over: nobody types to it any more. Forgets the readers that have come to their end.
    pub(super) fn tidy(&mut self) {
        self.console = None;
        while self.readers.try_join_next().is_some() {}
    }
}
