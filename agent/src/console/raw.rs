//! The agent's own terminal in raw mode, and out of it on every path that a process can still act on: a drop, and a panic,
//! which ends a released agent without one.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// What the terminal was like before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static ON_PANIC: Once = Once::new();

/// Raw mode, for as long as this lives.
#[derive(Debug)]
pub(super) struct RawMode(Termios);

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        ON_PANIC.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                usual(panic);
            }));
        });
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let mode = Self(raw);
        tcsetattr(stdin(), OptionalActions::Now, &mode.0)?;
        Ok(mode)
    }

    pub(super) fn again(&self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // Held by nobody for longer than these calls take; a panic within them finds it held, and gives up.
    if let Ok(mut before) = BEFORE.try_lock()
        && let Some(before) = before.take()
    {
        // Fails on a terminal that is gone, and there is nobody to tell.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

fn is_raw() -> bool {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Standard error for what the agent says about itself: on a raw terminal a line's end has to go back to the margin.
#[derive(Debug)]
pub struct Stderr {
    returns: bool,
}

/// Asked for each line.
#[must_use]
pub fn stderr() -> Stderr {
    Stderr { returns: is_raw() && isatty(rustix::stdio::stderr()) }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.returns {
            return io::stderr().write(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 8);
        for byte in bytes {
            if *byte == b'\n' {
                out.push(b'\r');
            }
            out.push(*byte);
        }
        io::stderr().write_all(&out).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
