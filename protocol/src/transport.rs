//! The road between an agent and its control plane: QUIC with mutual TLS 1.3, and typed frames on its streams.
//!
//! An agent connects with one of three application protocols. Two need no client certificate and allow one question and
//! its answer: [`ALPN_ENROLL`] an [`EnrollRequest`](crate::message::EnrollRequest), [`ALPN_FETCH`] a
//! [`FetchRequest`](crate::fetch::FetchRequest). [`ALPN_AGENT`] needs a certificate of the control plane's CA and
//! carries three lanes that cannot hold each other up: one bidirectional control stream, one unidirectional stream each
//! for metrics and logs.
//!
//! What must never be true: a byte of a peer is interpreted before TLS has verified it, a length is allocated before
//! its lane's limit has judged it, a peer that broke a rule is spoken to again, or data travels before the handshake
//! is complete (no 0-RTT: it can be replayed).

mod client;
mod close;
mod error;
mod fingerprint;
mod lane;
mod question;
mod server;
mod socket;
mod tls;
mod tuning;

pub use client::{ClientConnection, ClientEndpoint};
pub use close::CloseCode;
pub use error::TransportError;
pub use fingerprint::{ParseFingerprintError, display_fingerprint, fingerprint, parse_fingerprint};
pub use lane::{Lane, Reader, Writer};
pub use question::{Enrollment, Fetch, Question};
pub use server::{Accepted, AgentConnection, IncomingAgent, ServerEndpoint, ServerLimits, ServerOptions};
pub use tls::{ClientIdentity, Trust};
pub use tuning::{HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE};

/// Application protocol of an enrolled agent.
pub const ALPN_AGENT: &[u8] = b"outrigger/1";
/// Application protocol of an agent that has no certificate yet.
pub const ALPN_ENROLL: &[u8] = b"outrigger-enroll/1";
/// Application protocol of a person who asks for an environment with an API token.
pub const ALPN_FETCH: &[u8] = b"outrigger-fetch/1";
