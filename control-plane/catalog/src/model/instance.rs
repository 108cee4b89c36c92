use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId, IntentId, JoinTokenId, OrganizationId};
use outrigger_protocol::time::UnixMillis;

/// Where an instance is in its life, as the control plane has written it down. What its agent says right now
/// (connected, ready) lives in memory, in ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstancePhase {
    /// An intent to create it is stored; the driver may or may not have been called.
    Creating,
    Running,
    /// An intent to destroy it is stored.
    Destroying,
    /// Gone. Kept for a while so that history can name it.
    Gone,
}

impl InstancePhase {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Running => "RUNNING",
            Self::Destroying => "DESTROYING",
            Self::Gone => "GONE",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub phase: InstancePhase,
    /// How to reach the program, when it serves (`127.0.0.1:41023`).
    pub endpoint: Option<String>,
    /// The agent that enrolled for it.
    pub agent: Option<AgentId>,
    /// Its sandbox is somebody else's: its agent joined with a token that was made for no instance. It is listed and
    /// watched like the others; no driver made it, so none ends it, and it counts for no replica.
    pub outside: bool,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}

/// The identity that an enrolled agent's certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub instance: InstanceId,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER) in the certificate request.
    pub key_fingerprint: [u8; 32],
    pub revoked: bool,
    pub enrolled_at: UnixMillis,
}

/// A one-time token as the table holds it: the secret only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokenInfo {
    pub id: JoinTokenId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    /// The instance it is for; absent for a sandbox that the control plane did not create: one is made at enrolment.
    pub instance: Option<InstanceId>,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
    pub used_by: Option<AgentId>,
}

/// What is about to be done to the outside, written down before it is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    Create,
    Destroy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Also the idempotency key towards the driver.
    pub id: IntentId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub instance: InstanceId,
    pub kind: IntentKind,
    pub attempts: u32,
    pub created_at: UnixMillis,
}
