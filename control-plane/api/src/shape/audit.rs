use jiff::Timestamp;
use outrigger_catalog::model::{self, AuditAction};
use serde::Serialize;
use utoipa::ToSchema;

use crate::text::write_time;

/// Who did what to what.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// A user's id, `operator`, `system` or an agent's id.
    actor: String,
    action: &'static str,
    target: String,
    detail: String,
    address: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
}

impl From<model::AuditEntry> for AuditEntry {
    fn from(entry: model::AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            at: write_time(entry.at),
            actor: entry.actor,
            action: match entry.action {
                AuditAction::Create => "create",
                AuditAction::Update => "update",
                AuditAction::Delete => "delete",
                AuditAction::Reveal => "reveal",
                AuditAction::Reload => "reload",
                AuditAction::Scale => "scale",
                AuditAction::Login => "login",
                AuditAction::Enroll => "enroll",
                AuditAction::Failure => "failure",
            },
            target: entry.target,
            detail: entry.detail,
            address: entry.origin.address.map(|address| address.to_string()),
            user_agent: entry.origin.user_agent,
            request_id: entry.origin.request_id,
        }
    }
}
