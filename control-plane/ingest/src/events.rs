//! What others may want to know, told as it happens. A slow reader misses events, never holds anybody up: whatever must
//! not be missed can also be read as state.

use std::sync::Arc;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId, JoinTokenId};
use outrigger_protocol::message::{ApplyState, ConfigStatus, ProgramState};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::CloseCode;

use crate::health::InstanceHealth;
use crate::stats::Reject;

/// Events that are kept for a reader that is behind: what two thousand agents tell in some seconds, each of which is asked
/// for something all the time and answers an offer besides. About 4 MiB.
pub(crate) const BACKLOG: usize = 16 * 1024;

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEnd {
    /// The agent said goodbye.
    Left {
        reason: String,
    },
    /// The connection is gone: a crash, a cut, a close.
    Lost,
    /// Nothing was heard for too long.
    Unresponsive,
    /// The same agent connected again.
    Replaced,
    Revoked,
    CertificateExpired,
    /// This server goes down.
    Drained,
    /// The agent broke a rule.
    Refused(Reject),
    /// This side failed.
    Internal,
}

impl SessionEnd {
    /// With which code the connection is closed.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::Left { .. } | Self::Lost => CloseCode::Normal,
            Self::Unresponsive => CloseCode::Unresponsive,
            Self::Replaced => CloseCode::Replaced,
            Self::Revoked => CloseCode::Revoked,
            Self::CertificateExpired => CloseCode::CertificateExpired,
            Self::Drained => CloseCode::Drain,
            Self::Internal => CloseCode::Internal,
            Self::Refused(reject) => match reject {
                Reject::OverBudget | Reject::Full => CloseCode::Overloaded,
                Reject::UnknownAgent | Reject::NoIdentity => CloseCode::Unauthorized,
                Reject::Revoked => CloseCode::Revoked,
                Reject::Overtaken => CloseCode::Replaced,
                Reject::NoHello => CloseCode::Unresponsive,
                Reject::FrameTooLarge => CloseCode::FrameTooLarge,
                Reject::UnknownVersion => CloseCode::UnknownVersion,
                _ => CloseCode::ProtocolError,
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// An agent has its place, and its welcome is on its way. Comes before everything that it says in this session.
    AgentConnected {
        deployment: DeploymentId,
        instance: InstanceId,
        agent: AgentId,
        /// What it says of itself.
        status: ConfigStatus,
        program: ProgramState,
    },
    /// Comes after the [`AgentConnected`](Self::AgentConnected) of the session that ended and before the next one. A session
    /// that was replaced by the agent's next one ends without.
    AgentLost {
        deployment: DeploymentId,
        instance: InstanceId,
        agent: AgentId,
        end: SessionEnd,
    },
    Program {
        deployment: DeploymentId,
        instance: InstanceId,
        state: ProgramState,
    },
    ConfigReport {
        deployment: DeploymentId,
        instance: InstanceId,
        state: ApplyState,
        status: ConfigStatus,
    },
    /// A probe has changed: its verdict, or how often it has failed in a row.
    Probes {
        deployment: DeploymentId,
        instance: InstanceId,
        health: Arc<InstanceHealth>,
    },
    /// Requests that an instance has done with, counted once: from one accepted batch of samples, and only when there
    /// were any. The times are this server's, and those of one instance never overlap.
    Traffic {
        deployment: DeploymentId,
        instance: InstanceId,
        since: UnixMillis,
        until: UnixMillis,
        /// Answered, or failed without an answer.
        requests: u64,
        /// Answers of class 5xx and upstream failures; at most `requests`.
        errors: u64,
        latency: Arc<LatencyHistogram>,
    },
    /// Somebody showed a token that another key had used. The catalog has it in the audit log.
    TokenMisused {
        token: JoinTokenId,
    },
}
