//! Processes that a measurement starts: what they use, and how long they take.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use outrigger_tests::Running;
use tokio::process::Command;

use crate::procfs::{self, Usage};

/// What a running process uses now.
///
/// # Errors
/// It has ended.
pub fn usage(process: &Running) -> Result<Usage> {
    Ok(procfs::usage(process.pid()?)?)
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

    #[tokio::test]
    async fn a_running_process_is_measured_and_one_that_has_ended_is_an_error() {
        let mut command = quiet("sleep");
        command.arg("60");
        let mut process = Running::start_apart(command).unwrap();
        assert_eq!(usage(&process).unwrap().threads, 1);
        process.kill().await.unwrap();
        let error = usage(&process).unwrap_err();
        assert!(error.to_string().contains("sleep has ended"), "{error}");
    }

    #[tokio::test]
    async fn a_run_is_timed_and_a_failure_is_told() {
        assert!(timed(quiet("true"), Duration::from_secs(20)).await.unwrap() > Duration::ZERO);
        let error = timed(quiet("false"), Duration::from_secs(20)).await.unwrap_err();
        assert!(error.to_string().contains("false ended with"), "{error}");
    }
}
