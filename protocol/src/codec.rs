//! Frames as bytes and back: pure functions on slices.
//!
//! A frame is a length (u32, big-endian, of what follows), the wire version (u8) and a bincode body with varint
//! integers. The length is judged by [`frame_length`] before anything of that size is allocated; the body is decoded
//! under the same limit and must be used up to its last byte.

use std::io;

use bincode::Options;
use serde::{Deserialize, Serialize};

use crate::fetch::{FetchRequest, FetchResponse};
use crate::limits;
use crate::log::LogBatch;
use crate::message::{AgentMessage, EnrollRequest, EnrollResponse, ServerMessage};
use crate::sample::MetricBatch;
use crate::wire::{self, Counterpart, v1};

/// Bytes of the length in front of every frame.
pub const PREFIX_BYTES: usize = 4;

/// Why bytes are not a frame, or a value cannot become one. Never contains a payload.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("{frame}: {length} bytes are more than the {limit} that its lane allows")]
    TooLarge { frame: &'static str, length: u64, limit: u32 },
    #[error("{frame}: an empty frame has no version")]
    Empty { frame: &'static str },
    #[error("{frame}: unknown wire version {version}")]
    UnknownVersion { frame: &'static str, version: u8 },
    #[error("{frame}: malformed body")]
    Malformed {
        frame: &'static str,
        #[source]
        source: bincode::Error,
    },
    #[error("{what}: {count} is over the limit of {limit}")]
    OverLimit { what: &'static str, count: usize, limit: usize },
    #[error("{what} is not valid")]
    Invalid { what: &'static str },
    #[error("cannot serialise {frame}")]
    Serialise {
        frame: &'static str,
        #[source]
        source: bincode::Error,
    },
}

/// What a decoder dropped without losing the frame. Counted per stream and shown to the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Values of a metric that this build does not know, or that never travels.
    pub unknown_metrics: u64,
    /// NaN and infinities.
    pub non_finite: u64,
    /// Second values of one metric in one sample.
    pub duplicates: u64,
}

impl Discarded {
    #[must_use]
    pub const fn total(self) -> u64 {
        self.unknown_metrics.saturating_add(self.non_finite).saturating_add(self.duplicates)
    }
}

/// A domain type that travels as a frame of its own.
pub trait Frame: Sized {
    /// For error messages.
    const NAME: &'static str;
    /// Largest frame in bytes after the length: version and body.
    const LIMIT: u32;

    /// Appends the body in version [`wire::VERSION`].
    ///
    /// # Errors
    /// The value breaks a limit that the receiver would refuse it for.
    fn encode_body(&self, body: &mut Vec<u8>) -> Result<(), CodecError>;

    /// # Errors
    /// The version is unknown, or the body is not one of this frame within its limits.
    fn decode_body(version: u8, body: &[u8], discarded: &mut Discarded) -> Result<Self, CodecError>;
}

macro_rules! frames {
    ($($domain:ident, $name:literal, $limit:expr;)+) => {$(
        impl Frame for $domain {
            const NAME: &'static str = $name;
            const LIMIT: u32 = $limit;

            fn encode_body(&self, body: &mut Vec<u8>) -> Result<(), CodecError> {
                write(Self::NAME, &v1::$domain::from_domain(self)?, body)
            }

            fn decode_body(version: u8, body: &[u8], discarded: &mut Discarded) -> Result<Self, CodecError> {
                match version {
                    1 => read::<v1::$domain<'_>>(Self::NAME, Self::LIMIT, body)?.into_domain(discarded),
                    _ => Err(CodecError::UnknownVersion { frame: Self::NAME, version }),
                }
            }
        }
    )+};
}

frames! {
    AgentMessage, "agent message", limits::CONTROL_TO_SERVER_BYTES;
    ServerMessage, "server message", limits::CONTROL_TO_AGENT_BYTES;
    MetricBatch, "metric batch", limits::METRICS_BYTES;
    LogBatch, "log batch", limits::LOGS_BYTES;
    EnrollRequest, "enrolment request", limits::ENROLL_BYTES;
    EnrollResponse, "enrolment response", limits::ENROLL_BYTES;
    FetchRequest, "fetch request", limits::FETCH_BYTES;
    FetchResponse, "fetch response", limits::CONTROL_TO_AGENT_BYTES;
}

/// Appends `value` to `out` as one frame, its length included. On an error `out` is as it was.
///
/// # Errors
/// The value breaks a limit, or the frame is larger than its lane allows.
pub fn encode<T: Frame>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.push(wire::VERSION);
    let encoded = value.encode_body(out).and_then(|()| {
        let length = out.len() - start - PREFIX_BYTES;
        match u32::try_from(length) {
            Ok(length) if length <= T::LIMIT => Ok(length),
            _ => Err(CodecError::TooLarge { frame: T::NAME, length: length as u64, limit: T::LIMIT }),
        }
    });
    match encoded {
        Ok(length) => {
            out[start..start + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// The number of bytes that follow the prefix, once it is known to be acceptable.
///
/// # Errors
/// The length is zero or above the lane's limit.
pub fn frame_length<T: Frame>(prefix: [u8; PREFIX_BYTES]) -> Result<usize, CodecError> {
    let length = u32::from_be_bytes(prefix);
    if length == 0 {
        return Err(CodecError::Empty { frame: T::NAME });
    }
    if length > T::LIMIT {
        return Err(CodecError::TooLarge { frame: T::NAME, length: u64::from(length), limit: T::LIMIT });
    }
    Ok(length as usize)
}

/// Decodes what follows the prefix: version and body, to the last byte.
///
/// # Errors
/// The bytes are not a frame of this kind within its limits.
pub fn decode<T: Frame>(frame: &[u8]) -> Result<T, CodecError> {
    decode_counting(frame, &mut Discarded::default())
}

/// As [`decode`], and adds up what was dropped on the way.
///
/// # Errors
/// The bytes are not a frame of this kind within its limits.
pub fn decode_counting<T: Frame>(frame: &[u8], discarded: &mut Discarded) -> Result<T, CodecError> {
    if frame.len() > T::LIMIT as usize {
        return Err(CodecError::TooLarge { frame: T::NAME, length: frame.len() as u64, limit: T::LIMIT });
    }
    let (&version, body) = frame.split_first().ok_or(CodecError::Empty { frame: T::NAME })?;
    T::decode_body(version, body, discarded)
}

/// Varint integers, little-endian, trailing bytes refused: bincode's `DefaultOptions` as they are in 1.3.3.
fn options() -> bincode::DefaultOptions {
    bincode::DefaultOptions::new()
}

pub(crate) fn write<T: Serialize>(frame: &'static str, value: &T, out: impl io::Write) -> Result<(), CodecError> {
    options().serialize_into(out, value).map_err(|source| CodecError::Serialise { frame, source })
}

pub(crate) fn size<T: Serialize>(frame: &'static str, value: &T) -> Result<u64, CodecError> {
    options().serialized_size(value).map_err(|source| CodecError::Serialise { frame, source })
}

pub(crate) fn read<'a, T: Deserialize<'a>>(frame: &'static str, limit: u32, body: &'a [u8]) -> Result<T, CodecError> {
    options().with_limit(u64::from(limit)).deserialize(body).map_err(|source| CodecError::Malformed { frame, source })
}
