//! The terminal that the agent was started on, and the one that it makes for the program.
//!
//! A program whose output is read finds no terminal: no colours, no line editing, no full-screen display. So it gets a
//! pseudo-terminal of its own, and the agent stands between: keys go in, what the program shows comes out, sizes are
//! passed on. The agent's own terminal is raw meanwhile, so that every key means what it means to the program: ctrl-c
//! becomes a signal in the program's terminal, for whatever is in the foreground there.
//!
//! What must never be true: a terminal left raw by an agent that could still do something about it; a key that is lost
//! because the program reads slowly, or a buffer of keys without a bound.

mod keyboard;
mod pty;
mod raw;
// Registering a descriptor with the runtime is unsafe in tokio.
#[allow(unsafe_code)]
mod watched;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::task::JoinHandle;

pub use pty::{Pty, PtyReader};
pub use raw::{Stderr, stderr};

use raw::RawMode;
use watched::Watched;

/// The agent's side of a program's terminal. Dropped, it takes no more keys, and the agent's own terminal is as it was.
#[derive(Debug)]
pub struct Console {
    terminal: Arc<Watched>,
    keyboard: Option<JoinHandle<()>>,
    raw: Option<RawMode>,
}

impl Console {
    /// Stands between a program's terminal and, when it is there and ours, the agent's own. Inside a tokio runtime.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn connect(terminal: OwnedFd, own: bool) -> io::Result<(Self, PtyReader)> {
        rustix::io::ioctl_fionbio(&terminal, true)?;
        let terminal = Arc::new(Watched::both_ways(terminal)?);
        let reader = PtyReader::new(Arc::clone(&terminal));
        let mut console = Self { terminal, keyboard: None, raw: None };
        if own {
            let keys = Watched::readable(io::stdin().as_fd().try_clone_to_owned()?)?;
            console.raw = Some(RawMode::enter()?);
            console.keyboard = Some(tokio::spawn(keyboard::relay(keys, Arc::clone(&console.terminal))));
        }
        Ok((console, reader))
    }

    /// The agent's terminal has another size now.
    pub fn resize(&self) {
        pty::copy_size(self.terminal.descriptor());
    }

    /// The agent was stopped and goes on: whoever had the terminal meanwhile has put it in order.
    pub fn resume(&mut self) {
        if let Some(raw) = &self.raw {
            raw.again();
        }
        self.resize();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(keyboard) = &self.keyboard {
            keyboard.abort();
        }
    }
}
