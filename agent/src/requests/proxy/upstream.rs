//! Connections to the program.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::absence::Absence;
use super::body::{RequestBody, Upload, UploadState};
use super::{BUFFER_BYTES, CONNECTION_WINDOW, Protocol, ProxyLimits, ProxyRoute, STREAM_WINDOW};

/// Pauses between attempts while the program is being restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// What the program may say in a head in HTTP/2. In HTTP/1.1, hyper's buffer is the limit.
const MAX_ANSWER_HEAD: u32 = 64 * 1024;

/// Why the program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error("the program refuses connections")]
    Refused,
    #[error("the program cannot be reached")]
    Connect(#[source] io::Error),
    #[error("the program does not accept a connection")]
    ConnectTimeout,
    #[error("the program closed the connection before it answered")]
    Closed(#[source] hyper::Error),
    #[error("the program's answer is not HTTP")]
    BadAnswer(#[source] hyper::Error),
    #[error("the program switched protocols unasked")]
    UnaskedUpgrade,
    #[error("the program does not answer")]
    ResponseTimeout,
    #[error("the request's body does not arrive")]
    RequestStalled,
    #[error("the request's body is malformed or broke off")]
    RequestBroken,
    #[error("the request's body is larger than the limit")]
    RequestTooLarge,
}

/// The program's address and the connections to it.
#[derive(Debug)]
pub(super) struct Upstream {
    route: ProxyRoute,
    limits: Arc<ProxyLimits>,
    state: Mutex<State>,
    /// Held while the one connection of HTTP/2 is made: who comes meanwhile waits for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections of HTTP/1.1 that nobody uses, the least recently used first.
    idle: Vec<Idle>,
    /// The connection of HTTP/2 that everybody uses.
    shared: Option<http2::SendRequest<RequestBody>>,
    absence: Absence,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// A connection that a request uses: of HTTP/1.1 alone, closed when it is dropped without
/// [`give_back`](Self::give_back).
#[derive(Debug)]
pub(super) struct Lease {
    sender: Sender,
    upstream: Arc<Upstream>,
    /// It has carried a request before, and the program may be about to close it.
    reused: bool,
}

impl Lease {
    /// The answer has been read to its end: another request may use the connection.
    pub(super) fn give_back(self) {
        if let Sender::Http1(sender) = self.sender {
            self.upstream.keep(sender);
        }
    }
}

/// An error, and the request when none of it was written.
type Unsent = (UpstreamError, Option<Request<RequestBody>>);

impl Upstream {
    pub(super) fn new(route: ProxyRoute, limits: Arc<ProxyLimits>) -> Self {
        Self { route, limits, state: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(super) fn limits(&self) -> &ProxyLimits {
        &self.limits
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.route.protocol
    }

    /// Whether a client of that address may speak for others.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.limits.trusted.iter().any(|network| network.contains(address))
    }

    /// Sends a request and waits for the head of the answer. While its body flows, the answer is not due.
    ///
    /// A request is sent again, once and on a fresh connection, when a reused one turns out to be closed and either
    /// nothing of the request was written, or it has no body and a method that may be repeated (RFC 9110, 9.2.2).
    pub(super) async fn send(
        self: &Arc<Self>,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        let mut lease = self.lease().await?;
        let copy = (lease.reused && is_repeatable(&request)).then(|| copy_of(&request));
        let (error, unsent) = match self.exchange(&mut lease, request).await {
            Ok(response) => return Ok((response, lease)),
            Err(failure) => failure,
        };
        let again = unsent.or(copy).filter(|_| lease.reused && matches!(error, UpstreamError::Closed(_)));
        let Some(request) = again else { return Err(error) };
        tracing::trace!("a kept connection was closed: the request goes out again");
        let mut lease = self.reconnect().await?;
        match self.exchange(&mut lease, request).await {
            Ok(response) => Ok((response, lease)),
            Err((error, _unsent)) => Err(error),
        }
    }

    async fn exchange(&self, lease: &mut Lease, request: Request<RequestBody>) -> Result<Response<Incoming>, Unsent> {
        let upload = request.body().upload();
        let mut answer = std::pin::pin!(lease.sender.send(request));
        let mut uploaded = 0;
        loop {
            match timeout(self.limits.response_timeout, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut failed)) => {
                    let unsent = failed.take_message();
                    return Err((UpstreamError::of(failed.into_error(), upload.as_deref()), unsent));
                }
                Err(_elapsed) => match &upload {
                    Some(upload) if upload.progress() != uploaded => uploaded = upload.progress(),
                    Some(upload) if upload.state() == UploadState::Awaited => {
                        return Err((UpstreamError::RequestStalled, None));
                    }
                    _ => return Err((UpstreamError::ResponseTimeout, None)),
                },
            }
        }
    }

    async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        match self.route.protocol {
            Protocol::Http1 => match self.take_idle() {
                Some(sender) => Ok(self.leased(Sender::Http1(sender), true)),
                None => self.connect().await,
            },
            Protocol::Http2 => self.share().await,
        }
    }

    /// After a connection turned out to be closed.
    async fn reconnect(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        match self.route.protocol {
            Protocol::Http1 => self.connect().await,
            Protocol::Http2 => self.share().await,
        }
    }

    fn leased(self: &Arc<Self>, sender: Sender, reused: bool) -> Lease {
        Lease { sender, upstream: Arc::clone(self), reused }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used connection: the others may grow old and go.
    fn take_idle(&self) -> Option<http1::SendRequest<RequestBody>> {
        let mut state = self.state();
        loop {
            let Idle { sender, since } = state.idle.pop()?;
            if since.elapsed() > self.limits.upstream_idle {
                // All others are older.
                state.idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
    }

    fn keep(&self, sender: http1::SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let mut state = self.state();
        let expired = state.idle.iter().take_while(|idle| idle.since.elapsed() > self.limits.upstream_idle).count();
        let surplus = (state.idle.len() + 1).saturating_sub(self.limits.upstream_idle_connections);
        let gone = expired.max(surplus).min(state.idle.len());
        state.idle.drain(..gone);
        if state.idle.len() < self.limits.upstream_idle_connections {
            state.idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// A fresh connection of HTTP/1.1.
    async fn connect(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let stream = self.dial().await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| UpstreamError::of(error, None))?;
        // Ends with the lease, or when the program closes.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the program ended early");
            }
        });
        Ok(self.leased(Sender::Http1(sender), false))
    }

    /// The one connection of HTTP/2, made anew when it is gone.
    async fn share(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        if let Some(sender) = self.shared() {
            return Ok(self.leased(Sender::Http2(sender), true));
        }
        let _alone = self.connecting.lock().await;
        // Whoever was before has made it.
        if let Some(sender) = self.shared() {
            return Ok(self.leased(Sender::Http2(sender), true));
        }
        let stream = self.dial().await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFER_BYTES)
            .max_header_list_size(MAX_ANSWER_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| UpstreamError::of(error, None))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the program ended early");
            }
        });
        self.state().shared = Some(sender.clone());
        Ok(self.leased(Sender::Http2(sender), false))
    }

    fn shared(&self) -> Option<http2::SendRequest<RequestBody>> {
        self.state().shared.as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    /// While the program refuses, this waits for it to come back, as long as that is bearable.
    async fn dial(&self) -> Result<TcpStream, UpstreamError> {
        let mut pause = FIRST_PAUSE;
        let stream = loop {
            match timeout(self.limits.connect_timeout, TcpStream::connect(self.route.upstream)).await {
                Ok(Ok(stream)) => break stream,
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let window = self.limits.restart_window;
                    let is_bearable = self.state().absence.is_bearable(Instant::now(), pause, window);
                    if !is_bearable {
                        return Err(UpstreamError::Refused);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Ok(Err(error)) => return Err(UpstreamError::Connect(error)),
                Err(_elapsed) => return Err(UpstreamError::ConnectTimeout),
            }
        };
        self.state().absence.end();
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        Ok(stream)
    }
}

impl Sender {
    async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

impl UpstreamError {
    /// What an error means, with the state of the request's body.
    fn of(error: hyper::Error, upload: Option<&Upload>) -> Self {
        match upload.map(Upload::state) {
            Some(UploadState::TooLarge) => return Self::RequestTooLarge,
            Some(UploadState::Broken) => return Self::RequestBroken,
            _ => {}
        }
        let aborted = error.source().and_then(|source| source.downcast_ref::<io::Error>()).is_some();
        if error.is_canceled() || error.is_closed() || error.is_incomplete_message() || aborted {
            Self::Closed(error)
        } else {
            Self::BadAnswer(error)
        }
    }
}

/// Nothing to send twice but the head, and carrying it out twice does what carrying it out once does.
fn is_repeatable(request: &Request<RequestBody>) -> bool {
    const IDEMPOTENT: [Method; 6] =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::TRACE];
    request.body().is_end_stream() && IDEMPOTENT.contains(request.method())
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
