//! One program at a time: started, signalled, stopped, reaped, and its orphans with it.
//!
//! The agent is a child subreaper, and right as PID 1: whatever the program leaves behind becomes the agent's child, is
//! reaped at the one place that waits (`reaper`), and is ended with the program. A run is over ([`Ended`]) only when
//! nothing of it is left, so that the next start finds its ports free.
//!
//! What must never be true: a second waiter; a program that outlives its agent; a signal to a process that is not the
//! agent's own.

mod account;
mod aside;
mod exec;
mod exit;
mod reaper;
mod restart;
mod signals;
mod spawn;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

pub use account::{Account, AccountError, Login};
pub use aside::Aside;
use aside::Asides;
pub use exec::{SpawnError, replace_process};
pub use exit::{Ended, ExitStatus};
use reaper::Remaining;
pub use restart::{Backoff, RestartPolicy};
pub use signals::Signals;
pub use spawn::{Launched, Program, Stream, Streams};
pub use terminal::Terminal;

use crate::environment::Prepared;

/// What orphans get between TERM and KILL once their program is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);
/// A killed process that is still there after this long hangs in the kernel, and waiting helps nobody.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Owns the program's processes.
#[derive(Debug)]
pub struct Supervisor {
    program: Program,
    grace: Duration,
    terminal: Terminal,
    children: tokio::signal::unix::Signal,
    asides: Asides,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Running {
        pid: Pid,
        since: Instant,
        kill_at: Option<Instant>,
    },
    /// The program is gone; its orphans are being ended.
    Sweeping(Sweep),
}

impl Supervisor {
    /// Makes this process the one that inherits orphans. Needs a tokio runtime with signals.
    ///
    /// # Errors
    /// The system refuses the CHLD handler.
    pub fn new(program: Program, grace: Duration, terminal: Terminal) -> io::Result<Self> {
        // PID 1 inherits orphans anyway, and old kernels refuse: neither is a reason not to run.
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            tracing::warn!(%error, "not a subreaper: orphans of the program go to another process");
        }
        if terminal.is_owned() {
            spawn::ignore_background_output();
        }
        let children = signal(SignalKind::child())?;
        Ok(Self { program, grace, terminal, children, asides: Asides::default(), state: State::Idle })
    }

    #[must_use]
    pub const fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// The program's process, while it runs.
    #[must_use]
    pub const fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Idle | State::Sweeping(_) => None,
        }
    }

    /// Starts the program. Nothing of an earlier run is left, which is what [`ended`](Self::ended) waits for.
    ///
    /// # Errors
    /// It cannot be found or executed, or the system has no process for it.
    pub fn start(&mut self, environment: &Prepared, now: Instant) -> Result<Launched, SpawnError> {
        debug_assert!(matches!(self.state, State::Idle), "one program at a time");
        let launched =
            spawn::spawn(&self.program, environment, self.terminal).inspect_err(|_| self.terminal.reclaim())?;
        self.state = State::Running { pid: launched.pid, since: now, kill_at: None };
        Ok(launched)
    }

    /// Starts a command beside the program, as its user and with `environment`; only while the program runs, for it ends with
    /// the program at the latest. `None` when none runs.
    ///
    /// # Errors
    /// It cannot be found or executed, or the system has no process for it.
    pub fn run_aside(&self, command: &[OsString], environment: &Prepared) -> Option<Result<Aside, SpawnError>> {
        self.pid()?;
        Some(spawn::spawn_aside(command, &self.program, environment).map(|pid| self.asides.add(pid)))
    }

    /// Whether [`forward`](Self::forward) knows this number.
    #[must_use]
    pub fn can_send(number: i32) -> bool {
        Signal::from_named_raw(number).is_some()
    }

    /// Passes a signal on to the program's group.
    pub fn forward(&self, number: i32) {
        if let (Some(pid), Some(signal)) = (self.pid(), Signal::from_named_raw(number)) {
            send(pid, signal);
        }
    }

    /// TERM now, KILL after the grace period. Asking again does not prolong it.
    pub fn stop(&mut self, now: Instant) {
        if let State::Running { pid, kill_at, .. } = &mut self.state {
            send(*pid, Signal::TERM);
            // A stopped process would never hear it.
            send(*pid, Signal::CONT);
            kill_at.get_or_insert(now + self.grace);
        }
    }

    /// Waits until the program, if there is one, and all that it left behind are gone. Reaps in every state. Cancel safe.
    pub async fn ended(&mut self) -> Ended {
        loop {
            let now = Instant::now();
            let remaining = self.collect(now);
            if let Some(ended) = self.advance(now, remaining) {
                return ended;
            }
            if remaining == Remaining::Unknown {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                _ = self.children.recv() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Running { kill_at, .. } => *kill_at,
            State::Sweeping(sweep) => Some(if sweep.killing { sweep.give_up_at } else { sweep.kill_at }),
        }
    }

    /// Reaps, and notices when the program itself was among those that ended.
    fn collect(&mut self, now: Instant) -> Remaining {
        let own = self.pid();
        let (mut exit, mut suspended) = (None, false);
        let remaining = reaper::reap(|pid, status| {
            if Some(pid) == own {
                exit = ExitStatus::from_wait(status).or(exit);
                suspended |= status.stopped();
            } else if let Some(status) = ExitStatus::from_wait(status) {
                self.asides.ended(pid, status);
            }
        });
        match (&self.state, exit) {
            (State::Running { pid, since, .. }, Some(status)) => {
                let ended = Ended { status, uptime: now.saturating_duration_since(*since) };
                let sweep = Sweep::new(*pid, ended, now, self.grace);
                self.terminal.reclaim();
                if remaining != Remaining::None {
                    send(sweep.group, Signal::TERM);
                    reaper::signal_children(Signal::TERM);
                }
                self.state = State::Sweeping(sweep);
            }
            (State::Running { pid, .. }, None) if suspended => self.terminal.suspend(*pid),
            _ => {}
        }
        remaining
    }

    /// Does what is due, and says when a run is over.
    fn advance(&mut self, now: Instant, remaining: Remaining) -> Option<Ended> {
        match &mut self.state {
            State::Running { pid, kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                tracing::warn!("the program did not end within the grace period: killed");
                *kill_at = None;
                send(*pid, Signal::KILL);
                None
            }
            State::Sweeping(sweep) => {
                let ended = sweep.advance(now, remaining)?;
                self.state = State::Idle;
                Some(ended)
            }
            State::Idle | State::Running { .. } => None,
        }
    }
}

/// The end of a run whose program is gone and whose orphans may not be.
#[derive(Debug)]
struct Sweep {
    group: Pid,
    ended: Ended,
    kill_at: Instant,
    give_up_at: Instant,
    killing: bool,
}

impl Sweep {
    fn new(group: Pid, ended: Ended, now: Instant, grace: Duration) -> Self {
        Self { group, ended, kill_at: now + ORPHAN_GRACE.min(grace), give_up_at: now + GIVE_UP, killing: false }
    }

    fn advance(&mut self, now: Instant, remaining: Remaining) -> Option<Ended> {
        if remaining == Remaining::None {
            return Some(self.ended);
        }
        if self.give_up_at <= now {
            tracing::warn!("a process that the program left behind does not end, not even by KILL");
            return Some(self.ended);
        }
        self.killing |= self.kill_at <= now;
        if self.killing {
            // Each round finds what the killed ones left to us.
            send(self.group, Signal::KILL);
            reaper::signal_children(Signal::KILL);
        }
        None
    }
}

fn send(group: Pid, signal: Signal) {
    if let Err(error) = kill_process_group(group, signal) {
        tracing::debug!(%error, ?signal, "signal not delivered");
    }
}

/// Sleeps until a moment, or for ever when there is none.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
