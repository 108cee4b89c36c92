//! Metrics that the program sends: StatsD and DogStatsD, over UDP and Unix datagram sockets.
//!
//! `packet` reads a line, `ledger` keeps what was said of the series that some rule means, `socket` is where packets come
//! in. Between two samples counts, times and sets add up; a gauge stands until something else is said of it or the
//! program ends.
//!
//! What must never be true: a line that ends the agent; more time for packets than `socket::Budget` allows; a
//! series without a bound; a gauge of a program that is gone.

mod address;
mod ledger;
mod packet;
mod socket;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outrigger_protocol::sample::Sample;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

pub use self::address::{ParseStatsdAddressError, StatsdAddress};
pub use self::ledger::{Ledger, MEMBERS, SERIES, StatsdFigures};
pub use self::packet::{Kind, Line, Metric, PacketError, Value, parse};
use self::socket::{Budget, Socket};
use super::mapping::Mapping;
use crate::environment::Hint;
use crate::supervisor::Account;

/// More than any datagram of UDP; of a longer one over a Unix socket, the last line is not read.
const PACKET_BYTES: usize = 64 * 1024;
/// Packets that are read before others get their turn.
const PACKETS_AT_A_TIME: usize = 64;
/// When a socket fails, trying again at once would only burn the processor.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum StatsdError {
    #[error("cannot listen on {address} for StatsD")]
    Bind {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen for StatsD: {} is there and is no socket", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen for StatsD: somebody else listens on {}", path.display())]
    InUse { path: PathBuf },
}

/// The sockets and what came in by them. They are closed with this handle.
#[derive(Debug)]
pub struct Statsd {
    ledger: Arc<Mutex<Ledger>>,
    addresses: Vec<StatsdAddress>,
    _readers: JoinSet<()>,
}

impl Statsd {
    /// Listens on all of these addresses.
    ///
    /// # Errors
    /// One of them is taken, not this machine's, or not allowed.
    pub async fn listen(
        addresses: &[StatsdAddress],
        mapping: Mapping,
        account: Option<&Account>,
    ) -> Result<Self, StatsdError> {
        let ledger = Arc::new(Mutex::new(Ledger::new(mapping)));
        let (mut readers, mut bound) = (JoinSet::new(), Vec::with_capacity(addresses.len()));
        for address in addresses {
            let socket = Socket::bind(address, account).await?;
            let failed = |source| StatsdError::Bind { address: address.to_string(), source };
            bound.push(socket.address().map_err(failed)?);
            readers.spawn(read(socket, Arc::clone(&ledger)));
        }
        Ok(Self { ledger, addresses: bound, _readers: readers })
    }

    /// Puts what came in the time since the last call into a sample.
    pub fn take(&self, elapsed: Duration, now: Instant, sample: &mut Sample) {
        let mut ledger = lock(&self.ledger);
        let dropped = ledger.take(elapsed, now).record(sample);
        ledger.figures.dropped += dropped;
    }

    /// What the program said of its state holds no longer.
    pub fn program_ended(&self) {
        lock(&self.ledger).forget_gauges();
    }

    #[must_use]
    pub fn figures(&self) -> StatsdFigures {
        lock(&self.ledger).figures
    }

    #[must_use]
    pub fn addresses(&self) -> &[StatsdAddress] {
        &self.addresses
    }

    /// What the program is told, so that its client finds the way: of each kind, the first address.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        let udp = self.addresses.iter().find_map(|address| match address {
            // Whoever listens everywhere is found here.
            StatsdAddress::Udp(address) if address.ip().is_unspecified() => {
                let host = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
                Some((host.to_owned(), address.port()))
            }
            StatsdAddress::Udp(address) => Some((address.ip().to_string(), address.port())),
            StatsdAddress::Unix(_) => None,
        });
        if let Some((host, port)) = &udp {
            hints.push(Hint {
                unless: &["STATSD_HOST", "STATSD_PORT"],
                variables: vec![("STATSD_HOST", host.clone()), ("STATSD_PORT", port.to_string())],
            });
        }
        let unix = self.addresses.iter().find_map(|address| match address {
            StatsdAddress::Unix(path) => Some(format!("unix://{}", path.display())),
            StatsdAddress::Udp(_) => None,
        });
        let url = unix.or_else(|| {
            let (host, port) = udp?;
            Some(if host.contains(':') { format!("udp://[{host}]:{port}") } else { format!("udp://{host}:{port}") })
        });
        if let Some(url) = url {
            hints.push(Hint {
                unless: &["DD_DOGSTATSD_URL", "DD_DOGSTATSD_HOST", "DD_DOGSTATSD_SOCKET", "DD_AGENT_HOST"],
                variables: vec![("DD_DOGSTATSD_URL", url)],
            });
        }
        hints
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a turn of reading came to.
enum Turn {
    Read,
    /// Nothing more until then.
    Spent(Instant),
    Failed(io::Error),
}

async fn read(socket: Socket, ledger: Arc<Mutex<Ledger>>) {
    let mut buffer = vec![0; PACKET_BYTES].into_boxed_slice();
    let mut budget = Budget::new(Instant::now());
    loop {
        let turn = match socket.readable().await {
            Ok(()) => take_turn(&socket, &mut buffer, &mut budget, &ledger),
            Err(error) => Turn::Failed(error),
        };
        match turn {
            Turn::Read => tokio::task::yield_now().await,
            Turn::Spent(until) => sleep_until(until.into()).await,
            Turn::Failed(error) => {
                tracing::debug!(%error, "a packet of StatsD cannot be read");
                sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

fn take_turn(socket: &Socket, buffer: &mut [u8], budget: &mut Budget, ledger: &Mutex<Ledger>) -> Turn {
    let now = Instant::now();
    let mut ledger = lock(ledger);
    for _ in 0..PACKETS_AT_A_TIME {
        match socket.try_recv(buffer) {
            Ok(length) => {
                ledger.packet(&buffer[..length], length == buffer.len(), now);
                if let Some(until) = budget.spend(length, now) {
                    if ledger.figures.overruns == 0 {
                        tracing::warn!("the program sends more over StatsD than is read: some of it may be lost");
                    }
                    ledger.figures.overruns += 1;
                    return Turn::Spent(until);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Turn::Failed(error),
        }
    }
    Turn::Read
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;

    async fn listening(addresses: &[&str]) -> Statsd {
        let addresses: Vec<StatsdAddress> =
            addresses.iter().map(|address| address.parse().expect("an address")).collect();
        let rules = ["*".parse().expect("a rule")];
        Statsd::listen(&addresses, Mapping::of_statsd(&rules, false), None).await.expect("listening")
    }

    async fn heard(statsd: &Statsd, packets: u64) {
        while statsd.figures().packets < packets {
            tokio::task::yield_now().await;
        }
    }

    fn taken(statsd: &Statsd) -> Vec<(String, f64)> {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        statsd.take(Duration::from_secs(1), Instant::now(), &mut sample);
        sample.custom
    }

    #[tokio::test]
    async fn packets_come_in_by_both_kinds_of_sockets_and_the_program_is_told_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("statsd.sock");
        let unix = format!("unix:{}", path.display());
        let statsd = listening(&["127.0.0.1:0", &unix]).await;
        let StatsdAddress::Udp(udp) = statsd.addresses()[0].clone() else { panic!("UDP comes first") };
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"jobs:3|c\nnonsense", udp).unwrap();
        let client = std::os::unix::net::UnixDatagram::unbound().unwrap();
        client.send_to(b"jobs:4|c", &path).unwrap();
        heard(&statsd, 2).await;
        assert_eq!(taken(&statsd), [("jobs".to_owned(), 7.0)]);
        assert_eq!(statsd.figures().malformed, 1);
        let told: Vec<_> = statsd.hints().into_iter().flat_map(|hint| hint.variables).collect();
        let expected = [
            ("STATSD_HOST", "127.0.0.1".to_owned()),
            ("STATSD_PORT", udp.port().to_string()),
            ("DD_DOGSTATSD_URL", format!("unix://{}", path.display())),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_gauge_is_gone_with_its_program() {
        let statsd = listening(&["127.0.0.1:0"]).await;
        lock(&statsd.ledger).packet(b"depth:5|g", false, Instant::now());
        assert_eq!(taken(&statsd).len(), 1);
        assert_eq!(taken(&statsd).len(), 1);
        statsd.program_ended();
        assert!(taken(&statsd).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let statsd = listening(&["127.0.0.1:0"]).await;
        let error = Statsd::listen(statsd.addresses(), Mapping::of_statsd(&[], false), None).await.expect_err("taken");
        assert!(error.to_string().contains(&statsd.addresses()[0].to_string()), "{error}");
    }
}
