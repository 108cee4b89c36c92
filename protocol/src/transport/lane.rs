//! Streams as sequences of typed frames.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};

use super::{CloseCode, TransportError};
use crate::codec::{self, Discarded, Frame, PREFIX_BYTES};
use crate::log::LogBatch;
use crate::sample::MetricBatch;

/// A buffer up to this size is kept between frames: an ordinary batch fits. What a rare large frame took is given
/// back, because thousands of connections wait here.
const KEPT_BYTES: usize = 2 * 1024;
/// First capacity of a frame that is being encoded.
const FRAME_BYTES: usize = 512;

/// The first byte of a unidirectional stream.
const METRICS: u8 = 1;
const LOGS: u8 = 2;

/// What an agent opened a unidirectional stream for.
#[derive(Debug)]
pub enum Lane {
    Metrics(Reader<MetricBatch>),
    Logs(Reader<LogBatch>),
}

impl Lane {
    pub(super) fn of(number: u8, connection: &Connection, stream: RecvStream) -> Result<Self, TransportError> {
        match number {
            METRICS => Ok(Self::Metrics(Reader::new(connection.clone(), stream))),
            LOGS => Ok(Self::Logs(Reader::new(connection.clone(), stream))),
            _ => {
                connection.close(CloseCode::ProtocolError.to_varint(), b"unknown lane");
                Err(TransportError::UnknownLane { number })
            }
        }
    }
}

/// A frame that has a unidirectional lane of its own.
pub(super) trait OwnLane: Frame {
    const NUMBER: u8;
    /// Higher is sent first; the control stream has the highest.
    const PRIORITY: i32;
}

pub(super) const CONTROL_PRIORITY: i32 = 2;

impl OwnLane for MetricBatch {
    const NUMBER: u8 = METRICS;
    const PRIORITY: i32 = 1;
}

impl OwnLane for LogBatch {
    const NUMBER: u8 = LOGS;
    const PRIORITY: i32 = 0;
}

/// The receiving end of a lane.
///
/// A frame that breaks a rule closes the whole connection with the matching [`CloseCode`]: after it nothing on
/// the stream can be trusted to begin where a frame begins.
pub struct Reader<T> {
    connection: Connection,
    stream: RecvStream,
    prefix: [u8; PREFIX_BYTES],
    /// Of the prefix, while it is incomplete or complete.
    prefix_filled: usize,
    /// The frame, as much of it as has arrived.
    body: Vec<u8>,
    discarded: Discarded,
    frame: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("stream", &self.stream.id()).finish_non_exhaustive()
    }
}

impl<T: Frame> Reader<T> {
    pub(super) fn new(connection: Connection, stream: RecvStream) -> Self {
        Self {
            connection,
            stream,
            prefix: [0; PREFIX_BYTES],
            prefix_filled: 0,
            body: Vec::new(),
            discarded: Discarded::default(),
            frame: PhantomData,
        }
    }

    /// The next frame; `None` when the peer finished the stream after a whole one.
    ///
    /// Cancel safe: what had arrived is kept for the next call.
    ///
    /// # Errors
    /// The connection is gone, or the peer broke a rule, which closes it.
    pub async fn next(&mut self) -> Result<Option<T>, TransportError> {
        while self.prefix_filled < PREFIX_BYTES {
            match self.stream.read(&mut self.prefix[self.prefix_filled..]).await? {
                Some(read) => self.prefix_filled += read,
                None if self.prefix_filled == 0 => return Ok(None),
                None => return Err(self.truncated()),
            }
        }
        let length = codec::frame_length::<T>(self.prefix).map_err(|error| self.refuse(error))?;
        self.fill(length).await?;
        let decoded = codec::decode_counting(&self.body, &mut self.discarded);
        self.prefix_filled = 0;
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
        decoded.map(Some).map_err(|error| self.refuse(error))
    }

    /// What the decoder dropped from frames that it accepted, since the stream began.
    #[must_use]
    pub const fn discarded(&self) -> Discarded {
        self.discarded
    }

    async fn fill(&mut self, length: usize) -> Result<(), TransportError> {
        while self.body.len() < length {
            let missing = length - self.body.len();
            // The buffer grows by what has arrived, never by what was claimed, and is not zeroed beforehand.
            let Some(chunk) = self.stream.read_chunk(missing, true).await? else {
                return Err(self.truncated());
            };
            let needed = self.body.len() + chunk.bytes.len();
            if needed > self.body.capacity() {
                // Twice as much each time, but never more than the frame.
                let grown = needed.max(2 * self.body.capacity()).max(KEPT_BYTES).min(length);
                self.body.reserve_exact(grown - self.body.len());
            }
            self.body.extend_from_slice(&chunk.bytes);
        }
        Ok(())
    }

    fn truncated(&self) -> TransportError {
        self.connection.close(CloseCode::ProtocolError.to_varint(), b"stream ended inside a frame");
        TransportError::Truncated { frame: T::NAME }
    }

    fn refuse(&self, source: codec::CodecError) -> TransportError {
        // A codec error is made of names and numbers, never of payload.
        self.connection.close(CloseCode::from(&source).to_varint(), source.to_string().as_bytes());
        TransportError::Frame { source }
    }
}

/// The sending end of a lane.
pub struct Writer<T> {
    stream: SendStream,
    /// What a cancelled call left unsent.
    pending: Bytes,
    frame: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("stream", &self.stream.id()).finish_non_exhaustive()
    }
}

impl<T: Frame> Writer<T> {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, pending: Bytes::new(), frame: PhantomData }
    }

    /// Hands `value` to the connection. Waits while the peer, or the network, takes no more.
    ///
    /// Cancelling leaves the stream in order: a frame that had been begun is completed by the next call, so whoever
    /// cancels must count it as sent.
    ///
    /// # Errors
    /// The value breaks a limit (nothing was sent, the lane is as before), or the connection is gone.
    pub async fn send(&mut self, value: &T) -> Result<(), TransportError> {
        self.flush().await?;
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        codec::encode(value, &mut frame).map_err(|source| TransportError::Frame { source })?;
        self.pending = Bytes::from(frame);
        self.flush().await
    }

    /// Says that nothing more follows. What was sent still arrives.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn finish(&mut self) -> Result<(), TransportError> {
        self.flush().await?;
        // Finishing what is already finished or reset changes nothing.
        let _ = self.stream.finish();
        Ok(())
    }

    /// Waits until the peer has acknowledged everything up to [`finish`](Self::finish).
    pub(super) async fn delivered(&mut self) -> Result<(), TransportError> {
        match self.stream.stopped().await {
            Ok(_) => Ok(()),
            Err(error) => Err(quinn::WriteError::from(error).into()),
        }
    }

    async fn flush(&mut self) -> Result<(), TransportError> {
        while !self.pending.is_empty() {
            self.stream.write_chunks(std::slice::from_mut(&mut self.pending)).await?;
        }
        Ok(())
    }
}

/// Names the lane on a fresh unidirectional stream.
pub(super) async fn open<T: OwnLane>(stream: SendStream) -> Result<Writer<T>, TransportError> {
    // Only fails on a stream that is closed, which the first write tells better.
    let _ = stream.set_priority(T::PRIORITY);
    let mut writer = Writer { pending: Bytes::from_static(&[T::NUMBER]), ..Writer::new(stream) };
    writer.flush().await?;
    Ok(writer)
}
