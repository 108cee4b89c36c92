//! The reverse proxy in front of the program: HTTP/1.1 and HTTP/2 without TLS in, on one port; either of them out, to one
//! address.
//!
//! A connection is a task. Its first bytes say what it speaks; of HTTP/1.1, every head is looked at before anything else is
//! done with it (`stream`, `head`, `chunks`). Its requests go through `exchange`: the head is rewritten (`headers`), a
//! connection to the program is leased (`upstream`), and both bodies stream through with back-pressure, a buffer of 16 KiB
//! each way and no more. Upgrades such as WebSocket are copied raw (`tunnel`). `watch` notices a connection that is slow to
//! speak, idle or stuck. What the proxy says itself is a `refusal`.
//!
//! The program is the authority: the proxy passes on methods, targets, status codes and headers it does not know, keeps
//! `Host`, and adds only what a proxy must add.
//!
//! What must never be true: a request sent twice that may have been carried out once, a message that the program could take
//! for two, a body held in memory, a connection without a deadline, or a request that is neither answered nor counted.

mod absence;
mod activity;
mod body;
mod chunks;
mod exchange;
mod head;
mod headers;
mod limits;
mod network;
mod refusal;
mod serve;
mod stream;
mod tunnel;
mod upstream;
mod watch;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as watched};

pub use self::limits::{LimitError, ProxyLimits};
pub use self::network::{Network, ParseNetworkError};
use self::serve::Serving;
use self::upstream::Upstream;
use super::RequestMeter;

/// What the program is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// Without TLS and without asking first.
    Http2,
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyRoute {
    pub listen: SocketAddr,
    pub upstream: SocketAddr,
    pub protocol: Protocol,
}

/// Read and write buffers of one connection. hyper wants at least 8 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
/// What one side may send in HTTP/2 before the other has taken it: of a body, and of all bodies of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// When no connection can be accepted (descriptors, memory), trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("cannot listen on {address} for the proxy")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A listening proxy. Connections queue until [`run`](Self::run).
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    meter: RequestMeter,
    limits: ProxyLimits,
    route: ProxyRoute,
}

/// What connections do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Finish the requests at hand.
    Draining,
    /// End now.
    Closed,
}

impl Proxy {
    /// Listens for requests.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not allowed.
    pub async fn bind(route: ProxyRoute, limits: ProxyLimits) -> Result<Self, ProxyError> {
        let address = route.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| ProxyError::Bind { address, source })?;
        Ok(Self { listener, meter: RequestMeter::default(), limits, route })
    }

    /// Where it listens; tells the port when 0 was asked for.
    ///
    /// # Errors
    /// The system does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What the requests are counted in.
    #[must_use]
    pub fn meter(&self) -> RequestMeter {
        self.meter.clone()
    }

    /// Serves until `shutdown` resolves, then finishes the requests under way, at most for
    /// [`ProxyLimits::drain_timeout`]. When the returned future is dropped, all connections end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, meter, limits, route } = self;
        let connections = Arc::new(Semaphore::new(limits.connections as usize));
        let (stage, stages) = watched::channel(Stage::Serving);
        let limits = Arc::new(limits);
        let upstream = Arc::new(Upstream::new(route, Arc::clone(&limits)));
        let serving = Serving::new(upstream, meter, Arc::clone(&limits), stages);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                (stream, peer, permit) = next_connection(&listener, &connections) => {
                    serving.spawn(stream, peer, permit);
                }
            }
        }
        drop(listener);
        let all_ended = || connections.acquire_many(limits.connections);
        stage.send_replace(Stage::Draining);
        if tokio::time::timeout(limits.drain_timeout, all_ended()).await.is_err() {
            tracing::debug!("requests under way are broken off: the drain time-out has passed");
            stage.send_replace(Stage::Closed);
            // Nothing that a connection then does waits for anybody; the semaphore is never closed.
            let _ended = all_ended().await;
        }
    }
}

async fn next_connection(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(connections).acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::debug!(%error, "the proxy cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Follows the messages of an HTTP/1.1 connection over bytes that arrive in any pieces; says how many bytes were believed.
/// For the fuzz target.
#[doc(hidden)]
#[must_use]
pub fn follow(bytes: &[u8], piece: usize) -> usize {
    let mut messages = stream::Messages::new(BUFFER_BYTES);
    let (mut believed, mut arrived) = (0, 0);
    while arrived < bytes.len() {
        arrived = (arrived + piece.max(1)).min(bytes.len());
        while believed < arrived {
            match messages.judge(&bytes[believed..arrived]) {
                stream::Verdict::Pass(length) => believed += length,
                stream::Verdict::Wait => break,
                stream::Verdict::Refuse(_) | stream::Verdict::Broken(_) => return believed,
            }
        }
    }
    believed
}

#[cfg(test)]
mod tests;
