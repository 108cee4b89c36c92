use outrigger_protocol::id::{OrganizationId, PolicyId};
use outrigger_protocol::time::UnixMillis;

/// An uploaded component. Built-in policies are stored once for everybody, with `organization` absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    pub id: PolicyId,
    pub organization: Option<OrganizationId>,
    /// As the component describes itself.
    pub name: String,
    pub version: String,
    /// SHA-256 of the component.
    pub digest: [u8; 32],
    pub size_bytes: u64,
    /// JSON Schema of its configuration.
    pub config_schema: String,
    pub created_at: UnixMillis,
}
