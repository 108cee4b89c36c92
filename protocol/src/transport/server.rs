//! The control plane's end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, RecvStream, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::question::{Enrollment, Fetch, Question};
use super::{
    ALPN_ENROLL, ALPN_FETCH, CloseCode, HANDSHAKE_TIMEOUT, Lane, Reader, TransportError, Writer, socket, tls, tuning,
};
use crate::identity::PeerIdentity;
use crate::message::{AgentMessage, ServerMessage};

/// Bytes that are buffered for a peer before its handshake was taken up, and for all of them.
const INCOMING_BUFFER: u64 = 16 * 1024;
const INCOMING_BUFFER_TOTAL: u64 = 4 * 1024 * 1024;

/// How many agents, and how many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections of any kind; the next is refused.
    pub connections: usize,
    /// Handshakes under way; the next is refused, and the agent comes back with jitter.
    pub handshakes: usize,
    /// Handshakes under way above which an address must prove that it can receive (a round trip more for the
    /// agent, no state for a forged address).
    pub handshakes_before_retry: usize,
    pub handshake_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 60_000,
            handshakes: 4_096,
            handshakes_before_retry: 256,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

/// What a [`ServerEndpoint`] is made from.
pub struct ServerOptions {
    pub listen: SocketAddr,
    /// Leaf first, the CA last: an agent that knows only its fingerprint needs to see it.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// The CA of the agents' certificates.
    pub client_ca: CertificateDer<'static>,
    /// Kept over restarts: with it a restarted server can tell agents at once that their connection is gone,
    /// instead of letting them run into their time-out.
    pub reset_key: [u8; 64],
    /// Kept over restarts: proofs of address stay good.
    pub token_key: [u8; 32],
    pub limits: ServerLimits,
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A listening UDP socket.
#[derive(Debug, Clone)]
pub struct ServerEndpoint {
    endpoint: Endpoint,
    /// What connections are served with, but for the certificate, which may have been renewed.
    config: ServerConfig,
    client_ca: CertificateDer<'static>,
    listen: SocketAddr,
    limits: ServerLimits,
    handshakes: Arc<AtomicUsize>,
}

/// Stateless resets (RFC 9000 section 10.3) that work across a crash: they are how agents learn at once that the server
/// they talked to has lost its state. quinn sends one only for connection ids that its generator recognises, so the
/// generator's key has to outlive the process as the reset key does.
fn endpoint_config(reset_key: hmac::Key) -> EndpointConfig {
    let ids = hmac::sign(&reset_key, b"outrigger connection ids");
    let key = ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
        // A whole fleet has to be told; quinn's 20 ms would take most of a minute for 2,000 agents.
        .min_reset_interval(Duration::from_micros(200));
    config
}

impl ServerEndpoint {
    /// Binds and listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or certificates and key do not fit together.
    pub fn bind(options: ServerOptions) -> Result<Self, TransportError> {
        let ServerOptions { listen, chain, key, client_ca, reset_key, token_key, limits } = options;
        let crypto = tls::server(chain, key, client_ca.clone())?;
        let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&token_key);
        let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
        config
            .transport_config(tuning::server())
            .max_incoming(limits.handshakes)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &reset_key);
        let socket = socket::bind_server(listen)?;
        let served = Some(config.clone());
        let endpoint = Endpoint::new(endpoint_config(reset_key), served, socket, Arc::new(TokioRuntime))
            .map_err(|source| TransportError::Bind { address: listen, source })?;
        Ok(Self { endpoint, config, client_ca, listen, limits, handshakes: Arc::default() })
    }

    /// Shows another certificate, leaf first, to whoever connects from now on. Connections that are there stay.
    ///
    /// # Errors
    /// Certificates and key do not fit together; the ones before are kept.
    pub fn renew(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), TransportError> {
        let mut config = self.config.clone();
        config.crypto = Arc::new(tls::server(chain, key, self.client_ca.clone())?);
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        self.endpoint.local_addr().map_err(|source| TransportError::Bind { address: self.listen, source })
    }

    /// The next agent at the door; `None` once the endpoint is closed. Whoever is too many is turned away here.
    /// Cancel safe.
    pub async fn accept(&self) -> Option<IncomingAgent> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let handshakes = self.handshakes.load(Ordering::Relaxed);
            if handshakes >= self.limits.handshakes || self.endpoint.open_connections() >= self.limits.connections {
                tracing::debug!(peer = %incoming.remote_address(), handshakes, "connection refused: too many");
                incoming.refuse();
            } else if handshakes >= self.limits.handshakes_before_retry && !incoming.remote_address_validated() {
                // Fails only for an address that is validated already.
                let _ = incoming.retry();
            } else {
                let slot = HandshakeSlot::take(&self.handshakes);
                return Some(IncomingAgent { incoming, timeout: self.limits.handshake_timeout, _slot: slot });
            }
        }
    }

    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    /// Closes every connection and accepts no more.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.endpoint.close(code.to_varint(), reason.as_bytes());
    }

    /// Waits until every connection has said goodbye: without it a close may never leave the machine.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// Counts a handshake for as long as it is under way.
struct HandshakeSlot(Arc<AtomicUsize>);

impl HandshakeSlot {
    fn take(handshakes: &Arc<AtomicUsize>) -> Self {
        handshakes.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(handshakes))
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer that sent its first packet; nothing about it is known but an address, which may be forged.
pub struct IncomingAgent {
    incoming: Incoming,
    timeout: Duration,
    _slot: HandshakeSlot,
}

impl fmt::Debug for IncomingAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingAgent").field("remote", &self.remote_address()).finish_non_exhaustive()
    }
}

/// What a verified peer came for.
#[derive(Debug)]
pub enum Accepted {
    Enrollment(Enrollment),
    Fetch(Fetch),
    Agent(AgentConnection),
}

impl IncomingAgent {
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Turns the peer away before any cryptography is done for it.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Completes the handshake and reads who it is. To be run in a task of its own: a peer may take its time.
    ///
    /// # Errors
    /// The handshake fails or takes too long, or the certificate is missing or names no agent.
    pub async fn handshake(self) -> Result<Accepted, TransportError> {
        let address = self.remote_address();
        let connecting = self.incoming.accept().map_err(|source| TransportError::Handshake { address, source })?;
        let connection = timeout(self.timeout, connecting)
            .await
            .map_err(|_| TransportError::HandshakeTimeout { address, timeout: self.timeout })?
            .map_err(|source| TransportError::Handshake { address, source })?;
        // Whoever does not come with a question has to show a certificate.
        match application_protocol(&connection).as_deref() {
            Some(ALPN_ENROLL) => return Ok(Accepted::Enrollment(Question::new(connection, self.timeout))),
            Some(ALPN_FETCH) => return Ok(Accepted::Fetch(Question::new(connection, self.timeout))),
            _ => {}
        }
        match peer_identity(&connection) {
            Ok(peer) => Ok(Accepted::Agent(AgentConnection { connection, peer, unnamed: Mutex::default() })),
            Err(error) => {
                connection.close(CloseCode::Unauthorized.to_varint(), error.to_string().as_bytes());
                Err(error)
            }
        }
    }
}

/// What the peer said that it came for.
fn application_protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn peer_identity(connection: &Connection) -> Result<PeerIdentity, TransportError> {
    let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = chain.ok_or(TransportError::NoCertificate)?;
    let leaf = chain.first().ok_or(TransportError::NoCertificate)?;
    PeerIdentity::from_certificate(leaf).map_err(|source| TransportError::Identity { source })
}

/// The connection of an agent whose certificate was verified.
#[derive(Debug)]
pub struct AgentConnection {
    connection: Connection,
    peer: PeerIdentity,
    /// A stream whose lane has not been read yet, kept over a cancelled [`accept_lane`](Self::accept_lane).
    unnamed: Mutex<Option<RecvStream>>,
}

impl AgentConnection {
    /// Who it is, by its certificate.
    #[must_use]
    pub const fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Waits for the agent to open its control stream, which it does with its first message. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn accept_control(&self) -> Result<(Reader<AgentMessage>, Writer<ServerMessage>), TransportError> {
        let (send, receive) = self.connection.accept_bi().await?;
        Ok((Reader::new(self.connection.clone(), receive), Writer::new(send)))
    }

    /// Waits for the agent to open a lane. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone, or the stream names no lane, which closes it.
    pub async fn accept_lane(&self) -> Result<Lane, TransportError> {
        let mut unnamed = self.unnamed.lock().await;
        if unnamed.is_none() {
            *unnamed = Some(self.connection.accept_uni().await?);
        }
        let mut number = [0];
        if let Some(stream) = unnamed.as_mut()
            && stream.read(&mut number).await?.is_none()
        {
            number = [0]; // Ended before it was named: no lane has the number 0.
        }
        match unnamed.take() {
            Some(stream) => Lane::of(number[0], &self.connection, stream),
            None => Err(TransportError::Silent { frame: "lane" }),
        }
    }

    /// Closes at once; what was not acknowledged yet may be lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.connection.close(code.to_varint(), reason.as_bytes());
    }

    /// Waits for the end of the connection and says why it came.
    pub async fn closed(&self) -> TransportError {
        self.connection.closed().await.into()
    }
}
