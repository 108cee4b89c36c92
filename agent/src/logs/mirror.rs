//! The agent's own stdout and stderr, written to without ever waiting for a reader in a system call.
//!
//! The descriptors are shared with whoever started the agent, so they are not switched to non-blocking: that would
//! switch the starter's too. Instead the kernel is asked whether there is room, and at most as much is written as
//! then surely fits. What cannot be waited for (a file, `/dev/null`) never blocks for long and is written directly.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A pipe that reports room takes this much in one piece: `PIPE_BUF` (pipe(7)).
const ATOMIC_BYTES: usize = 4096;

/// One of the agent's own streams.
#[derive(Debug)]
pub struct Mirror(Target);

#[derive(Debug)]
enum Target {
    /// A pipe, a terminal, a socket.
    Awaited(AsyncFd<OwnedFd>),
    Direct(OwnedFd),
}

impl Mirror {
    /// The agent's stdout. Inside a tokio runtime.
    ///
    /// # Errors
    /// The descriptor is closed, or there are no descriptors left.
    pub fn stdout() -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?)
    }

    /// The agent's stderr. Inside a tokio runtime.
    ///
    /// # Errors
    /// As for [`stdout`](Self::stdout).
    pub fn stderr() -> io::Result<Self> {
        Self::new(io::stderr().as_fd().try_clone_to_owned()?)
    }

    /// Any descriptor.
    ///
    /// # Errors
    /// The runtime cannot watch it, for another reason than that it is a file.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, and nothing here takes it out
        // of the `AsyncFd` or replaces it.
        match unsafe { AsyncFd::register_with_interest(descriptor, Interest::WRITABLE) } {
            Ok(watched) => Ok(Self(Target::Awaited(watched))),
            Err(error) => {
                let (descriptor, cause) = error.into_parts();
                // epoll(7) refuses what is always ready.
                if cause.kind() == io::ErrorKind::PermissionDenied {
                    Ok(Self(Target::Direct(descriptor)))
                } else {
                    Err(cause)
                }
            }
        }
    }

    /// Writes all of it, and waits while the reader is slow.
    ///
    /// # Errors
    /// The reader is gone.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let part = &bytes[..bytes.len().min(ATOMIC_BYTES)];
            let written = match &self.0 {
                Target::Awaited(watched) => {
                    room(watched).await?;
                    rustix::io::write(watched.get_ref(), part)
                }
                Target::Direct(descriptor) => rustix::io::write(descriptor, part),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                // Somebody else made it non-blocking, and took the room.
                Err(rustix::io::Errno::AGAIN) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Waits until there is room. The descriptor stays blocking, so no failed write tells when to wait: poll(2) does.
async fn room(watched: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut guard = watched.writable().await?;
        let mut asked = [PollFd::new(watched.get_ref(), PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut asked, Some(&at_once)) {
            Ok(0) => guard.clear_ready(),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_reader_that_sleeps_delays_the_writer_and_nobody_else() {
        runtime().block_on(async {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let mut mirror = Mirror::new(writer.into()).unwrap();
            let output = vec![b'x'; 1 << 20];
            let stuck = tokio::time::timeout(Duration::from_millis(50), mirror.write_all(&output)).await;
            assert!(stuck.is_err(), "a megabyte does not fit into a pipe, and the runtime goes on");
            drop(mirror);
            let mut arrived = Vec::new();
            reader.read_to_end(&mut arrived).unwrap();
            assert!(!arrived.is_empty() && arrived.len() < output.len());
        });
    }

    #[test]
    fn everything_arrives_once_the_reader_wakes() {
        runtime().block_on(async {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let mut mirror = Mirror::new(writer.into()).unwrap();
            let output: Vec<u8> = (0..1_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let reading = std::thread::spawn(move || {
                let mut arrived = Vec::new();
                reader.read_to_end(&mut arrived).unwrap();
                arrived
            });
            mirror.write_all(&output).await.unwrap();
            drop(mirror);
            assert!(reading.join().unwrap() == output);
        });
    }

    #[test]
    fn a_file_is_written_directly_and_a_closed_pipe_is_an_error() {
        runtime().block_on(async {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut mirror = Mirror::new(file.reopen().unwrap().into()).unwrap();
            mirror.write_all(b"line\n").await.unwrap();
            assert_eq!(std::fs::read(file.path()).unwrap(), b"line\n");

            let (reader, writer) = std::io::pipe().unwrap();
            let mut mirror = Mirror::new(writer.into()).unwrap();
            drop(reader);
            assert!(mirror.write_all(b"line\n").await.is_err());
        });
    }
}
