use outrigger_protocol::id::{OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub organization: OrganizationId,
    pub name: String,
    pub description: String,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}
