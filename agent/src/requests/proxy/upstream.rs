//! Connections to the program.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::body::RequestBody;
use super::watch::Activity;
use super::{BUFFER_BYTES, ProxyLimits};

/// Pauses between attempts while the program is being restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

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
    #[error("the request's body broke off")]
    BadRequestBody(#[source] hyper::Error),
}

/// The program's address and the connections to it that nobody uses.
#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    limits: Arc<ProxyLimits>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The least recently used first.
    idle: Vec<Idle>,
    /// Since when every attempt to connect was refused.
    refused_since: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection that one request uses. Dropped without [`give_back`](Self::give_back), it is closed.
#[derive(Debug)]
pub(super) struct Lease {
    sender: SendRequest<RequestBody>,
    upstream: Arc<Upstream>,
    /// It has carried a request before, and the program may be about to close it.
    reused: bool,
}

impl Lease {
    /// The answer has been read to its end: another request may use the connection.
    pub(super) fn give_back(self) {
        self.upstream.clone().keep(self.sender);
    }
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, limits: Arc<ProxyLimits>) -> Self {
        Self { address, limits, state: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &ProxyLimits {
        &self.limits
    }

    /// Sends a request and waits for the head of the answer. `activity` is the client's: while it still sends, the
    /// answer is not due.
    ///
    /// A request is sent again, once and on a fresh connection, when a reused one turns out to be closed and either
    /// nothing of the request was written, or it has no body and a method that may be repeated (RFC 9110, 9.2.2).
    pub(super) async fn send(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        activity: &Activity,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        let mut lease = self.lease().await?;
        let copy = (lease.reused && is_repeatable(&request)).then(|| copy_of(&request));
        let (error, unsent) = match self.exchange(&mut lease, request, activity).await {
            Ok(response) => return Ok((response, lease)),
            Err(failure) => failure,
        };
        let again = unsent.or(copy).filter(|_| lease.reused && matches!(error, UpstreamError::Closed(_)));
        let Some(request) = again else { return Err(error) };
        tracing::trace!("a kept connection was closed: the request goes out again");
        let mut lease = self.connect().await?;
        match self.exchange(&mut lease, request, activity).await {
            Ok(response) => Ok((response, lease)),
            Err((error, _unsent)) => Err(error),
        }
    }

    /// Returns the request when none of it was written.
    async fn exchange(
        &self,
        lease: &mut Lease,
        request: Request<RequestBody>,
        activity: &Activity,
    ) -> Result<Response<Incoming>, (UpstreamError, Option<Request<RequestBody>>)> {
        let mut answer = std::pin::pin!(lease.sender.try_send_request(request));
        let mut uploaded = activity.progress();
        loop {
            match timeout(self.limits.response_timeout, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut failed)) => {
                    let unsent = failed.take_message();
                    return Err((UpstreamError::of(failed.into_error()), unsent));
                }
                Err(_elapsed) if activity.progress() != uploaded => uploaded = activity.progress(),
                Err(_elapsed) => return Err((UpstreamError::ResponseTimeout, None)),
            }
        }
    }

    async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        match self.take_idle() {
            Some(sender) => Ok(Lease { sender, upstream: Arc::clone(self), reused: true }),
            None => self.connect().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used connection: the others may grow old and go.
    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
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

    fn keep(&self, sender: SendRequest<RequestBody>) {
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

    /// A fresh connection. While the program refuses, this waits for it to come back, but not longer than the restart
    /// window since the first refusal that anybody met.
    async fn connect(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let mut pause = FIRST_PAUSE;
        let stream = loop {
            match timeout(self.limits.connect_timeout, TcpStream::connect(self.address)).await {
                Ok(Ok(stream)) => break stream,
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let since = *self.state().refused_since.get_or_insert_with(Instant::now);
                    if since.elapsed() + pause > self.limits.restart_window {
                        return Err(UpstreamError::Refused);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Ok(Err(error)) => return Err(UpstreamError::Connect(error)),
                Err(_elapsed) => return Err(UpstreamError::ConnectTimeout),
            }
        };
        self.state().refused_since = None;
        stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::of)?;
        // Ends with the lease, or when the program closes.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the program ended early");
            }
        });
        Ok(Lease { sender, upstream: Arc::clone(self), reused: false })
    }
}

impl UpstreamError {
    fn of(error: hyper::Error) -> Self {
        let aborted = error.source().and_then(|source| source.downcast_ref::<io::Error>()).is_some();
        if error.is_canceled() || error.is_closed() || error.is_incomplete_message() || aborted {
            Self::Closed(error)
        } else if error.is_user() {
            Self::BadRequestBody(error)
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
    *copy.headers_mut() = request.headers().clone();
    copy
}
