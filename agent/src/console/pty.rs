//! A terminal for the program.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::fs::{Gid, Uid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::io::{AsyncRead, ReadBuf};

use super::watched::Watched;

/// Where nobody says how large it is: what terminals have had since 1978.
const USUAL_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// Both ends of a new terminal.
#[derive(Debug)]
pub struct Pty {
    /// The agent's.
    pub near: OwnedFd,
    /// The program's: its stdin, stdout and stderr.
    pub far: OwnedFd,
}

impl Pty {
    /// A terminal with the size and the settings (which key erases, and the like) of the agent's own, when it has one. The
    /// owner is the program's user, when it is another one.
    ///
    /// # Errors
    /// The system has no more terminals, or none at all.
    pub fn open(owner: Option<(Uid, Gid)>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = openpt(flags)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        // Not by its path, which may lead elsewhere in a container.
        let far = ioctl_tiocgptpeer(&near, flags)?;
        if let Ok(settings) = tcgetattr(stdin()) {
            tcsetattr(&far, OptionalActions::Now, &settings)?;
        }
        if let Some((uid, gid)) = owner {
            rustix::fs::fchown(&far, Some(uid), Some(gid))?;
        }
        tcsetwinsize(&near, own_size().unwrap_or(USUAL_SIZE))?;
        Ok(Self { near, far })
    }
}

fn own_size() -> Option<Winsize> {
    [stdout(), stdin()].into_iter().filter(|terminal| isatty(terminal)).find_map(|terminal| tcgetwinsize(terminal).ok())
}

/// Gives a terminal the size of the agent's own; the kernel tells whoever is in its foreground (WINCH).
pub(super) fn copy_size(near: BorrowedFd<'_>) {
    if let Some(size) = own_size() {
        let _ = tcsetwinsize(near, size);
    }
}

/// What the program shows.
#[derive(Debug)]
pub struct PtyReader(Arc<Watched>);

impl PtyReader {
    pub(super) const fn new(terminal: Arc<Watched>) -> Self {
        Self(terminal)
    }
}

impl AsyncRead for PtyReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.0.poll_read(context, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}
