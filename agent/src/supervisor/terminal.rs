//! Job control, when the agent was started by hand.
//!
//! The program lives in a process group of its own. On a terminal that group becomes the foreground one, so that the
//! kernel delivers ctrl-c to the program alone and the agent does not deliver it a second time. When the program
//! stops on ctrl-z, the agent stops as well, or the shell would never come back.

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};
use rustix::stdio::stdin;
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

/// Whether the agent owns the foreground of the terminal on its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    owned: bool,
}

impl Terminal {
    #[must_use]
    pub fn detect() -> Self {
        Self { owned: isatty(stdin()) && tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp()) }
    }

    /// Whether the program's group is to be put in front when it starts.
    #[must_use]
    pub const fn is_owned(self) -> bool {
        self.owned
    }

    /// Gives the foreground back to the agent's own group. The agent ignores TTOU, so this works from behind.
    pub fn reclaim(self) {
        if self.owned {
            let _ = tcsetpgrp(stdin(), getpgrp());
        }
    }

    /// The program's group was stopped from the keyboard: stops with it, and goes on with it.
    pub fn suspend(self, program: Pid) {
        if !self.owned {
            return;
        }
        self.reclaim();
        let _ = kill_process(getpid(), Signal::STOP);
        // Here again after `fg`.
        let _ = tcsetpgrp(stdin(), program);
        let _ = kill_process_group(program, Signal::CONT);
    }
}
