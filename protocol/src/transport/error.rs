//! What can go wrong on the road.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectionError, ReadError, WriteError};

use super::CloseCode;
use crate::codec::CodecError;
use crate::identity::IdentityError;

/// TLS alerts travel as QUIC transport errors from here on (RFC 9001, 4.8).
const CRYPTO_ERROR: u64 = 0x100;

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("cannot bind UDP {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot configure TLS: {operation}")]
    Tls {
        operation: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: quinn::ConnectError,
    },
    #[error("handshake with {address} failed")]
    Handshake {
        address: SocketAddr,
        #[source]
        source: ConnectionError,
    },
    #[error("no handshake with {address} within {timeout:?}")]
    HandshakeTimeout { address: SocketAddr, timeout: Duration },
    #[error("the peer presented no certificate")]
    NoCertificate,
    #[error("cannot read the peer's identity")]
    Identity {
        #[source]
        source: IdentityError,
    },
    #[error("the connection is closed")]
    Connection {
        #[source]
        source: ConnectionError,
    },
    #[error("cannot read from the stream")]
    Read {
        #[source]
        source: ReadError,
    },
    #[error("cannot write to the stream")]
    Write {
        #[source]
        source: WriteError,
    },
    #[error("the stream ended inside a {frame}")]
    Truncated { frame: &'static str },
    #[error("the peer said nothing where a {frame} was due")]
    Silent { frame: &'static str },
    #[error("no {frame} within {within:?}")]
    TooSlow { frame: &'static str, within: Duration },
    #[error("no lane has the number {number}")]
    UnknownLane { number: u8 },
    #[error("a frame was refused")]
    Frame {
        #[source]
        source: CodecError,
    },
}

impl TransportError {
    /// The code with which the peer closed the connection; `None` when it was not the verified peer's decision
    /// (network, time-out, this side). A refusal of this side's certificate counts as the matching code.
    ///
    /// A close during the handshake is nobody's word: its keys can be derived by anyone on the path, who must not
    /// be able to tell an agent that it was revoked.
    #[must_use]
    pub fn closed_by_peer(&self) -> Option<CloseCode> {
        let Self::Connection { source } = self else { return None };
        match source {
            ConnectionError::ApplicationClosed(close) => Some(CloseCode::from_varint(close.error_code)),
            ConnectionError::ConnectionClosed(close) => {
                let alert = u64::from(close.error_code).checked_sub(CRYPTO_ERROR)?;
                CloseCode::from_alert(u8::try_from(alert).ok()?)
            }
            _ => None,
        }
    }

    /// Whether this side closed the connection.
    #[must_use]
    pub fn closed_by_us(&self) -> bool {
        matches!(self, Self::Connection { source: ConnectionError::LocallyClosed })
    }

    pub(super) fn tls(operation: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Tls { operation, source: Box::new(source) }
    }
}

impl From<ConnectionError> for TransportError {
    fn from(source: ConnectionError) -> Self {
        Self::Connection { source }
    }
}

impl From<ReadError> for TransportError {
    fn from(source: ReadError) -> Self {
        match source {
            ReadError::ConnectionLost(source) => Self::Connection { source },
            source => Self::Read { source },
        }
    }
}

impl From<WriteError> for TransportError {
    fn from(source: WriteError) -> Self {
        match source {
            WriteError::ConnectionLost(source) => Self::Connection { source },
            source => Self::Write { source },
        }
    }
}
