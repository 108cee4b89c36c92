//! Connections of strangers, who have no certificate: one question, one answer.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::Connection;
use tokio::time::timeout;

use super::{CloseCode, Reader, TransportError, Writer};
use crate::codec::Frame;
use crate::fetch::{FetchRequest, FetchResponse};
use crate::message::{EnrollRequest, EnrollResponse};

/// A connection that may ask for one identity.
pub type Enrollment = Question<EnrollRequest, EnrollResponse>;
/// A connection that may ask for one environment.
pub type Fetch = Question<FetchRequest, FetchResponse>;

/// A connection that may ask one question.
#[derive(Debug)]
pub struct Question<Q, A> {
    connection: Connection,
    streams: Option<(Reader<Q>, Writer<A>)>,
    timeout: Duration,
}

impl<Q: Frame, A: Frame> Question<Q, A> {
    pub(super) const fn new(connection: Connection, timeout: Duration) -> Self {
        Self { connection, streams: None, timeout }
    }

    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The request. Waits for it no longer than for a handshake.
    ///
    /// # Errors
    /// None came, it came too late, or it breaks a rule, which closes the connection.
    pub async fn request(&mut self) -> Result<Q, TransportError> {
        let within = self.timeout;
        let request = async {
            let (reader, _) = self.streams().await?;
            reader.next().await?.ok_or(TransportError::Silent { frame: Q::NAME })
        };
        timeout(within, request).await.unwrap_or(Err(TransportError::TooSlow { frame: Q::NAME, within }))
    }

    /// Answers, waits until the answer has arrived, and closes.
    ///
    /// # Errors
    /// The peer is gone before it has the answer. An agent that enrols will ask again with the same key.
    pub async fn respond(mut self, response: A) -> Result<(), TransportError> {
        let within = self.timeout;
        let answer = async {
            let (_, writer) = self.streams().await?;
            writer.send(&response).await?;
            writer.finish().await?;
            writer.delivered().await
        };
        let late = TransportError::TooSlow { frame: A::NAME, within };
        let answered = timeout(within, answer).await.unwrap_or(Err(late));
        self.connection.close(CloseCode::Normal.to_varint(), b"");
        match answered {
            // The peer closes as soon as it has read the answer, which may overtake the acknowledgement.
            Err(error) if error.closed_by_peer() == Some(CloseCode::Normal) => Ok(()),
            answered => answered,
        }
    }

    /// Turns the peer away without an answer.
    pub fn close(self, code: CloseCode, reason: &str) {
        self.connection.close(code.to_varint(), reason.as_bytes());
    }

    async fn streams(&mut self) -> Result<&mut (Reader<Q>, Writer<A>), TransportError> {
        let streams = match self.streams.take() {
            Some(streams) => streams,
            None => {
                let (send, receive) = self.connection.accept_bi().await?;
                (Reader::new(self.connection.clone(), receive), Writer::new(send))
            }
        };
        Ok(self.streams.insert(streams))
    }
}
