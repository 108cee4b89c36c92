//! Processes that a measurement starts, and that never outlive it.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::procfs::{Usage, usage};

/// How long a process has between TERM and KILL when it is dropped.
const GRACE: Duration = Duration::from_secs(3);

/// A running process. Dropping it asks it to end, so that it can end what it supervises, and kills it when it does not.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.as_std().get_program().display().to_string();
        // A group of its own: what it starts in turn ends with it, and a ctrl-c on the terminal reaches this program alone.
        let child =
            command.process_group(0).kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// What it uses now.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Result<Usage> {
        Ok(usage(self.pid()?)?)
    }

    /// Its standard output, once, when it was piped.
    pub fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// The operating system does not say how it ended.
    pub async fn ended(mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Asks it to end and waits for it; after a while it is killed.
    ///
    /// # Errors
    /// The operating system does not let go of it.
    pub async fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            self.child.wait().await.with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in between, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.signal(Signal::KILL);
    }
}

/// A command without input and without output, which neither a terminal nor a full pipe can disturb.
#[must_use]
pub fn quiet(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a command to its end and says how long that took, from before it was started.
///
/// # Errors
/// It cannot be started, takes longer than `limit`, or fails.
pub async fn timed(mut command: Command, limit: Duration) -> Result<Duration> {
    let name = command.as_std().get_program().display().to_string();
    let started = Instant::now();
    let mut child = command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
    let status = tokio::time::timeout(limit, child.wait())
        .await
        .with_context(|| format!("{name} did not end within {} s", limit.as_secs()))?
        .with_context(|| format!("cannot wait for {name}"))?;
    let elapsed = started.elapsed();
    anyhow::ensure!(status.success(), "{name} ended with {status}");
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping() -> Running {
        let mut command = quiet("sleep");
        command.arg("60");
        Running::start(command).unwrap()
    }

    #[tokio::test]
    async fn what_was_started_ends_when_it_is_dropped_or_stopped() {
        let dropped = sleeping();
        let pid = dropped.pid().unwrap();
        drop(dropped);
        assert!(!is_alive(pid));
        let stopped = sleeping();
        let pid = stopped.pid().unwrap();
        assert_eq!(stopped.usage().unwrap().threads, 1);
        stopped.stop().await.unwrap();
        assert!(!is_alive(pid));
    }

    fn is_alive(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn a_run_is_timed_and_a_failure_is_told() {
        assert!(timed(quiet("true"), Duration::from_secs(20)).await.unwrap() > Duration::ZERO);
        let error = timed(quiet("false"), Duration::from_secs(20)).await.unwrap_err();
        assert!(error.to_string().contains("false ended with"), "{error}");
    }
}
