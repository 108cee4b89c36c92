use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, test_kill_process};
use tokio::process::Command;

use crate::running::Running;

/// A program of this workspace, out of the directory that this test was built into.
///
/// # Panics
/// When it has not been built, which `cargo test --workspace` does.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let built = test.ancestors().nth(2).expect("a test lives in target/PROFILE/deps").join(name);
    assert!(built.is_file(), "{} is missing: run `cargo test --workspace`, which builds it", built.display());
    built
}

/// The command line of the program that instances run in tests, in one of its modes.
#[must_use]
pub fn test_program(mode: &[&str]) -> Vec<String> {
    let program = binary("outrigger-test-program").display().to_string();
    std::iter::once(program).chain(mode.iter().map(|word| (*word).to_owned())).collect()
}

#[must_use]
pub fn is_running(pid: i32) -> bool {
    // A zombie answers to signals; its state tells.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
        && Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// The process that started this one, or took it over.
#[must_use]
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

/// The command lines of all processes, arguments separated by spaces.
#[must_use]
pub fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// An `outrigger-agent run` that a test started itself. Dropping it ends it with its program.
#[derive(Debug)]
pub struct Agent {
    process: Running,
    directory: PathBuf,
}

impl Agent {
    /// `outrigger-agent run` with `arguments` before `--` and `program` after it. The state directory, standard output and
    /// standard error are in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(directory: &Path, token: Option<&str>, arguments: &[&str], program: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let output = |name: &str| std::fs::File::create(directory.join(name)).map(Stdio::from);
        let mut command = Command::new(binary("outrigger-agent"));
        command
            .arg("run")
            .arg("--state-dir")
            .arg(directory.join("state"))
            .args(arguments)
            .arg("--")
            .args(program)
            .env_remove("OUTRIGGER_JOIN_TOKEN")
            .stdin(Stdio::null())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?);
        if let Some(token) = token {
            command.env("OUTRIGGER_JOIN_TOKEN", token);
        }
        Ok(Self { process: Running::start(command)?, directory: directory.to_owned() })
    }

    #[must_use]
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.directory.join("stdout")).unwrap_or_default()
    }

    #[must_use]
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits for the end and returns the exit code; 128 + n when the agent itself died of signal n.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn exit_code(&mut self) -> Result<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let ended = tokio::time::timeout(crate::PATIENCE, self.process.ended()).await;
        let status = ended.context("the agent does not end")??;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }
}
