//! The agent's connection to its control plane: made, kept, and made again.
//!
//! [`Session::run`] connects with full jitter, holds one conversation at a time, and tells the agent what it hears as
//! [`SessionEvent`]s; what is to be said and sent lies in the shared [`Link`]. Nothing here knows the program.
//!
//! What must never be true: a herd (every pause is drawn at random, and what the control plane asks for is honoured); a
//! message of a server that TLS has not verified; a conversation that hangs for ever.

mod conversation;
mod link;
mod reconnect;
mod renewal;

use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use outrigger_protocol::message::{AgentSettings, ConfigOffer};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{ClientConnection, ClientEndpoint, CloseCode, TransportError};
use tokio::sync::mpsc;

use conversation::{Conversation, Parting};
pub use link::{Connection, Link, SpoolFigures};
pub use reconnect::Reconnect;

use crate::control_plane::{ControlPlane, ControlPlaneError, resolve};
use crate::entropy;
use crate::identity::Identity;
use crate::last_good::Welcome;
use crate::probe;
use crate::state_dir::StateDir;

/// Events that wait for the agent's loop, which takes them at once.
const EVENTS: usize = 16;

/// What the session has to tell.
#[derive(Debug)]
pub enum SessionEvent {
    Connected(Box<Welcome>),
    Offer(Box<ConfigOffer>),
    Settings(AgentSettings),
    /// The control plane wants the program stopped and the agent gone.
    Stop {
        reason: String,
    },
    /// An attempt failed, or a conversation ended; the next attempt follows.
    Disconnected {
        error: String,
    },
    /// The control plane does not accept this identity, and will not.
    Refused {
        error: String,
    },
}

/// Connects, and connects again, until the agent says goodbye.
#[derive(Debug)]
pub struct Session {
    control_plane: ControlPlane,
    identity: Identity,
    state: Rc<StateDir>,
    link: Link,
    events: mpsc::Sender<SessionEvent>,
    /// Drawn once per process: the server counts batches by it.
    epoch: u64,
    renew_at: UnixMillis,
    reconnect: Reconnect,
    attempts: usize,
    redirect: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Address(#[from] ControlPlaneError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("nothing listens at {address} (UDP)")]
    Refused {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

impl Session {
    /// The session and what it will tell.
    #[must_use]
    pub fn new(
        control_plane: ControlPlane,
        identity: Identity,
        state: Rc<StateDir>,
        link: Link,
        epoch: u64,
    ) -> (Self, mpsc::Receiver<SessionEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let session = Self {
            renew_at: renewal::due(identity.validity, identity.received, entropy::uniform()),
            control_plane,
            identity,
            state,
            link,
            events,
            epoch,
            reconnect: Reconnect::default(),
            attempts: 0,
            redirect: None,
        };
        (session, receiver)
    }

    /// Ends after [`Link::goodbye`].
    pub async fn run(mut self) {
        let link = self.link.clone();
        loop {
            let parting = tokio::select! {
                biased;
                parting = self.attempt() => parting,
                () = leave_unheard(&link) => return,
            };
            let pause = match parting {
                Parting::Farewell => return,
                parting => self.part(parting).await,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = link.leaving() => return,
            }
        }
    }

    async fn attempt(&mut self) -> Parting {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(ConnectError::Transport(error)) => return error.into(),
            Err(error) => return Parting::Broken { error: text(&error) },
        };
        self.link.set_connection(Connection::Connected { to: connection.remote_address().to_string() });
        let mut welcomed = false;
        let conversation = Conversation {
            connection: connection.clone(),
            link: &self.link,
            events: &self.events,
            identity: &mut self.identity,
            state: &self.state,
            epoch: self.epoch,
            renew_at: &mut self.renew_at,
        };
        let parting = conversation.hold(&mut welcomed).await;
        connection.close(CloseCode::Normal, "");
        if welcomed {
            self.reconnect.succeeded();
        }
        parting
    }

    async fn connect(&mut self) -> Result<ClientConnection, ConnectError> {
        let attempt = self.attempts;
        self.attempts = self.attempts.wrapping_add(1);
        // A redirect is followed once: when it leads nowhere, the configured address knows better.
        let redirect = self.redirect.take();
        let target = redirect.as_deref().unwrap_or(&self.control_plane.address);
        let address = resolve(target, attempt).await?;
        let endpoint = ClientEndpoint::towards(address)?;
        let trust = self.control_plane.trust(self.identity.ca());
        let identity = self.identity.to_tls();
        tokio::select! {
            connected = endpoint.connect(address, &self.control_plane.server_name, &trust, &identity) => Ok(connected?),
            source = probe::refused(address) => Err(ConnectError::Refused { address, source }),
        }
    }

    /// Tells the agent how it ended, and says how long to wait.
    async fn part(&mut self, parting: Parting) -> Duration {
        let random = entropy::uniform();
        let (event, pause) = match parting {
            Parting::Farewell => return Duration::ZERO,
            Parting::Drain => (disconnected("the control plane goes down for a while"), reconnect::after_drain(random)),
            Parting::RetryAfter(delay) => {
                (disconnected("the control plane asks to come back later"), reconnect::after_request(delay, random))
            }
            Parting::Redirect(address) => {
                let event = disconnected(&format!("sent on to {address}"));
                self.redirect = Some(address);
                (event, Duration::ZERO)
            }
            Parting::Refused(code) => {
                let error = format!("the control plane refuses this agent's identity ({code})");
                (SessionEvent::Refused { error }, self.reconnect.after_refusal(random))
            }
            Parting::Expired => (
                disconnected("this agent's certificate has expired: it can come back with a new join token"),
                self.reconnect.after_refusal(random),
            ),
            Parting::Broken { error } => (SessionEvent::Disconnected { error }, self.reconnect.next(random)),
        };
        let (SessionEvent::Disconnected { error } | SessionEvent::Refused { error }) = &event else { return pause };
        tracing::info!(%error, ?pause, "not connected");
        self.link.set_connection(Connection::Connecting { last_error: Some(error.clone()) });
        // The receiver lives as long as the session does.
        let _ = self.events.send(event).await;
        pause
    }
}

fn disconnected(error: &str) -> SessionEvent {
    SessionEvent::Disconnected { error: error.to_owned() }
}

/// Completes when the agent leaves while nothing is connected. During a conversation the goodbye is a message of it, and
/// whoever waits for its end decides how long.
async fn leave_unheard(link: &Link) {
    link.leaving().await;
    if link.is_connected() {
        std::future::pending::<()>().await;
    }
}

/// An error and its causes in one line.
#[must_use]
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
