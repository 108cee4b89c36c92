//! Why a connection was closed on purpose, as the other side gets to know it.

use std::fmt;

use quinn::VarInt;

use crate::codec::CodecError;

/// An application close code. Numbers are append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Done; nothing is wrong.
    Normal,
    /// The control plane goes down for a while: reconnect with jitter.
    Drain,
    /// The peer broke a rule of the protocol.
    ProtocolError,
    /// A frame of a version that this side does not read.
    UnknownVersion,
    /// A frame above its lane's limit.
    FrameTooLarge,
    /// The certificate is missing, not the CA's, or names no agent that may come in.
    Unauthorized,
    /// The identity was revoked. The agent's cached configuration goes with it.
    Revoked,
    /// A newer connection of the same agent took this one's place.
    Replaced,
    /// Too many agents, or this one asks too much: come back later.
    Overloaded,
    /// The certificate has run out: enrol again.
    CertificateExpired,
    /// Nothing was said for too long, above QUIC's own idle time-out.
    Unresponsive,
    /// This side failed; the peer did nothing wrong.
    Internal,
    /// A code of a newer version.
    Unrecognized(u32),
}

impl CloseCode {
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::Drain => 1,
            Self::ProtocolError => 2,
            Self::UnknownVersion => 3,
            Self::FrameTooLarge => 4,
            Self::Unauthorized => 5,
            Self::Revoked => 6,
            Self::Replaced => 7,
            Self::Overloaded => 8,
            Self::CertificateExpired => 9,
            Self::Unresponsive => 10,
            Self::Internal => 11,
            Self::Unrecognized(code) => code,
        }
    }

    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::Drain,
            2 => Self::ProtocolError,
            3 => Self::UnknownVersion,
            4 => Self::FrameTooLarge,
            5 => Self::Unauthorized,
            6 => Self::Revoked,
            7 => Self::Replaced,
            8 => Self::Overloaded,
            9 => Self::CertificateExpired,
            10 => Self::Unresponsive,
            11 => Self::Internal,
            other => Self::Unrecognized(other),
        }
    }

    pub(super) fn to_varint(self) -> VarInt {
        VarInt::from_u32(self.code())
    }

    pub(super) fn from_varint(code: VarInt) -> Self {
        Self::from_code(u32::try_from(code.into_inner()).unwrap_or(u32::MAX))
    }

    /// What a TLS alert about this side's certificate amounts to; `None` for every other alert. Numbers: RFC 8446,
    /// section 6. Every control plane's CA may have the same name, so a foreign certificate also shows as a signature
    /// that does not verify (51, `decrypt_error`).
    pub(super) const fn from_alert(alert: u8) -> Option<Self> {
        match alert {
            44 => Some(Self::Revoked),
            45 => Some(Self::CertificateExpired),
            42 | 43 | 46 | 48 | 49 | 51 | 116 => Some(Self::Unauthorized),
            _ => None,
        }
    }
}

impl From<&CodecError> for CloseCode {
    fn from(error: &CodecError) -> Self {
        match error {
            CodecError::TooLarge { .. } => Self::FrameTooLarge,
            CodecError::UnknownVersion { .. } => Self::UnknownVersion,
            CodecError::Empty { .. }
            | CodecError::Malformed { .. }
            | CodecError::OverLimit { .. }
            | CodecError::Invalid { .. }
            | CodecError::Serialise { .. } => Self::ProtocolError,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Drain => "drain",
            Self::ProtocolError => "protocol error",
            Self::UnknownVersion => "unknown version",
            Self::FrameTooLarge => "frame too large",
            Self::Unauthorized => "unauthorised",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Overloaded => "overloaded",
            Self::CertificateExpired => "certificate expired",
            Self::Unresponsive => "unresponsive",
            Self::Internal => "internal error",
            Self::Unrecognized(code) => return write!(f, "code {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_and_unknown_ones_are_kept() {
        for code in (0..20).chain([u32::MAX]) {
            assert_eq!(CloseCode::from_code(code).code(), code);
        }
        assert_eq!(CloseCode::from_code(12), CloseCode::Unrecognized(12));
    }
}
