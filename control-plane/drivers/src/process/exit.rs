//! The end of a process: seen at once, by anybody, and reaped when it is our child.
#![allow(unsafe_code, reason = "handing a process descriptor to the runtime")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::DriverError;

/// A process that is pinned by a descriptor: whatever happens, it is this one and never another of the same number.
#[derive(Debug)]
pub(super) struct Agent {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Agent {
    pub(super) fn open(pid: Pid) -> Option<Self> {
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, descriptor })
    }

    pub(super) const fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// A process that has ended meanwhile needs no signal.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.descriptor, signal);
    }

    /// Whether it ends within `patience`.
    pub(super) async fn ended_within(&self, patience: Duration) -> Result<bool, DriverError> {
        let descriptor = self.descriptor.try_clone().map_err(watching)?;
        let watched = watch(descriptor)?;
        Ok(tokio::time::timeout(patience, watched.readable()).await.is_ok())
    }

    /// As [`ended_within`](Self::ended_within), on a thread that may wait.
    pub(super) fn ended_within_blocking(&self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).ok();
        poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], patience.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

/// The end of a child, which a task of its own awaits and reaps.
///
/// The task ends with the child; when the runtime goes first, the child goes on and belongs to init.
#[derive(Debug)]
pub(super) struct Exit {
    status: oneshot::Receiver<String>,
}

impl Exit {
    pub(super) fn watch(mut child: Child) -> Result<Self, DriverError> {
        let pid = Pid::from_child(&child);
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| watching(errno.into()))?;
        let watched = watch(descriptor)?;
        let (tell, status) = oneshot::channel();
        tokio::spawn(async move {
            // An error can only say that the runtime goes down.
            let _ = watched.readable().await.map(|_| ());
            if let Ok(Some(status)) = child.try_wait() {
                tracing::debug!(pid = pid.as_raw_nonzero().get(), status = %status, "an agent ended");
                // Nobody listens after the first moments.
                let _ = tell.send(status.to_string());
            }
        });
        Ok(Self { status })
    }

    /// How it ended, when it ends within `settle`.
    pub(super) async fn within(self, settle: Duration) -> Option<String> {
        tokio::time::timeout(settle, self.status).await.ok()?.ok()
    }
}

/// Readable once the process has ended.
fn watch(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>, DriverError> {
    // SAFETY: an owned descriptor always gives the same number, and stays open until it is dropped with its watch.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watched.map_err(|refused| watching(refused.into()))
}

fn watching(source: io::Error) -> DriverError {
    DriverError::system("watch an agent", "its process descriptor", source)
}

impl AsFd for Agent {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
