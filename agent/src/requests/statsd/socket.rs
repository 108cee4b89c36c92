//! The sockets, and how much of what comes is read.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::net::{UdpSocket, UnixDatagram};

use super::StatsdError;
use super::address::StatsdAddress;
use crate::supervisor::Account;

/// For a burst that comes while the agent does something else. The kernel's own bound (`rmem_max`) counts as well.
const QUEUE_BYTES: usize = 1 << 20;
/// Owner alone: the program's user.
const MODE: u32 = 0o600;

/// A socket that packets come in by.
#[derive(Debug)]
pub(super) enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram, SocketFile),
}

/// A socket's name in the file system. Removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "the socket for StatsD is already gone");
        }
    }
}

impl Socket {
    /// `account` is the program's, when it is another one.
    pub(super) async fn bind(address: &StatsdAddress, account: Option<&Account>) -> Result<Self, StatsdError> {
        let failed = |source| StatsdError::Bind { address: address.to_string(), source };
        match address {
            StatsdAddress::Udp(address) => {
                let socket = UdpSocket::bind(address).await.map_err(failed)?;
                if let Err(error) = set_socket_recv_buffer_size(&socket, QUEUE_BYTES) {
                    tracing::debug!(%error, "the kernel's usual queue has to do for StatsD");
                }
                Ok(Self::Udp(socket))
            }
            StatsdAddress::Unix(path) => {
                remove_stale(path)?;
                let socket = UnixDatagram::bind(path).map_err(failed)?;
                let file = SocketFile(path.clone());
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
                if let Some(account) = account {
                    rustix::fs::chown(path, Some(account.uid), Some(account.gid))
                        .map_err(io::Error::from)
                        .map_err(failed)?;
                }
                Ok(Self::Unix(socket, file))
            }
        }
    }

    /// Where it listens; tells the port when 0 was asked for.
    pub(super) fn address(&self) -> io::Result<StatsdAddress> {
        match self {
            Self::Udp(socket) => socket.local_addr().map(StatsdAddress::Udp),
            Self::Unix(_, file) => Ok(StatsdAddress::Unix(file.0.clone())),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.readable().await,
            Self::Unix(socket, _) => socket.readable().await,
        }
    }

    pub(super) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.try_recv(buffer),
            Self::Unix(socket, _) => socket.try_recv(buffer),
        }
    }
}

/// An agent that was killed leaves its socket behind; anything else that is there is somebody's.
fn remove_stale(path: &Path) -> Result<(), StatsdError> {
    let failed = |source| StatsdError::Bind { address: format!("unix:{}", path.display()), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(StatsdError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let probe = std::os::unix::net::UnixDatagram::unbound().map_err(failed)?;
    match probe.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
        Ok(()) => Err(StatsdError::InUse { path: path.to_owned() }),
    }
}

/// How much may be read in which time, so that a storm of packets takes a share of the agent's one thread and no more.
#[derive(Debug)]
pub(super) struct Budget {
    until: Instant,
    packets: usize,
    bytes: usize,
}

impl Budget {
    pub(super) const WINDOW: Duration = Duration::from_millis(100);
    /// 20,000 a second; each is some microseconds.
    pub(super) const PACKETS: usize = 2_000;
    /// 10 MiB a second.
    pub(super) const BYTES: usize = 1 << 20;

    pub(super) fn new(now: Instant) -> Self {
        Self { until: now + Self::WINDOW, packets: 0, bytes: 0 }
    }

    /// A packet of so many bytes was read. When that was the last for now, returns when it goes on.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        if now >= self.until {
            *self = Self::new(now);
        }
        self.packets += 1;
        self.bytes += bytes;
        (self.packets >= Self::PACKETS || self.bytes >= Self::BYTES).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_packets_or_bytes_and_comes_anew() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 1..Budget::PACKETS {
            assert_eq!(budget.spend(1, start), None);
        }
        assert_eq!(budget.spend(1, start), Some(start + Budget::WINDOW));
        assert_eq!(budget.spend(1, start + Budget::WINDOW), None);
        assert_eq!(budget.spend(Budget::BYTES, start + Budget::WINDOW), Some(start + 2 * Budget::WINDOW));
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("statsd.sock");
        let address = StatsdAddress::Unix(path.clone());
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        let socket = Socket::bind(&address, None).await.expect("nobody listens there");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(Socket::bind(&address, None).await, Err(StatsdError::InUse { .. })));
        drop(socket);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&address, None).await, Err(StatsdError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
