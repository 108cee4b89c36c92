//! The agent's end.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime};
use tokio::time::timeout;

use super::lane::{self, CONTROL_PRIORITY};
use super::{
    ALPN_AGENT, ALPN_ENROLL, ALPN_FETCH, ClientIdentity, CloseCode, HANDSHAKE_TIMEOUT, Reader, TransportError, Trust,
    Writer, socket, tls, tuning,
};
use crate::codec::Frame;
use crate::fetch::{FetchRequest, FetchResponse};
use crate::log::LogBatch;
use crate::message::{AgentMessage, EnrollRequest, EnrollResponse, ServerMessage};
use crate::sample::MetricBatch;

/// A UDP socket from which connections are made. One serves any number of them.
#[derive(Debug, Clone)]
pub struct ClientEndpoint {
    endpoint: Endpoint,
}

impl ClientEndpoint {
    /// Binds to `bind`; port 0 lets the system choose. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn new(bind: SocketAddr) -> Result<Self, TransportError> {
        let socket = socket::bind_client(bind)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
            .map_err(|source| TransportError::Bind { address: bind, source })?;
        Ok(Self { endpoint })
    }

    /// Binds to whatever reaches `server`: any local address of its family, any port.
    ///
    /// # Errors
    /// No such address can be bound.
    pub fn towards(server: SocketAddr) -> Result<Self, TransportError> {
        Self::new(match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        })
    }

    /// Asks for an identity, on a connection of its own. A refusal is an answer, not an error.
    ///
    /// # Errors
    /// The server cannot be reached or trusted, or it answered nothing that can be read.
    pub async fn enroll(
        &self,
        address: SocketAddr,
        server_name: &str,
        trust: &Trust,
        request: EnrollRequest,
    ) -> Result<EnrollResponse, TransportError> {
        self.ask(address, server_name, trust, ALPN_ENROLL, request).await
    }

    /// Asks for an environment with a person's token, on a connection of its own. A refusal is an answer, not an error.
    ///
    /// # Errors
    /// As for [`enroll`](Self::enroll).
    pub async fn fetch(
        &self,
        address: SocketAddr,
        server_name: &str,
        trust: &Trust,
        request: FetchRequest,
    ) -> Result<FetchResponse, TransportError> {
        self.ask(address, server_name, trust, ALPN_FETCH, request).await
    }

    async fn ask<Q: Frame, A: Frame>(
        &self,
        address: SocketAddr,
        server_name: &str,
        trust: &Trust,
        alpn: &[u8],
        question: Q,
    ) -> Result<A, TransportError> {
        let connection = self.handshake(address, server_name, trust, None, alpn).await?;
        let answer = async {
            let (send, receive) = connection.open_bi().await?;
            let mut writer = Writer::<Q>::new(send);
            writer.send(&question).await?;
            writer.finish().await?;
            let mut reader = Reader::<A>::new(connection.clone(), receive);
            reader.next().await?.ok_or(TransportError::Silent { frame: A::NAME })
        };
        // As long again as a handshake may take: the answer waits for a commit on the server, not for a human.
        let late = TransportError::TooSlow { frame: A::NAME, within: HANDSHAKE_TIMEOUT };
        let answer = timeout(HANDSHAKE_TIMEOUT, answer).await.unwrap_or(Err(late));
        connection.close(CloseCode::Normal.to_varint(), b"");
        answer
    }

    /// Connects as an enrolled agent. TLS 1.3 lets a client finish before the server has judged its certificate, so
    /// a refused certificate may show only at the first use of the connection.
    ///
    /// # Errors
    /// The server cannot be reached or trusted, or it refused this agent.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        trust: &Trust,
        identity: &ClientIdentity,
    ) -> Result<ClientConnection, TransportError> {
        let connection = self.handshake(address, server_name, trust, Some(identity), ALPN_AGENT).await?;
        Ok(ClientConnection { connection })
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        server_name: &str,
        trust: &Trust,
        identity: Option<&ClientIdentity>,
        alpn: &[u8],
    ) -> Result<Connection, TransportError> {
        let mut config = ClientConfig::new(Arc::new(tls::client(trust, identity, alpn)?));
        config.transport_config(tuning::agent());
        let connecting = self
            .endpoint
            .connect_with(config, address, server_name)
            .map_err(|source| TransportError::Connect { address, source })?;
        match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|source| TransportError::Handshake { address, source }),
            Err(_) => Err(TransportError::HandshakeTimeout { address, timeout: HANDSHAKE_TIMEOUT }),
        }
    }

    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.endpoint.local_addr().map_err(|source| TransportError::Bind { address: unspecified, source })
    }

    /// Closes every connection of this endpoint.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.endpoint.close(code.to_varint(), reason.as_bytes());
    }

    /// Waits until every connection has said goodbye: without it a close may never leave the machine.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// An enrolled agent's connection to its control plane.
#[derive(Debug, Clone)]
pub struct ClientConnection {
    connection: Connection,
}

impl ClientConnection {
    /// Opens the control stream. The server knows of it when the first message has been sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_control(&self) -> Result<(Reader<ServerMessage>, Writer<AgentMessage>), TransportError> {
        let (send, receive) = self.connection.open_bi().await?;
        // Only fails on a stream that is closed, which the first write tells better.
        let _ = send.set_priority(CONTROL_PRIORITY);
        Ok((Reader::new(self.connection.clone(), receive), Writer::new(send)))
    }

    /// Opens the metrics lane.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_metrics(&self) -> Result<Writer<MetricBatch>, TransportError> {
        lane::open(self.connection.open_uni().await?).await
    }

    /// Opens the logs lane.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_logs(&self) -> Result<Writer<LogBatch>, TransportError> {
        lane::open(self.connection.open_uni().await?).await
    }

    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
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
