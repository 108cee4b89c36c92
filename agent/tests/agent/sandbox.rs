//! A state directory, agents in it, and what can be seen of their processes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::plane::{API_TOKEN, DEADLINE, Plane};

/// A step of a wait that nothing announces.
const STEP: Duration = Duration::from_millis(10);

pub(crate) struct Sandbox {
    directory: TempDir,
    address: String,
    token: String,
}

impl Sandbox {
    pub(crate) fn new(plane: &Plane) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            address: plane.address.to_string(),
            token: plane.token().to_string(),
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `run` with these options, not yet started; the token is in the environment.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, options: &[&str], command: &[S]) -> Command {
        let mut run = self.without_token(options, command);
        run.env("OUTRIGGER_JOIN_TOKEN", &self.token);
        run
    }

    pub(crate) fn without_token<S: AsRef<OsStr>>(&self, options: &[&str], command: &[S]) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_outrigger-agent"));
        run.arg("run").args(["--control-plane", &self.address]).arg("--state-dir").arg(self.state_dir());
        run.args(options).arg("--").args(command);
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        with_default_signals(&mut run);
        run
    }

    /// `exec` with these options, not yet started; the API token is in the environment, what is kept in a directory of
    /// this sandbox.
    pub(crate) fn exec<S: AsRef<OsStr>>(&self, plane: &Plane, options: &[&str], command: &[S]) -> Command {
        let mut exec = Command::new(env!("CARGO_BIN_EXE_outrigger-agent"));
        exec.arg("exec").args(["--control-plane", &self.address, "--ca-fingerprint", &plane.ca_fingerprint()]);
        exec.args(["--environment", "staging"]).args(options).arg("--").args(command);
        exec.env("OUTRIGGER_TOKEN", API_TOKEN).env("XDG_CACHE_HOME", self.directory.path());
        exec.stdin(Stdio::null());
        with_default_signals(&mut exec);
        exec
    }

    /// Where `exec` keeps what came.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.file("outrigger-agent")
    }

    /// `run` with this token instead of the first.
    pub(crate) fn run_with_token(&self, token: &str, options: &[&str], script: &str) -> Command {
        let mut run = self.without_token(options, &["sh", "-c", script]);
        run.env("OUTRIGGER_JOIN_TOKEN", token);
        run
    }

    pub(crate) fn identity(&self) -> String {
        std::fs::read_to_string(self.state_dir().join("identity")).unwrap()
    }

    /// Runs a shell script to its end.
    pub(crate) fn script(&self, options: &[&str], script: &str) -> Output {
        finish(&mut self.run(options, &["sh", "-c", script]))
    }

    /// Starts a shell script.
    pub(crate) fn start(&self, options: &[&str], script: &str) -> Running {
        Running::start(self.run(options, &["sh", "-c", script]))
    }

    pub(crate) fn status(&self, output: &str) -> Output {
        let mut status = Command::new(env!("CARGO_BIN_EXE_outrigger-agent"));
        status.args(["status", "--output", output]).arg("--state-dir").arg(self.state_dir());
        finish(&mut status)
    }
}

/// The tests themselves may run with signals ignored (a background job, nohup), which an agent inherits and rightly
/// keeps: what they observe must not depend on it.
#[allow(unsafe_code)]
fn with_default_signals(command: &mut Command) {
    // SAFETY: signal(2) may be called between fork and exec, and changes nothing but the child's own dispositions.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// Runs to the end, at most for the deadline.
pub(crate) fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let complaints = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let status = exited(&mut child);
    Output { status, stdout: reading.join().unwrap(), stderr: complaints.join().unwrap() }
}

fn exited(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            panic!("the agent still runs after {DEADLINE:?}");
        }
        std::thread::sleep(STEP);
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An agent that runs. Killed when dropped, and its program with it.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    complaints: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, lines, complaints: Some(complaints) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the program prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("the program prints a line")
    }

    pub(crate) fn expect_line(&self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Output {
        let status = exited(&mut self.child);
        let stderr = self.complaints.take().unwrap().join().unwrap();
        let stdout: Vec<String> = self.lines.iter().collect();
        Output { status, stdout: stdout.join("\n").into_bytes(), stderr: stderr.into_bytes() }
    }

    pub(crate) fn stop(self) -> Output {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for something that no event announces.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} within {DEADLINE:?}");
        std::thread::sleep(STEP);
    }
}

/// Processes of the machine whose command line contains `marker`.
pub(crate) fn processes(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| contains(&line, marker)) {
            found.push(pid);
        }
    }
    found
}

pub(crate) fn contains(bytes: &[u8], marker: &str) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
}

/// State letters of a process's children (proc_pid_stat(5)).
pub(crate) fn children_states(parent: u32) -> Vec<char> {
    let listed = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed
        .split_ascii_whitespace()
        .filter_map(|pid| std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok())
        .filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next())
        .collect()
}

/// A duration for `sleep` that no other process of the machine has.
pub(crate) fn unique_sleep() -> String {
    let mut entropy = [0; 4];
    getrandom::fill(&mut entropy).unwrap();
    format!("{}.{}", 10_000 + u32::from(entropy[0]), u32::from_be_bytes(entropy))
}
