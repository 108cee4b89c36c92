//! Job control, when the agent was started by hand.
//!
//! The program lives in a process group of its own. On a terminal that is handed over, that group becomes the foreground
//! one, so that the kernel delivers ctrl-c to the program alone and the agent does not deliver it a second time. When
//! the program stops on ctrl-z, the agent stops as well, or the shell would never come back.
//!
//! A program with a terminal of its own ([`crate::console`]) lives in a session of its own, and the agent's terminal stays
//! the agent's.

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};
use rustix::stdio::stdin;
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

/// Whether the agent owns the foreground of the terminal on its stdin, and what it does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    owned: bool,
    kept: bool,
}

impl Terminal {
    #[must_use]
    pub fn detect() -> Self {
        let owned = isatty(stdin()) && tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp());
        Self { owned, kept: false }
    }

    /// The agent keeps it to itself: the program gets another.
    #[must_use]
    pub const fn keep(self) -> Self {
        Self { kept: true, ..self }
    }

    /// Whether somebody types to the program through it.
    #[must_use]
    pub const fn is_owned(self) -> bool {
        self.owned
    }

    /// Whether the program's group is to be put in front when it starts.
    #[must_use]
    pub const fn is_handed_over(self) -> bool {
        self.owned && !self.kept
    }

    /// Gives the foreground back to the agent's own group. The agent ignores TTOU, so this works from behind.
    pub fn reclaim(self) {
        if self.is_handed_over() {
            let _ = tcsetpgrp(stdin(), getpgrp());
        }
    }

    /// The program's group was stopped from the keyboard: stops with it, and goes on with it.
    pub fn suspend(self, program: Pid) {
        if !self.is_handed_over() {
            return;
        }
        self.reclaim();
        let _ = kill_process(getpid(), Signal::STOP);
        // Here again after `fg`.
        let _ = tcsetpgrp(stdin(), program);
        let _ = kill_process_group(program, Signal::CONT);
    }
}
