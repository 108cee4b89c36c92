//! The handle: routes, sessions, end.

use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_secrets::SecretString;
use serde::Deserialize;
use serde_json::Value;
use socketioxide::extract::{Event, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{ParserConfig, SocketIo};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::LiveConfig;
use crate::door::{Door, NoSeat, Visitor};
use crate::hub::{Hubs, SessionId};
use crate::request::Topic;
use crate::session::{BUFFER, Mailbox, Request as Asked, Session, Shared};
use crate::source::Source;
use crate::stats::{Counters, LiveStats};

const PATH: &str = "/socket.io/";
/// What clients send: some ids and words.
const INCOMING_BYTES: usize = 16 * 1024;
/// Packets of one answer to a poll, unless the first of them alone is longer.
const POLL_BYTES: u64 = 256 * 1024;
/// Beyond the time that an answer to a poll may take by itself.
const SLACK: Duration = Duration::from_secs(15);
/// How long closing may take, which is waiting for those who do not read.
const CLOSE: Duration = Duration::from_secs(1);

/// The live streams. Clones are the same.
#[derive(Clone)]
pub struct Live {
    entrance: Arc<Entrance>,
    io: SocketIo,
    router: Router,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("entrance", &self.entrance).finish_non_exhaustive()
    }
}

impl Live {
    /// Needs a tokio runtime.
    #[must_use]
    pub fn new(config: LiveConfig, catalog: Catalog, source: Arc<dyn Source>) -> Self {
        // Nobody has anything to send but text.
        let parser = ParserConfig::common().max_incoming_binaries(0).max_incoming_binary_buf_size(0);
        let (service, io) = SocketIo::builder()
            .ping_interval(config.ping_interval)
            .ping_timeout(config.ping_timeout)
            .connect_timeout(config.sign_in)
            .upgrade_timeout(config.sign_in)
            .max_buffer_size(BUFFER)
            .max_payload(POLL_BYTES)
            .ws_max_message_size(INCOMING_BYTES)
            .ws_max_frame_size(INCOMING_BYTES)
            .with_parser(parser)
            .build_svc();
        let closing = CancellationToken::new();
        let shared =
            Arc::new(Shared { catalog, hubs: Hubs::new(source), config, closing, counters: Counters::default() });
        let entrance = Arc::new(Entrance { shared, door: Door::new(&config), sessions: AtomicU64::default() });
        let sign_in = {
            let entrance = Arc::clone(&entrance);
            move |socket: SocketRef, TryData(credentials): TryData<Credentials>| {
                entrance.clone().sign_in(socket, credentials.ok())
            }
        };
        // Called when the client has been told that it is connected, before which nothing can be sent to it.
        let begin = |socket: SocketRef| {
            if let Some(session) = socket.extensions.remove::<Seed>().and_then(|seed| seed.take()) {
                tokio::spawn(session.run(socket));
            }
            ready(())
        };
        io.ns("/", begin.with(sign_in));
        let router = Router::new()
            .route_service(PATH, service)
            .layer(from_fn_with_state(Arc::clone(&entrance), Entrance::guard));
        Self { entrance, io, router }
    }

    /// Serves [`PATH`], by polling and by WebSocket.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    #[must_use]
    pub fn stats(&self) -> LiveStats {
        let shared = &self.entrance.shared;
        shared.counters.read(shared.hubs.len())
    }

    /// Lets nobody in any more, and closes all connections. Clients see that the transport was closed, and come back by
    /// themselves.
    pub async fn close(&self) {
        self.entrance.shared.closing.cancel();
        if timeout(CLOSE, self.io.close()).await.is_err() {
            tracing::debug!("some live connections did not close in time");
        }
    }
}

/// Where connections come in.
#[derive(Debug)]
struct Entrance {
    shared: Arc<Shared>,
    door: Arc<Door>,
    /// How many there were, for their numbers.
    sessions: AtomicU64,
}

/// What a client sends when it connects.
#[derive(Deserialize)]
struct Credentials {
    token: SecretString,
}

/// Why a client is not let in, as `connect_error` tells it.
#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("Authentication failed")]
    Unauthenticated,
    #[error(transparent)]
    NoSeat(NoSeat),
    #[error("Unavailable: try again a little later")]
    Unavailable,
}

/// A session that begins as soon as its client is connected.
#[derive(Clone)]
struct Seed(Arc<Mutex<Option<Session>>>);

impl Seed {
    fn take(self) -> Option<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Entrance {
    /// What every request passes: new connections take a place, and nothing takes for ever.
    async fn guard(State(entrance): State<Arc<Self>>, mut request: Request, next: Next) -> Response {
        let query = request.uri().query().unwrap_or_default();
        let is_new = !query.split('&').any(|pair| pair.starts_with("sid="));
        if is_new {
            let Some(visitor) = entrance.enter() else { return busy() };
            request.extensions_mut().insert(visitor);
        }
        let config = &entrance.shared.config;
        // A poll is answered by the next ping at the latest; a WebSocket at once.
        let longest = config.ping_interval + config.ping_timeout + SLACK;
        let mut response = match timeout(longest, next.run(request)).await {
            Ok(response) => response,
            Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn enter(&self) -> Option<Visitor> {
        if self.shared.closing.is_cancelled() { None } else { self.door.enter() }
    }

    /// Finds out who it is, and has everything ready for what the client may say first.
    async fn sign_in(self: Arc<Self>, socket: SocketRef, credentials: Option<Credentials>) -> Result<(), Denied> {
        let Some(Credentials { token }) = credentials else { return Err(Denied::Unauthenticated) };
        let actor = match self.shared.catalog.authenticate(token.expose()).await {
            Ok(actor) => actor,
            Err(CatalogError::Unauthenticated(_)) => return Err(Denied::Unauthenticated),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a live connection could not be checked");
                return Err(Denied::Unavailable);
            }
        };
        let visitor = socket.req_parts().extensions.get::<Visitor>().ok_or(Denied::Unavailable)?;
        self.door.seat(visitor, &actor).map_err(Denied::NoSeat)?;
        let gone = CancellationToken::new();
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (session, mailbox) = Session::new(id, Arc::clone(&self.shared), actor, token, gone.clone());
        listen(&socket, &mailbox);
        socket.on_disconnect(move || {
            gone.cancel();
            ready(())
        });
        socket.extensions.insert(Seed(Arc::new(Mutex::new(Some(session)))));
        Ok(())
    }
}

/// Has what a client says put into its session's mailbox. The handlers do so before they return their future, because
/// those of one socket run in no order.
fn listen(socket: &SocketRef, mailbox: &Mailbox) {
    for topic in Topic::ALL {
        for (event, request) in [
            (topic.subscribe(), Asked::Subscribe as fn(Topic, Value) -> Asked),
            (topic.unsubscribe(), Asked::Unsubscribe),
        ] {
            let mailbox = mailbox.clone();
            socket.on(event, move |TryData(asked): TryData<Value>| {
                mailbox.put(request(topic, asked.unwrap_or_default()));
                ready(())
            });
        }
    }
    let mailbox = mailbox.clone();
    socket.on_fallback(move |Event(event): Event| {
        mailbox.put(Asked::Unknown(event));
        ready(())
    });
}

fn busy() -> Response {
    let again = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, again, "too many connections, or shutting down: try again a little later\n")
        .into_response()
}
