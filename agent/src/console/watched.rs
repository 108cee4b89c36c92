//! A descriptor that the runtime watches, and that is asked once more before it is read or written.
//!
//! The agent's stdin is shared with whoever started it and stays blocking; poll(2) tells whether a call would wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(super) struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    pub(super) fn readable(descriptor: OwnedFd) -> io::Result<Self> {
        Self::register(descriptor, Interest::READABLE)
    }

    pub(super) fn both_ways(descriptor: OwnedFd) -> io::Result<Self> {
        Self::register(descriptor, Interest::READABLE | Interest::WRITABLE)
    }

    fn register(descriptor: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, and nothing here takes it out
        // of the `AsyncFd` or replaces it.
        Ok(Self(
            unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(|error| error.into_parts().1)?,
        ))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }

    /// Reads what is there, at least a byte; nothing at the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            if !self.is_ready(PollFlags::IN)? {
                guard.clear_ready();
                continue;
            }
            match rustix::io::read(self.descriptor(), &mut *buffer) {
                Ok(read) => return Poll::Ready(Ok(read)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                // The last one who had the terminal open is gone: the end, as Linux says it (pty(7)).
                Err(rustix::io::Errno::IO) => return Poll::Ready(Ok(0)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Writes all of it, and waits while nobody takes it. The descriptor does not block.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut guard = self.0.writable().await?;
            match rustix::io::write(self.descriptor(), bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Only a yes of the kernel is one: stdin blocks, and the agent has one thread.
    fn is_ready(&self, flags: PollFlags) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut asked = [PollFd::new(self.0.get_ref(), flags)];
            match rustix::event::poll(&mut asked, Some(&at_once)) {
                // A hang-up is news as well.
                Ok(events) => return Ok(events > 0),
                // poll(2) says this even without a time to wait.
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
