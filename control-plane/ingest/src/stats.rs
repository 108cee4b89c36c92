//! What this server counted since it was started, and why it refused what it refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use outrigger_protocol::codec::CodecError;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::TransportError;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal $(: $help:literal)?,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in metrics and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it means, in a sentence; its name where that says everything.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => kinds!(@help $label $(, $help)?),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
    (@help $label:literal) => { $label };
    (@help $label:literal, $help:literal) => { $help };
}

kinds! {
    /// Why a connection, a frame or a request was refused.
    Reject {
        /// The handshake failed: no QUIC, no certificate of this CA where one is needed, or too slow.
        Handshake = "handshake",
        /// The certificate verified and names no agent.
        NoIdentity = "no_identity",
        FrameTooLarge = "frame_too_large",
        UnknownVersion = "unknown_version",
        MalformedFrame = "malformed_frame",
        UnknownLane = "unknown_lane",
        /// A valid message at a moment where it has no meaning.
        UnexpectedMessage = "unexpected_message",
        /// No hello in time.
        NoHello = "no_hello",
        OverBudget = "over_budget",
        UnknownAgent = "unknown_agent",
        Revoked = "revoked",
        /// A later process or a later enrolment has taken this agent's place.
        Overtaken = "overtaken",
        /// As many sessions as there may be.
        Full = "full",
        /// A renewal for another key.
        ForeignKey = "foreign_key",
        TokenUnknown = "token_unknown",
        TokenExpired = "token_expired",
        TokenUsed = "token_used",
        BadEnrollment = "bad_enrollment",
        EnrollmentLimited = "enrollment_limited",
        /// A person's token, role or environment.
        FetchRefused = "fetch_refused",
        FetchLimited = "fetch_limited",
    }
}

kinds! {
    /// What is counted.
    Count {
        Enrolled = "enrolled": "Agents that enrolled with a join token.",
        Renewed = "renewed": "Certificates of agents that were renewed.",
        SessionsOpened = "sessions_opened": "Sessions of agents that began.",
        SessionsClosed = "sessions_closed": "Sessions of agents that ended.",
        Batches = "batches": "Batches of samples and log lines that were taken in.",
        /// Sent again after a lost acknowledgement, and not counted again.
        DuplicateBatches = "duplicate_batches": "Batches that were sent again after a lost acknowledgement, and not counted again.",
        /// From an earlier life of the agent.
        StaleBatches = "stale_batches": "Batches from an earlier life of the agent, not taken in.",
        /// Skipped numbers: the agent had to drop them.
        MissedBatches = "missed_batches": "Batches that agents had to drop.",
        Samples = "samples": "Samples that were taken in.",
        /// Dropped by the agents themselves.
        SamplesDroppedByAgents = "samples_dropped_by_agents": "Samples that agents had to drop.",
        /// From the future or the far past.
        SamplesUntimely = "samples_untimely": "Samples from the future or the far past, not taken in.",
        /// Not taken by the window: nothing usable in it, a second one for its slot, or no room.
        SamplesUnused = "samples_unused": "Samples that the window did not take: nothing usable, a second one for its slot, or no room.",
        /// Unknown metrics, NaN, infinities, second values.
        ValuesDiscarded = "values_discarded": "Values of unknown metrics, that are no numbers, or that came twice.",
        LogLines = "log_lines": "Lines of programs that were taken in.",
        LogLinesDroppedByAgents = "log_lines_dropped_by_agents": "Lines of programs that agents had to drop.",
        OffersSealed = "offers_sealed": "Configurations sealed to an agent.",
        /// An agent's key to which nothing can be sealed.
        OffersFailed = "offers_failed": "Configurations that could not be sealed to the key of an agent.",
        ConfigReports = "config_reports": "Answers of agents to configurations.",
        /// For programs that people run themselves.
        EnvironmentsFetched = "environments_fetched": "Environments fetched for programs that people run themselves.",
    }
}

impl Reject {
    /// What a transport error means for the one who caused it; `None` when nobody broke a rule.
    #[must_use]
    pub(crate) const fn of(error: &TransportError) -> Option<Self> {
        match error {
            TransportError::Frame { source } => Some(match source {
                CodecError::TooLarge { .. } => Self::FrameTooLarge,
                CodecError::UnknownVersion { .. } => Self::UnknownVersion,
                _ => Self::MalformedFrame,
            }),
            TransportError::Truncated { .. } => Some(Self::MalformedFrame),
            TransportError::UnknownLane { .. } => Some(Self::UnknownLane),
            TransportError::NoCertificate | TransportError::Identity { .. } => Some(Self::NoIdentity),
            TransportError::Handshake { .. } | TransportError::HandshakeTimeout { .. } => Some(Self::Handshake),
            _ => None,
        }
    }
}

/// Counters that every session adds to.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counts: [AtomicU64; Count::ALL.len()],
    rejects: [AtomicU64; Reject::ALL.len()],
}

impl Stats {
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn reject(&self, reject: Reject) {
        self.rejects[reject as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, live: usize, connections: usize, certificate_ends: UnixMillis) -> IngestStats {
        IngestStats {
            live,
            connections,
            certificate_ends,
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            rejects: std::array::from_fn(|at| self.rejects[at].load(Ordering::Relaxed)),
        }
    }
}

/// A reading of the counters. They are read one after the other, so they may differ by what is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestStats {
    /// Agents with a session now.
    pub live: usize,
    /// Connections of any kind now.
    pub connections: usize,
    /// When the server's own certificate runs out; it is renewed before.
    pub certificate_ends: UnixMillis,
    counts: [u64; Count::ALL.len()],
    rejects: [u64; Reject::ALL.len()],
}

impl IngestStats {
    #[must_use]
    pub const fn count(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    #[must_use]
    pub const fn rejected(&self, reject: Reject) -> u64 {
        self.rejects[reject as usize]
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::transport::CloseCode;

    use super::*;
    use crate::events::SessionEnd;

    #[test]
    fn what_was_counted_is_read() {
        let stats = Stats::default();
        stats.add(Count::Batches, 3);
        stats.reject(Reject::OverBudget);
        let read = stats.read(2, 4, UnixMillis::from_millis(5_000));
        assert_eq!(read.count(Count::Batches), 3);
        assert_eq!(read.rejected(Reject::OverBudget), 1);
        assert_eq!((read.live, read.connections, read.certificate_ends.as_millis()), (2, 4, 5_000));
        assert!(Count::ALL.iter().all(|count| count.help().ends_with('.')), "every count says what it means");
    }

    #[test]
    fn a_bad_frame_is_counted_and_closed_by_its_kind() {
        let frame = |source| TransportError::Frame { source };
        let too_large = frame(CodecError::TooLarge { frame: "metric batch", length: u64::from(u32::MAX), limit: 1 });
        let unknown = frame(CodecError::UnknownVersion { frame: "metric batch", version: 9 });
        let invalid = frame(CodecError::Invalid { what: "a metric name" });
        let torn = TransportError::Truncated { frame: "metric batch" };
        for (error, reject, code) in [
            (too_large, Reject::FrameTooLarge, CloseCode::FrameTooLarge),
            (unknown, Reject::UnknownVersion, CloseCode::UnknownVersion),
            (invalid, Reject::MalformedFrame, CloseCode::ProtocolError),
            (torn, Reject::MalformedFrame, CloseCode::ProtocolError),
            (TransportError::UnknownLane { number: 77 }, Reject::UnknownLane, CloseCode::ProtocolError),
            (TransportError::NoCertificate, Reject::NoIdentity, CloseCode::Unauthorized),
        ] {
            assert_eq!(Reject::of(&error), Some(reject), "{error}");
            assert_eq!(SessionEnd::Refused(reject).code(), code, "{error}");
        }
        assert_eq!(Reject::of(&TransportError::Silent { frame: "hello" }), None, "nobody broke a rule");
    }
}
