//! One connection, from `Hello` to its end.

use std::pin::pin;
use std::time::Duration;

use outrigger_protocol::identity::IdentityError;
use outrigger_protocol::message::{AgentMessage, AgentSettings, ServerMessage};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{ClientConnection, CloseCode, Reader, TransportError, Writer};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Link, SessionEvent, renewal, text};
use crate::entropy;
use crate::identity::Identity;
use crate::last_good::Welcome;
use crate::state_dir::StateDir;

/// For the server's first message, and for a control message to be taken: beyond it the peer hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the server to close after it heard the goodbye. The program has ended and somebody waits for the agent to.
const FAREWELL: Duration = Duration::from_millis(5);
/// Between two batches of log lines. What a program prints meanwhile travels together: a batch for each line would be more
/// than the server takes, which then makes the lines wait.
const LOG_PAUSE: Duration = Duration::from_millis(10);
/// A peer that asks for heartbeats outside of these gets the nearest.
const HEARTBEATS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a sleep for a renewal may be: the wall clock may be set meanwhile.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum Parting {
    /// The agent said goodbye.
    Farewell,
    Drain,
    RetryAfter(Duration),
    Redirect(String),
    /// This identity may not come in, and what it was given is not its own any more.
    Refused(CloseCode),
    /// The certificate has run out; nothing is wrong with the agent.
    Expired,
    /// Anything else, in words.
    Broken {
        error: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ConversationError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the control plane did not {0} within {PATIENCE:?}")]
    Hung(&'static str),
    #[error("the control plane ended the control stream")]
    Ended,
    #[error("the control plane began with another message than a welcome")]
    NoWelcome,
    #[error("the control plane welcomed another agent than this one")]
    AnotherAgent,
    #[error("cannot sign a renewal request")]
    Renewal(#[source] IdentityError),
}

impl From<ConversationError> for Parting {
    fn from(error: ConversationError) -> Self {
        match error {
            ConversationError::Transport(error) => error.into(),
            error => Self::Broken { error: text(&error) },
        }
    }
}

impl From<TransportError> for Parting {
    fn from(error: TransportError) -> Self {
        match error.closed_by_peer() {
            Some(code @ (CloseCode::Unauthorized | CloseCode::Revoked)) => Self::Refused(code),
            Some(CloseCode::CertificateExpired) => Self::Expired,
            Some(CloseCode::Drain) => Self::Drain,
            _ => Self::Broken { error: text(&error) },
        }
    }
}

/// What a conversation may touch.
pub(super) struct Conversation<'a> {
    pub(super) connection: ClientConnection,
    pub(super) link: &'a Link,
    pub(super) events: &'a mpsc::Sender<SessionEvent>,
    pub(super) identity: &'a mut Identity,
    pub(super) state: &'a StateDir,
    pub(super) epoch: u64,
    /// When to ask for the next certificate; kept over connections, so that losing one does not hasten it.
    pub(super) renew_at: &'a mut UnixMillis,
}

impl Conversation<'_> {
    /// Talks until the end. `welcomed` is set once the server has taken this agent in.
    pub(super) async fn hold(mut self, welcomed: &mut bool) -> Parting {
        match self.talk(welcomed).await {
            Ok(parting) | Err(parting) => parting,
        }
    }

    async fn talk(&mut self, welcomed: &mut bool) -> Result<Parting, Parting> {
        self.link.begin();
        let (mut reader, mut writer) = self.connection.open_control().await?;
        let settings = self.greet(&mut reader, &mut writer).await?;
        *welcomed = true;
        let connection = self.connection.clone();
        let link = self.link.clone();
        // Lanes of their own: neither a storm of lines nor a slow disk over there delays a heartbeat or an offer.
        let mut metrics = pin!(send_metrics(&connection, &link));
        let mut logs = pin!(send_logs(&connection, &link));
        let mut interval = heartbeat(&settings);
        let mut quiet_since = Instant::now();
        loop {
            tokio::select! {
                received = reader.next() => {
                    let message = received?.ok_or(ConversationError::Ended)?;
                    if let ServerMessage::Heartbeat { .. } = message {
                        send(&mut writer, &AgentMessage::Heartbeat { now: link.clock().now() }).await?;
                        quiet_since = Instant::now();
                    } else if let ServerMessage::Settings(settings) = &message {
                        interval = heartbeat(settings);
                    }
                    if let ServerMessage::Renewed { chain } = &message {
                        self.renewed(chain.clone());
                    }
                    if let Some(parting) = self.hear(message).await {
                        return Ok(parting);
                    }
                }
                message = link.next_message() => {
                    send(&mut writer, &message).await?;
                    quiet_since = Instant::now();
                    if let AgentMessage::Goodbye { .. } = message {
                        writer.finish().await?;
                        let _ = timeout(FAREWELL, connection.closed()).await;
                        connection.close(CloseCode::Normal, "");
                        return Ok(Parting::Farewell);
                    }
                }
                error = &mut metrics => return Err(error.into()),
                error = &mut logs => return Err(error.into()),
                () = tokio::time::sleep_until(quiet_since + interval) => {
                    send(&mut writer, &AgentMessage::Heartbeat { now: link.clock().now() }).await?;
                    quiet_since = Instant::now();
                }
                () = sleep_towards(*self.renew_at) => {
                    let now = UnixMillis::now();
                    if now >= *self.renew_at {
                        let csr = self.identity.keys.signing.csr().map_err(ConversationError::Renewal)?;
                        send(&mut writer, &AgentMessage::Renew { csr }).await?;
                        *self.renew_at = renewal::due_again(self.identity.validity, now);
                    }
                }
            }
        }
    }

    /// `Hello`, and the server's welcome.
    async fn greet(
        &self,
        reader: &mut Reader<ServerMessage>,
        writer: &mut Writer<AgentMessage>,
    ) -> Result<AgentSettings, Parting> {
        let (status, program) = self.link.hello();
        let hello = AgentMessage::Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.epoch,
            now: self.link.clock().now(),
            seal_key: self.identity.keys.sealing.public(),
            status,
            program,
        };
        send(writer, &hello).await?;
        let first = timeout(PATIENCE, reader.next()).await.map_err(|_| ConversationError::Hung("answer"))?;
        let (agent, welcome) = match first?.ok_or(ConversationError::Ended)? {
            ServerMessage::Welcome { agent, instance, deployment, now, settings } => {
                (agent, Welcome { agent, instance, deployment, now, settings })
            }
            ServerMessage::RetryAfter { delay } => return Err(Parting::RetryAfter(delay)),
            ServerMessage::Redirect { address } => return Err(Parting::Redirect(address)),
            ServerMessage::Drain => return Err(Parting::Drain),
            _ => return Err(ConversationError::NoWelcome.into()),
        };
        if agent != self.identity.enrollment.agent {
            return Err(ConversationError::AnotherAgent.into());
        }
        let settings = welcome.settings.clone();
        if !settings.probes.is_empty() {
            self.link.restate_probes();
        }
        self.tell(SessionEvent::Connected(Box::new(welcome))).await;
        Ok(settings)
    }

    /// A renewed chain takes effect with the next connection; the present one goes on.
    fn renewed(&mut self, chain: Vec<Vec<u8>>) {
        match self.identity.renew(self.state, chain, UnixMillis::now()) {
            Ok(()) => {
                let Identity { validity, received, .. } = &*self.identity;
                *self.renew_at = renewal::due(*validity, *received, entropy::uniform());
                tracing::info!(not_after = %validity.not_after, next = %self.renew_at, "certificate renewed");
            }
            Err(error) => {
                tracing::warn!(%error, "the renewed certificate cannot be used; the present one is kept");
            }
        }
    }

    async fn hear(&self, message: ServerMessage) -> Option<Parting> {
        match message {
            ServerMessage::Offer(offer) => self.tell(SessionEvent::Offer(offer)).await,
            ServerMessage::Settings(settings) => self.tell(SessionEvent::Settings(settings)).await,
            ServerMessage::Stop { reason } => self.tell(SessionEvent::Stop { reason }).await,
            ServerMessage::MetricsAccepted { id } => self.link.metrics_accepted(id),
            ServerMessage::LogsAccepted { id } => self.link.logs_accepted(id),
            ServerMessage::Drain => return Some(Parting::Drain),
            ServerMessage::RetryAfter { delay } => return Some(Parting::RetryAfter(delay)),
            ServerMessage::Redirect { address } => return Some(Parting::Redirect(address)),
            // A second welcome means nothing; the others are dealt with where they came in.
            ServerMessage::Welcome { .. } | ServerMessage::Heartbeat { .. } | ServerMessage::Renewed { .. } => {}
        }
        None
    }

    async fn tell(&self, event: SessionEvent) {
        // The receiver lives as long as the session does.
        let _ = self.events.send(event).await;
    }
}

async fn send(writer: &mut Writer<AgentMessage>, message: &AgentMessage) -> Result<(), ConversationError> {
    timeout(PATIENCE, writer.send(message)).await.map_err(|_| ConversationError::Hung("take a message"))??;
    Ok(())
}

/// Opened with the first batch: a program that ends at once costs no stream.
async fn send_metrics(connection: &ClientConnection, link: &Link) -> TransportError {
    let lane = async {
        let mut batch = link.next_metrics().await;
        let mut writer = connection.open_metrics().await?;
        loop {
            writer.send(&batch).await?;
            batch = link.next_metrics().await;
        }
    };
    let result: Result<std::convert::Infallible, TransportError> = lane.await;
    match result {
        Err(error) => error,
    }
}

async fn send_logs(connection: &ClientConnection, link: &Link) -> TransportError {
    let lane = async {
        let mut batch = link.next_logs().await;
        let mut writer = connection.open_logs().await?;
        loop {
            writer.send(&batch).await?;
            tokio::time::sleep(LOG_PAUSE).await;
            batch = link.next_logs().await;
        }
    };
    let result: Result<std::convert::Infallible, TransportError> = lane.await;
    match result {
        Err(error) => error,
    }
}

fn heartbeat(settings: &AgentSettings) -> Duration {
    settings.heartbeat_interval.clamp(HEARTBEATS.0, HEARTBEATS.1)
}

async fn sleep_towards(moment: UnixMillis) {
    tokio::time::sleep(moment.since(UnixMillis::now()).min(RENEWAL_CHECK)).await;
}
