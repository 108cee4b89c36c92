//! A client's connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch as watched};

use super::super::RequestMeter;
use super::activity::Activity;
use super::body::AnswerBody;
use super::exchange::{self, Client};
use super::limits::MIN_HEAD_BYTES;
use super::refusal::{Kind, Refusal};
use super::stream::{ClientStream, Version};
use super::upstream::Upstream;
use super::watch::{Expired, Watch};
use super::{BUFFER_BYTES, CONNECTION_WINDOW, ProxyLimits, STREAM_WINDOW, Stage};

const SLOW_HEAD: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, Kind::RequestError, "the request's head does not arrive");
/// Streams that a client of HTTP/2 resets before they were looked at, and that we reset because they are malformed: beyond
/// it, the connection ends.
const MAX_RESET_STREAMS: usize = 20;
const MAX_MALFORMED_STREAMS: usize = 64;
/// Whether a client of HTTP/2 is still there: it may be silent for hours and be right.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What every connection needs.
pub(super) struct Serving {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    upstream: Arc<Upstream>,
    meter: RequestMeter,
    limits: Arc<ProxyLimits>,
    stages: watched::Receiver<Stage>,
}

impl Serving {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        meter: RequestMeter,
        limits: Arc<ProxyLimits>,
        stages: watched::Receiver<Stage>,
    ) -> Self {
        let head_bytes = limits.head_bytes.max(MIN_HEAD_BYTES);
        let mut http1 = http1::Builder::new();
        // Deadlines are kept by `watch`: hyper's own cannot tell a slow head from an idle connection.
        http1.max_buf_size(head_bytes.max(BUFFER_BYTES)).max_header_size(head_bytes).header_read_timeout(None);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFER_BYTES)
            // With it, h2 bounds the frames of a head as well ("continuation flood", CVE-2024-27316).
            .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_MALFORMED_STREAMS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2, upstream, meter, limits, stages }
    }

    pub(super) fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
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
        let head_bytes = self.limits.head_bytes.max(MIN_HEAD_BYTES);
        let stream = ClientStream::new(stream, Arc::clone(&activity), head_bytes);
        let watch = Watch::new(Arc::clone(&activity), Arc::clone(&self.limits));
        let (http1, http2) = (self.http1.clone(), self.http2.clone());
        tokio::spawn(async move {
            let mut watch = std::pin::pin!(watch);
            match greeted(stream, watch.as_mut(), &client).await {
                Some((stream, Version::Http1)) => {
                    let service = service_fn(|request| exchange::answer(Arc::clone(&client), request));
                    let connection = http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
                    drive(connection, watch, &client).await;
                }
                Some((stream, Version::Http2)) => {
                    let service = service_fn(|request| exchange::answer(Arc::clone(&client), request));
                    // Large, and seldom there.
                    let connection = Box::pin(http2.serve_connection(TokioIo::new(stream), service));
                    drive(connection, watch, &client).await;
                }
                None => {}
            }
            if client.activity().is_refused() {
                client.meter().refuse();
            }
        });
    }
}

/// Waits for the first bytes, which say what the connection speaks.
async fn greeted(mut stream: ClientStream, watch: Pin<&mut Watch>, client: &Client) -> Option<(ClientStream, Version)> {
    let mut stages = client.stages();
    let expired = tokio::select! {
        biased;
        version = stream.version() => return version.ok().flatten().map(|version| (stream, version)),
        expired = watch => expired,
        _draining = stages.wait_for(|stage| *stage != Stage::Serving) => return None,
    };
    if expired == Expired::Head {
        client.activity().refuse(SLOW_HEAD);
        if let Err(error) = stream.shutdown().await {
            tracing::debug!(%error, "a slow client could not be told");
        }
    }
    None
}

/// A connection that can be asked to end after the requests at hand.
trait Drain: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

impl<S> Drain for http1::UpgradeableConnection<TokioIo<ClientStream>, S>
where
    S: HttpService<Incoming, ResBody = AnswerBody, Error = Infallible>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Drain for Pin<Box<http2::Connection<TokioIo<ClientStream>, S, TokioExecutor>>>
where
    S: HttpService<Incoming, ResBody = AnswerBody, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn drain(self: Pin<&mut Self>) {
        self.get_mut().as_mut().graceful_shutdown();
    }
}

/// Carries a connection to its end: the client's, a deadline's, or the proxy's.
async fn drive(connection: impl Drain, mut watch: Pin<&mut Watch>, client: &Client) {
    let mut stages = client.stages();
    let mut connection = std::pin::pin!(connection);
    // It may have changed before this looked.
    if *stages.borrow_and_update() != Stage::Serving {
        connection.as_mut().drain();
    }
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
                // The second time, not even telling it went through.
                if expired != Expired::Head || client.activity().is_refused() {
                    return;
                }
                client.activity().refuse(SLOW_HEAD);
                connection.as_mut().drain();
            }
            changed = stages.changed() => match changed.map(|()| *stages.borrow_and_update()) {
                Ok(Stage::Serving) => {}
                Ok(Stage::Draining) => connection.as_mut().drain(),
                Ok(Stage::Closed) | Err(_) => return,
            },
        }
    }
}
