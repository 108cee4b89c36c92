//! The reverse proxy in front of the program: HTTP/1.1 in, HTTP/1.1 out, one upstream address.
//!
//! A connection is a task. Its requests go through `exchange`: the head is rewritten (`headers`), a pooled or fresh
//! connection to the program is leased (`upstream`), and both bodies stream through with back-pressure, a buffer
//! of 16 KiB each way and no more. Upgrades such as WebSocket are copied raw (`tunnel`). `watch` notices a
//! connection that is slow to speak, idle or stuck.
//!
//! The program is the authority: the proxy passes on methods, targets, status codes and headers it does not know, keeps
//! `Host`, and adds only what a proxy must add.
//!
//! What must never be true: a request sent twice that may have been carried out once, a body held in memory, a
//! connection without a deadline, or a request that is neither answered nor counted.

mod body;
mod exchange;
mod headers;
mod tunnel;
mod upstream;
mod watch;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as watched};

use self::exchange::Client;
use self::upstream::Upstream;
use self::watch::{Activity, Expired, Observed, Watch};
use super::RequestMeter;

/// Bounds of the proxy. All are checked by the proxy itself; the program sees only what is within them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections of clients at once; more wait in the listener's backlog.
    pub connections: u32,
    /// Request line and header fields together, at least 8 KiB. More is answered with 431, as are more than 100 fields.
    pub head_bytes: usize,
    /// From the first byte of a head to its end. Then 408.
    pub head_timeout: Duration,
    /// A connection without a request. Longer than load balancers keep theirs (60 s), so that they close first.
    pub keep_alive: Duration,
    /// A body or an upgraded connection on which no byte moves.
    pub stall_timeout: Duration,
    /// Until the program accepts a connection. Then 504.
    pub connect_timeout: Duration,
    /// How long requests wait for a program that refuses connections because it is being restarted. Then 502, at once
    /// for everybody until it accepts again.
    pub restart_window: Duration,
    /// From the last byte of a request to the head of its answer. Then 504.
    pub response_timeout: Duration,
    /// How long an unused connection to the program is kept: less than servers do (5 s is usual), so that they seldom
    /// close one that is being used.
    pub upstream_idle: Duration,
    /// Unused connections to the program.
    pub upstream_idle_connections: usize,
    /// For requests under way when the proxy is told to stop.
    pub drain_timeout: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(5),
            restart_window: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(4),
            upstream_idle_connections: 32,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Read and write buffers of one connection. hyper wants at least 8 KiB.
const BUFFER_BYTES: usize = 16 * 1024;
const MIN_HEAD_BYTES: usize = 8 * 1024;
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
    upstream: SocketAddr,
}

/// What connections do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Finish the request at hand.
    Draining,
    /// End now.
    Closed,
}

impl Proxy {
    /// Listens on `listen` for requests to `upstream`.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not allowed.
    pub async fn bind(listen: SocketAddr, upstream: SocketAddr, limits: ProxyLimits) -> Result<Self, ProxyError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|source| ProxyError::Bind { address: listen, source })?;
        Ok(Self { listener, meter: RequestMeter::default(), limits, upstream })
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
        let Self { listener, meter, limits, upstream } = self;
        let connections = Arc::new(Semaphore::new(limits.connections as usize));
        let (stage, stages) = watched::channel(Stage::Serving);
        let limits = Arc::new(limits);
        let serving = Serving {
            http: server(&limits),
            upstream: Arc::new(Upstream::new(upstream, Arc::clone(&limits))),
            meter,
            limits: Arc::clone(&limits),
            stages,
        };
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

fn server(limits: &ProxyLimits) -> http1::Builder {
    let head_bytes = limits.head_bytes.max(MIN_HEAD_BYTES);
    let mut http = http1::Builder::new();
    // Deadlines are kept by `watch`: hyper's own cannot tell a slow head from an idle connection.
    http.max_buf_size(head_bytes.max(BUFFER_BYTES)).max_header_size(head_bytes).header_read_timeout(None);
    http
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

/// What every connection needs.
struct Serving {
    http: http1::Builder,
    upstream: Arc<Upstream>,
    meter: RequestMeter,
    limits: Arc<ProxyLimits>,
    stages: watched::Receiver<Stage>,
}

impl Serving {
    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // An answer of two segments must not wait for the client's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot send small segments at once");
        }
        let activity = Arc::new(Activity::default());
        let client = Arc::new(Client::new(
            peer.ip(),
            Arc::clone(&self.upstream),
            self.meter.clone(),
            Arc::clone(&activity),
            self.stages.clone(),
            permit,
        ));
        let io = TokioIo::new(Observed::new(stream, Arc::clone(&activity)));
        let service = service_fn(move |request| exchange::answer(Arc::clone(&client), request));
        let connection = self.http.serve_connection(io, service).with_upgrades();
        let watch = Watch::new(activity, Arc::clone(&self.limits));
        tokio::spawn(drive(connection, watch, self.stages.clone()));
    }
}

type Connection<S> = http1::UpgradeableConnection<TokioIo<Observed<TcpStream>>, S>;

/// Carries a connection to its end: the client's, a deadline's, or the proxy's.
async fn drive<S>(mut connection: Connection<S>, watch: Watch, mut stages: watched::Receiver<Stage>)
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = body::AnswerBody, Error = std::convert::Infallible>,
{
    let mut watch = std::pin::pin!(watch);
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a client's connection ended early");
                }
                return;
            }
            expired = watch.as_mut() => {
                tracing::debug!(?expired, "a client's connection is given up");
                if expired == Expired::Head
                    && let Some(parts) = connection.into_parts()
                {
                    parts.io.into_inner().refuse_slow_head();
                }
                return;
            }
            changed = stages.changed() => match changed.map(|()| *stages.borrow_and_update()) {
                Ok(Stage::Serving) => {}
                Ok(Stage::Draining) => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                Ok(Stage::Closed) | Err(_) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests;
