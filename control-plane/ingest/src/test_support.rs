//! A client that speaks the wire as an agent does and has no program, no sampler and no disk.
//!
//! Lean on purpose: an agent is a key, a certificate and a connection, all agents of a [`Fleet`] share a few UDP
//! sockets, and [`TestSession::run`] needs one task per agent. Thousands fit into one process.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_protocol::environment::Environment;
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId};
use outrigger_protocol::identity::{AgentKey, IdentityError};
use outrigger_protocol::join_token::{JoinToken, ParseJoinTokenError};
use outrigger_protocol::log::{LogBatch, LogRecord};
use outrigger_protocol::message::{
    AgentMessage, AgentSettings, ApplyState, ConfigFailure, ConfigOffer, ConfigRef, ConfigStatus, EnrollRefusal,
    EnrollRequest, EnrollResponse, ProgramState, ServerMessage,
};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::seal::{SealContext, SealError, SealKeyPair};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{
    ClientConnection, ClientEndpoint, ClientIdentity, CloseCode, Reader, TransportError, Trust, Writer,
};
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const VERSION: &str = concat!("test-agent ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, thiserror::Error)]
pub enum TestAgentError {
    #[error("not a join token")]
    Token(#[from] ParseJoinTokenError),
    #[error("cannot make a key")]
    Key(#[from] IdentityError),
    #[error("cannot seal or unseal")]
    Seal(#[from] SealError),
    #[error("enrolment refused: {reason:?}: {message}")]
    Refused { reason: EnrollRefusal, message: String },
    #[error("transport")]
    Transport(#[from] TransportError),
    #[error("the server closed the control stream")]
    Ended,
    #[error("expected {expected}, got {got}")]
    Unexpected { expected: &'static str, got: String },
    #[error("what was unsealed is not an environment")]
    Environment(#[from] outrigger_protocol::codec::CodecError),
}

impl TestAgentError {
    /// With which code the server closed the connection, if it did.
    #[must_use]
    pub fn closed_by_server(&self) -> Option<CloseCode> {
        match self {
            Self::Transport(error) => error.closed_by_peer(),
            _ => None,
        }
    }

    fn unexpected(expected: &'static str, got: &impl std::fmt::Debug) -> Self {
        Self::Unexpected { expected, got: format!("{got:?}") }
    }
}

/// Agents that know one control plane, on shared sockets.
#[derive(Debug)]
pub struct Fleet {
    endpoints: Vec<ClientEndpoint>,
    next: AtomicUsize,
    server: SocketAddr,
    server_name: String,
}

impl Fleet {
    /// Agents are dealt out to the sockets in turn. A socket's receive buffer holds some 200 packets by default: with more
    /// than 50 agents on one, a push to all of them overflows it, and what is measured is QUIC's recovery from loss.
    ///
    /// # Errors
    /// No socket can be bound.
    pub fn new(server: SocketAddr, server_name: &str, sockets: usize) -> Result<Self, TestAgentError> {
        let endpoints = (0..sockets.max(1)).map(|_| ClientEndpoint::towards(server)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { endpoints, next: AtomicUsize::new(0), server, server_name: server_name.to_owned() })
    }

    fn endpoint(&self) -> &ClientEndpoint {
        &self.endpoints[self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len()]
    }

    /// Enrols a new agent with the text of a join token.
    ///
    /// # Errors
    /// [`TestAgentError::Refused`] when the server says no.
    pub async fn enroll(&self, token: &str) -> Result<TestAgent, TestAgentError> {
        self.enroll_with(token, AgentKey::generate()?).await
    }

    /// As [`enroll`](Self::enroll), with a key that may have enrolled before.
    ///
    /// # Errors
    /// [`TestAgentError::Refused`] when the server says no.
    pub async fn enroll_with(&self, token: &str, key: AgentKey) -> Result<TestAgent, TestAgentError> {
        let token: JoinToken = token.parse()?;
        let seal = SealKeyPair::generate()?;
        let trust = Trust::Fingerprint(token.ca_fingerprint);
        let request = EnrollRequest {
            token: token.id,
            secret: token.secret,
            csr: key.csr()?,
            seal_key: seal.public(),
            agent_version: VERSION.to_owned(),
        };
        match self.endpoint().enroll(self.server, &self.server_name, &trust, request).await? {
            EnrollResponse::Issued { agent, instance, deployment, chain, .. } => {
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                let identity = ClientIdentity { chain, key: key.to_tls() };
                Ok(TestAgent { agent, instance, deployment, key, identity, seal, trust, epoch: 1 })
            }
            EnrollResponse::Refused { reason, message } => Err(TestAgentError::Refused { reason, message }),
        }
    }

    /// Connects and shows the certificate, without saying hello.
    ///
    /// # Errors
    /// The server cannot be reached, or refused the certificate at once.
    pub async fn dial(&self, agent: &TestAgent) -> Result<ClientConnection, TestAgentError> {
        Ok(self.endpoint().connect(self.server, &self.server_name, &agent.trust, &agent.identity).await?)
    }

    /// Connects, says hello with `status` and waits for the welcome.
    ///
    /// # Errors
    /// The server turned the agent away: see [`TestAgentError::closed_by_server`].
    pub async fn connect(&self, agent: &TestAgent, status: ConfigStatus) -> Result<TestSession, TestAgentError> {
        self.connect_by(agent, status, UnixMillis::now).await
    }

    /// As [`connect`](Self::connect), for an agent that goes by another clock.
    ///
    /// # Errors
    /// The server turned the agent away: see [`TestAgentError::closed_by_server`].
    pub async fn connect_by(
        &self,
        agent: &TestAgent,
        status: ConfigStatus,
        clock: impl Fn() -> UnixMillis,
    ) -> Result<TestSession, TestAgentError> {
        let connection = self.dial(agent).await?;
        let (mut reader, mut writer) = connection.open_control().await?;
        let program = ProgramState::Waiting;
        let hello = AgentMessage::Hello {
            agent_version: VERSION.to_owned(),
            epoch: agent.epoch,
            now: clock(),
            seal_key: agent.seal.public(),
            status: status.clone(),
            program,
        };
        // When the server has closed already, reading says why and writing may not.
        let sent = writer.send(&hello).await;
        let welcome = reader.next().await?.ok_or(TestAgentError::Ended)?;
        sent?;
        let ServerMessage::Welcome { settings, .. } = welcome else {
            return Err(TestAgentError::unexpected("a welcome", &welcome));
        };
        Ok(TestSession {
            connection,
            reader,
            writer,
            metrics: None,
            logs: None,
            seal: agent.seal.clone(),
            agent: agent.agent,
            deployment: agent.deployment,
            settings,
            status,
            epoch: agent.epoch,
            next_batch: 1,
            next_logs: 1,
        })
    }

    /// Closes every connection of the fleet without a word.
    pub async fn close(&self) {
        for endpoint in &self.endpoints {
            endpoint.close(CloseCode::Normal, "");
            endpoint.wait_idle().await;
        }
    }
}

/// An enrolled agent, connected or not.
#[derive(Debug)]
pub struct TestAgent {
    pub agent: AgentId,
    pub instance: InstanceId,
    pub deployment: DeploymentId,
    pub key: AgentKey,
    pub identity: ClientIdentity,
    pub seal: SealKeyPair,
    pub trust: Trust,
    /// The epoch of the process that this agent plays.
    pub epoch: u64,
}

/// A connected agent.
#[derive(Debug)]
pub struct TestSession {
    connection: ClientConnection,
    reader: Reader<ServerMessage>,
    writer: Writer<AgentMessage>,
    metrics: Option<Writer<MetricBatch>>,
    logs: Option<Writer<LogBatch>>,
    seal: SealKeyPair,
    agent: AgentId,
    deployment: DeploymentId,
    /// As the welcome, or a later message, said.
    pub settings: AgentSettings,
    /// What this agent says of its configuration.
    pub status: ConfigStatus,
    epoch: u64,
    /// The number of the next batch; set it back to send one again.
    pub next_batch: u64,
    pub next_logs: u64,
}

/// What an agent says of a program that was asked something: in the `elapsed` before `at`, `requests` were answered, each
/// after `took`, and `errors` failed.
#[must_use]
pub fn busy_sample(at: UnixMillis, elapsed: Duration, requests: u32, errors: u32, took: Duration) -> Sample {
    let mut sample = Sample::new(at);
    sample.set(Metric::Requests, f64::from(requests) / elapsed.as_secs_f64());
    sample.set(Metric::RequestErrors, f64::from(errors) / elapsed.as_secs_f64());
    let mut latency = LatencyHistogram::new();
    (0..requests).for_each(|_| latency.record(took));
    sample.latency = (requests > 0).then_some(latency);
    sample
}

/// What [`TestSession::run`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Metrics up to here are safe.
    Accepted(BatchId),
    /// An offer was opened, "applied" and answered.
    Applied(ConfigRef),
    /// Told to stop, to come back, or closed.
    Ended(Option<CloseCode>),
}

impl TestSession {
    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone: see [`TestAgentError::closed_by_server`].
    pub async fn next(&mut self) -> Result<ServerMessage, TestAgentError> {
        self.reader.next().await?.ok_or(TestAgentError::Ended)
    }

    /// The next offer. Whatever comes before it is dropped.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn next_offer(&mut self) -> Result<ConfigOffer, TestAgentError> {
        loop {
            if let ServerMessage::Offer(offer) = self.next().await? {
                return Ok(*offer);
            }
        }
    }

    /// Waits until the server has acknowledged metrics up to `id`. Whatever comes before it is dropped.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn accepted(&mut self, id: BatchId) -> Result<(), TestAgentError> {
        loop {
            match self.next().await? {
                ServerMessage::MetricsAccepted { id: accepted } if accepted >= id => return Ok(()),
                _ => {}
            }
        }
    }

    /// # Errors
    /// The connection is gone.
    pub async fn say(&mut self, message: &AgentMessage) -> Result<(), TestAgentError> {
        Ok(self.writer.send(message).await?)
    }

    /// Sends samples as the next batch, and does not wait for the acknowledgement.
    ///
    /// # Errors
    /// The connection is gone, or the samples break a limit.
    pub async fn send_samples(&mut self, samples: Vec<Sample>) -> Result<BatchId, TestAgentError> {
        let writer = match &mut self.metrics {
            Some(writer) => writer,
            none => none.insert(self.connection.open_metrics().await?),
        };
        let id = BatchId { epoch: self.epoch, seq: self.next_batch };
        self.next_batch += 1;
        writer.send(&MetricBatch { id, samples, dropped: 0 }).await?;
        Ok(id)
    }

    /// # Errors
    /// The connection is gone, or the records break a limit.
    pub async fn send_logs(&mut self, records: Vec<LogRecord>) -> Result<BatchId, TestAgentError> {
        let writer = match &mut self.logs {
            Some(writer) => writer,
            none => none.insert(self.connection.open_logs().await?),
        };
        let id = BatchId { epoch: self.epoch, seq: self.next_logs };
        self.next_logs += 1;
        writer.send(&LogBatch { id, records, dropped: 0 }).await?;
        Ok(id)
    }

    /// Opens an offer.
    ///
    /// # Errors
    /// It was not sealed to this agent, or holds no environment.
    pub fn unseal(&self, offer: &ConfigOffer) -> Result<Environment, TestAgentError> {
        let generation = offer.config.generation;
        let context = SealContext { agent: self.agent, deployment: self.deployment, generation };
        Ok(Environment::decode(&self.seal.open(&offer.sealed, &context)?)?)
    }

    /// Answers an offer: it runs now.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn apply(&mut self, offer: &ConfigOffer) -> Result<(), TestAgentError> {
        self.status =
            ConfigStatus { last_received: Some(offer.config), running: Some(offer.config), last_failed: None };
        self.report(offer, ApplyState::Applied).await
    }

    /// Answers an offer: it cannot be run, and what ran before still does.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn refuse(&mut self, offer: &ConfigOffer, error: &str) -> Result<(), TestAgentError> {
        self.status.last_received = Some(offer.config);
        self.status.last_failed = Some(ConfigFailure { config: offer.config, error: error.to_owned() });
        self.report(offer, ApplyState::Failed).await
    }

    async fn report(&mut self, offer: &ConfigOffer, state: ApplyState) -> Result<(), TestAgentError> {
        let report = AgentMessage::ConfigReport { nonce: offer.nonce, state, status: self.status.clone() };
        self.say(&report).await
    }

    /// Plays an agent until the server or the connection ends it: sends what `sample` makes every `interval` (nothing
    /// when it makes `None`), opens and applies every offer, answers heartbeats, and tells `seen`. The first sample is
    /// due after `offset`, so that a fleet does not speak in one voice.
    pub async fn run(
        &mut self,
        interval: Duration,
        offset: Duration,
        mut sample: impl FnMut(UnixMillis) -> Option<Sample>,
        mut seen: impl FnMut(Seen),
    ) {
        let mut ticks = interval_at(Instant::now() + offset, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let step = tokio::select! {
                message = self.reader.next() => match message {
                    Ok(Some(message)) => self.react(message, &mut seen).await,
                    Ok(None) => Err(TestAgentError::Ended),
                    Err(error) => Err(error.into()),
                },
                _ = ticks.tick() => match sample(UnixMillis::now()) {
                    Some(sample) => self.send_samples(vec![sample]).await.map(|_| true),
                    None => Ok(true),
                },
            };
            match step {
                Ok(true) => {}
                Ok(false) => return seen(Seen::Ended(None)),
                Err(error) => return seen(Seen::Ended(error.closed_by_server())),
            }
        }
    }

    /// Returns whether the session goes on.
    async fn react(&mut self, message: ServerMessage, seen: &mut impl FnMut(Seen)) -> Result<bool, TestAgentError> {
        match message {
            ServerMessage::Offer(offer) => {
                self.unseal(&offer)?;
                self.apply(&offer).await?;
                seen(Seen::Applied(offer.config));
            }
            ServerMessage::MetricsAccepted { id } => seen(Seen::Accepted(id)),
            ServerMessage::Settings(settings) => self.settings = settings,
            ServerMessage::Heartbeat { .. } => self.say(&AgentMessage::Heartbeat { now: UnixMillis::now() }).await?,
            ServerMessage::Stop { reason } => {
                self.say(&AgentMessage::Goodbye { reason }).await?;
                return Ok(false);
            }
            ServerMessage::Drain | ServerMessage::RetryAfter { .. } | ServerMessage::Redirect { .. } => {
                return Ok(false);
            }
            ServerMessage::Welcome { .. } | ServerMessage::LogsAccepted { .. } | ServerMessage::Renewed { .. } => {}
        }
        Ok(true)
    }

    /// Waits for the end of the connection and says with which code the server ended it.
    pub async fn closed(&self) -> Option<CloseCode> {
        self.connection.closed().await.closed_by_peer()
    }

    /// Cuts the connection: to the server this agent has vanished politely, without a goodbye.
    pub fn close(&self) {
        self.connection.close(CloseCode::Normal, "");
    }
}
