//! What an agent says about itself to whoever asks on its machine.
//!
//! A Unix socket in the state directory answers every connection with one JSON document and closes. It is reachable by
//! the directory's owner alone, and still never holds a value of a variable.

mod observed;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_protocol::message::{ConfigRef, ConfigStatus, ProgramState};
use outrigger_protocol::probe::{ProbeStatus, ProbeVerdict};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

pub use observed::{ScrapeStatus, StatsdStatus};

use crate::config::Output;
use crate::session::{Connection, SpoolFigures};

const SOCKET: &str = "status.sock";
/// A document is below one KiB, but for the text of an error and up to half a KiB for each probe.
const DOCUMENT_BYTES: u64 = 64 * 1024;
/// For an agent that hangs, or is stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// The document. Fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub agent_version: String,
    pub agent_pid: u32,
    pub agent: String,
    pub instance: String,
    pub deployment: String,
    pub control_plane: String,
    pub connected: bool,
    /// Why the agent is not connected, when it is not.
    pub connection_error: Option<String>,
    /// Until when the certificate is valid, in milliseconds since 1970.
    pub certificate_not_after: u64,
    pub configuration: Configuration,
    pub program: Program,
    #[serde(default)]
    pub probes: Vec<Probe>,
    pub spool: Spool,
    /// Where the program's metrics are asked for.
    #[serde(default)]
    pub scrape: Option<ScrapeStatus>,
    /// Where the program's metrics are heard.
    #[serde(default)]
    pub statsd: Option<StatsdStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    pub received_generation: Option<u64>,
    pub running_generation: Option<u64>,
    pub failed_generation: Option<u64>,
    pub failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// `waiting`, `running`, `backoff` or `exited`.
    pub state: String,
    pub pid: Option<u32>,
    pub restarts: u32,
    pub exit_code: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub name: String,
    /// `startup`, `liveness` or `readiness`.
    pub kind: String,
    pub level: String,
    /// `pending`, `passing` or `failing`.
    pub verdict: String,
    pub consecutive_failures: u32,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spool {
    pub samples_waiting: usize,
    pub samples_dropped: u64,
    pub lines_waiting: usize,
    pub lines_dropped: u64,
    pub unacknowledged_batches: usize,
    pub bytes: usize,
}

impl From<&ConfigStatus> for Configuration {
    fn from(status: &ConfigStatus) -> Self {
        let generation = |config: Option<ConfigRef>| config.map(|config| config.generation);
        Self {
            received_generation: generation(status.last_received),
            running_generation: generation(status.running),
            failed_generation: status.last_failed.as_ref().map(|failed| failed.config.generation),
            failure: status.last_failed.as_ref().map(|failed| failed.error.clone()),
        }
    }
}

impl Program {
    #[must_use]
    pub fn new(state: ProgramState, restarts: u32) -> Self {
        let (name, pid, exit_code) = match state {
            ProgramState::Waiting => ("waiting", None, None),
            ProgramState::Running { pid, .. } => ("running", Some(pid), None),
            ProgramState::Backoff { .. } => ("backoff", None, None),
            ProgramState::Exited { code } => ("exited", None, Some(code)),
        };
        Self { state: name.to_owned(), pid, restarts, exit_code }
    }
}

impl From<ProbeStatus> for Probe {
    fn from(status: ProbeStatus) -> Self {
        let verdict = match status.verdict {
            ProbeVerdict::Pending => "pending",
            ProbeVerdict::Passing => "passing",
            ProbeVerdict::Failing => "failing",
        };
        Self {
            name: status.name,
            kind: status.kind.to_string(),
            level: status.level.to_string(),
            verdict: verdict.to_owned(),
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error,
        }
    }
}

impl From<SpoolFigures> for Spool {
    fn from(figures: SpoolFigures) -> Self {
        Self {
            samples_waiting: figures.samples_waiting,
            samples_dropped: figures.samples_dropped,
            lines_waiting: figures.lines_waiting,
            lines_dropped: figures.lines_dropped,
            unacknowledged_batches: figures.unacknowledged_batches,
            bytes: figures.bytes,
        }
    }
}

impl Report {
    /// The connection's part of a report: whether there is one, to whom, and why not.
    #[must_use]
    pub fn connection(connection: Connection, configured: &str) -> (bool, String, Option<String>) {
        match connection {
            Connection::Connected { to } => (true, to, None),
            Connection::Connecting { last_error } => (false, configured.to_owned(), last_error),
        }
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(table, "{name:<14} {value}");
        };
        row("agent", format!("{} (version {}, process {})", self.agent, self.agent_version, self.agent_pid));
        row("instance", self.instance.clone());
        row("deployment", self.deployment.clone());
        row("control plane", self.connection_words());
        row("configuration", self.configuration.words());
        if let (Some(generation), Some(failure)) = (self.configuration.failed_generation, &self.configuration.failure) {
            row("last failure", format!("generation {generation}: {failure}"));
        }
        row("program", self.program.words());
        self.probes.iter().for_each(|probe| row("probe", probe.words()));
        row(
            "waiting",
            format!(
                "{} samples, {} log lines, {} batches unacknowledged ({} bytes)",
                self.spool.samples_waiting,
                self.spool.lines_waiting,
                self.spool.unacknowledged_batches,
                self.spool.bytes
            ),
        );
        row("dropped", format!("{} samples, {} log lines", self.spool.samples_dropped, self.spool.lines_dropped));
        self.scrape.iter().for_each(|scrape| row("scrape", scrape.words()));
        self.statsd.iter().for_each(|statsd| row("statsd", statsd.words()));
        table
    }

    fn connection_words(&self) -> String {
        match (self.connected, &self.connection_error) {
            (true, _) => format!("connected to {}", self.control_plane),
            (false, Some(error)) => format!("not connected to {}: {error}", self.control_plane),
            (false, None) => format!("connecting to {}", self.control_plane),
        }
    }
}

impl Configuration {
    fn words(&self) -> String {
        match (self.running_generation, self.received_generation) {
            (Some(running), Some(received)) if running != received => {
                format!("generation {running} runs, {received} was received last")
            }
            (Some(running), _) => format!("generation {running} runs"),
            (None, Some(received)) => format!("generation {received} was received, none runs"),
            (None, None) => "none received yet".to_owned(),
        }
    }
}

impl Program {
    fn words(&self) -> String {
        let detail = match (self.pid, self.exit_code) {
            (Some(pid), _) => format!(", process {pid}"),
            (None, Some(code)) => format!(" with code {code}"),
            (None, None) => String::new(),
        };
        format!("{}{detail}, {} restarts", self.state, self.restarts)
    }
}

impl Probe {
    fn words(&self) -> String {
        let Self { name, kind, level, verdict, .. } = self;
        let failures = match (&self.last_error, self.consecutive_failures) {
            (Some(error), 1) => format!(", failed: {error}"),
            (Some(error), failures) => format!(", failed {failures} times in a row: {error}"),
            (None, _) => String::new(),
        };
        format!("{name} ({kind}, {level}) {verdict}{failures}")
    }
}

/// The agent's end of the socket.
#[derive(Debug)]
pub struct StatusServer {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusServer {
    /// Listens in a directory that is this agent's alone. Needs a tokio runtime.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn listen(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        // Left behind by an agent that was killed; the lock on the directory says that nobody uses it.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let short = ShortPath::new(directory)?;
        Ok(Self { listener: UnixListener::bind(short.socket())?, path })
    }

    /// Waits for somebody who asks. Cancel safe.
    pub async fn asked(&self) -> Asked {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Asked { stream },
                // Out of descriptors, or a client that left: there is no hurry.
                Err(error) => {
                    tracing::debug!(%error, "status request lost");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Somebody who waits for a report.
#[derive(Debug)]
pub struct Asked {
    stream: tokio::net::UnixStream,
}

impl Asked {
    /// Answers, as far as it fits the socket's buffer, which a report does many times over.
    pub fn answer(self, report: &Report) {
        let document = match serde_json::to_vec(report) {
            Ok(document) => document,
            Err(error) => return tracing::debug!(%error, "status report not written"),
        };
        if let Err(error) = self.stream.try_write(&document) {
            tracing::debug!(%error, "status report not delivered");
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("no agent runs with the state directory {path}")]
    NotRunning {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent of {path} does not answer")]
    NoAnswer {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent of {path} answers in another form; is it of another version?")]
    Form {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// Asks the agent of a state directory, and renders what it says.
///
/// # Errors
/// No agent runs there, or it does not answer.
pub fn ask(directory: &Path, output: Output) -> Result<String, StatusError> {
    let path = || directory.to_owned();
    let mut stream = ShortPath::new(directory)
        .and_then(|short| UnixStream::connect(short.socket()))
        .map_err(|source| StatusError::NotRunning { path: path(), source })?;
    let mut document = Vec::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| (&mut stream).take(DOCUMENT_BYTES).read_to_end(&mut document))
        .map_err(|source| StatusError::NoAnswer { path: path(), source })?;
    let form = |source| StatusError::Form { path: path(), source };
    match output {
        Output::Table => serde_json::from_slice::<Report>(&document).map(|report| report.table()).map_err(form),
        Output::Json => {
            let document: serde_json::Value = serde_json::from_slice(&document).map_err(form)?;
            serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(form)
        }
    }
}

/// A socket's address has room for 107 bytes (unix(7)), a directory's path may be longer: the socket is named through
/// an open descriptor of the directory.
struct ShortPath {
    directory: File,
}

impl ShortPath {
    fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { directory: File::open(directory)? })
    }

    fn socket(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string()).join(SOCKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            agent_version: "0.1.0".into(),
            agent_pid: 7,
            agent: "agt_1".into(),
            instance: "ins_1".into(),
            deployment: "dep_1".into(),
            control_plane: "127.0.0.1:7701".into(),
            connected: false,
            connection_error: Some("nothing listens".into()),
            certificate_not_after: 5,
            configuration: Configuration {
                received_generation: Some(4),
                running_generation: Some(3),
                failed_generation: Some(4),
                failure: Some("the program ended with exit code 1 after 0.2 s".into()),
            },
            program: Program::new(ProgramState::Running { pid: 9, restarts: 2 }, 2),
            probes: vec![Probe {
                name: "web".into(),
                kind: "readiness".into(),
                level: "service".into(),
                verdict: "failing".into(),
                consecutive_failures: 7,
                last_error: Some("status 503, expected 200 to 399".into()),
            }],
            spool: Spool {
                samples_waiting: 1,
                samples_dropped: 2,
                lines_waiting: 3,
                lines_dropped: 4,
                unacknowledged_batches: 5,
                bytes: 6,
            },
            scrape: Some(ScrapeStatus {
                url: "http://127.0.0.1:9090/metrics".into(),
                answers: 4,
                failures: 2,
                last_error: Some("status 404, expected 200".into()),
                series: 9,
                malformed: 1,
                dropped: 0,
            }),
            statsd: Some(StatsdStatus {
                addresses: vec!["127.0.0.1:8125".into()],
                packets: 3,
                metrics: 5,
                malformed: 1,
                dropped: 0,
                overruns: 0,
            }),
        }
    }

    #[test]
    fn the_table_says_what_an_operator_wants_to_know() {
        let table = report().table();
        for words in [
            "not connected to 127.0.0.1:7701: nothing listens",
            "generation 3 runs, 4 was received last",
            "generation 4: the program ended with exit code 1",
            "running, process 9, 2 restarts",
            "web (readiness, service) failing, failed 7 times in a row: status 503, expected 200 to 399",
            "http://127.0.0.1:9090/metrics: 2 failures in a row, status 404, expected 200",
            "127.0.0.1:8125: 3 packets, 5 metrics, 1 lines malformed",
        ] {
            assert!(table.contains(words), "{words} in\n{table}");
        }
    }

    #[tokio::test]
    async fn whoever_asks_gets_the_report_also_from_a_long_path() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("d".repeat(150));
        std::fs::create_dir(&directory).expect("created");
        let server = StatusServer::listen(&directory).expect("listening");
        let asking = directory.clone();
        let client = tokio::task::spawn_blocking(move || ask(&asking, Output::Json));
        server.asked().await.answer(&report());
        let text = client.await.expect("joined").expect("answered");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("the form"), report());
        drop(server);
        assert!(matches!(ask(&directory, Output::Table), Err(StatusError::NotRunning { .. })));
    }
}
