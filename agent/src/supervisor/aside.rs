//! Short commands beside the program.
//!
//! The reaper waits for all children, so whoever started one hears of its end from here. A number is signalled only while
//! its process has not been reaped: before that it cannot be somebody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal};
use tokio::sync::oneshot;

use super::{ExitStatus, send};

/// Those that were started and not reaped yet, and who waits for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Asides(Arc<Mutex<HashMap<Pid, oneshot::Sender<ExitStatus>>>>);

impl Asides {
    fn running(&self) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<ExitStatus>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that was just started and leads a group of its own.
    pub(super) fn add(&self, pid: Pid) -> Aside {
        let (ended, exit) = oneshot::channel();
        self.running().insert(pid, ended);
        Aside { pid, exit, asides: self.clone() }
    }

    /// A child was reaped; it need not be one of these.
    pub(super) fn ended(&self, pid: Pid, status: ExitStatus) {
        if let Some(ended) = self.running().remove(&pid) {
            // Whoever dropped the command has killed it, and does not wait for it.
            let _ = ended.send(status);
        }
    }
}

/// A command that runs beside the program. Dropped, it is killed with all of its group.
#[derive(Debug)]
pub struct Aside {
    pid: Pid,
    exit: oneshot::Receiver<ExitStatus>,
    asides: Asides,
}

impl Aside {
    /// Waits for its end; `None` when the supervisor is gone. Cancel safe.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        (&mut self.exit).await.ok()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.asides.running().contains_key(&self.pid) {
            send(self.pid, Signal::KILL);
        }
    }
}
