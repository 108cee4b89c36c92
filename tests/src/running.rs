use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(3);
/// From KILL to the end: only a process in an uninterruptible wait takes longer.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A process that never outlives whoever started it. Dropping it asks it to end, so that it can end what it supervises,
/// kills it when it does not, and returns once it is dead.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    leads_group: bool,
}

impl Running {
    /// Starts `command` in the caller's process group: a ctrl-c on the terminal reaches both.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: Command) -> Result<Self> {
        Self::spawn(command, false)
    }

    /// Starts `command` in a process group of its own: what it starts in turn ends with it, and a ctrl-c on the terminal
    /// reaches the caller alone.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_apart(mut command: Command) -> Result<Self> {
        command.process_group(0);
        Self::spawn(command, true)
    }

    fn spawn(mut command: Command, leads_group: bool) -> Result<Self> {
        let name = command.as_std().get_program().display().to_string();
        let child = command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name, leads_group })
    }

    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// Its standard input, once, when it was piped.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once, when it was piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once, when it was piped.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Sends a signal to the process alone.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.raw_pid().with_context(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// The operating system does not say how it ended.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Asks it to end and waits for it; after a while it is killed.
    ///
    /// # Errors
    /// The operating system does not let go of it.
    pub async fn stop(mut self) -> Result<()> {
        self.signal_all(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.kill().await?;
        }
        Ok(())
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// The operating system does not let go of it.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal_all(Signal::KILL);
        self.ended().await.map(|_| ())
    }

    fn raw_pid(&self) -> Option<Pid> {
        // Absent once it was waited for: until then the number is its own.
        self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    fn signal_all(&self, signal: Signal) {
        if let Some(pid) = self.raw_pid() {
            // It may have ended in between, which is what was wanted.
            let _ = if self.leads_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(process) = self.raw_pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
        self.signal_all(Signal::TERM);
        await_end(&process, GRACE);
        // Also after it has ended: its group may have members left.
        self.signal_all(Signal::KILL);
        await_end(&process, KILL_PATIENCE);
    }
}

/// Waits for the end of a process without a runtime: a drop may happen in the middle of one, or after it.
fn await_end(process: &OwnedFd, patience: Duration) {
    // An error can only say that the patience does not fit the kernel's type, which seconds do.
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Timespec::try_from(patience).ok().as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_running;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    fn pid(process: &Running) -> i32 {
        process.pid().unwrap().try_into().unwrap()
    }

    #[tokio::test]
    async fn what_was_started_ends_when_it_is_dropped_stopped_or_killed() {
        let dropped = Running::start(shell("exec sleep 60")).unwrap();
        let gone = pid(&dropped);
        drop(dropped);
        assert!(!is_running(gone));
        let stopped = Running::start_apart(shell("exec sleep 60")).unwrap();
        let gone = pid(&stopped);
        stopped.stop().await.unwrap();
        assert!(!is_running(gone));
        let mut killed = Running::start(shell("trap '' TERM; exec sleep 60")).unwrap();
        let gone = pid(&killed);
        killed.kill().await.unwrap();
        assert!(!is_running(gone));
    }

    #[tokio::test]
    async fn a_group_of_its_own_ends_as_a_whole() {
        use std::process::Stdio;
        use tokio::io::{AsyncBufReadExt as _, BufReader};

        let mut command = shell("sleep 60 & echo $!; wait");
        command.stdout(Stdio::piped());
        let mut process = Running::start_apart(command).unwrap();
        let stdout = process.stdout().unwrap();
        let child = BufReader::new(stdout).lines().next_line().await.unwrap().unwrap().parse().unwrap();
        assert!(is_running(child));
        drop(process);
        crate::eventually("the child is gone", async || Ok((!is_running(child)).then_some(()))).await.unwrap();
    }
}
