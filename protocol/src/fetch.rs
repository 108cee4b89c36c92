//! A person's environment for one call of a program: what `outrigger-agent exec` asks for.
//!
//! There is no identity behind it that lasts: the API token says who asks, and the answer is sealed to a key that is made
//! for the call and forgotten with it.

use std::fmt;

use zeroize::Zeroizing;

use crate::id::{EnvironmentId, ProjectId};
use crate::message::ConfigRef;
use crate::seal::Sealed;

/// Asked on a fetch connection, once.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The person's API token.
    pub token: Zeroizing<String>,
    /// A project's name or id; may be absent where there is only one.
    pub project: Option<String>,
    /// A stage, `stage/name`, or an environment's id.
    pub environment: String,
    /// X25519 public key of this call alone, to which the answer is sealed.
    pub seal_key: [u8; 32],
    pub agent_version: String,
}

impl fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchRequest")
            .field("project", &self.project)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchResponse {
    Lent {
        project: ProjectId,
        environment: EnvironmentId,
        config: ConfigRef,
        /// Sealed to the key of the request for [`FetchContext`](crate::seal::FetchContext).
        sealed: Sealed,
    },
    Refused {
        reason: FetchRefusal,
        message: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchRefusal {
    /// Unknown or expired.
    BadToken,
    /// The token's owner may not have the values of an environment.
    Forbidden,
    /// There is no such project or environment for this token.
    NotFound,
    /// What was named is not one environment, or cannot be understood.
    BadRequest,
    /// Asked too often, or the server drains: try again later.
    TryLater,
}
