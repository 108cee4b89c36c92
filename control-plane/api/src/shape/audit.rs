use jiff::Timestamp;
use outrigger_catalog::model;
use serde::Serialize;
use utoipa::ToSchema;

use crate::text::{write_hex, write_time};

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
    /// The id of the token that the caller showed.
    session: Option<String>,
    project_id: Option<String>,
    /// A fingerprint of the value before the change. Equal fingerprints of one target are equal values.
    before: Option<String>,
    /// A fingerprint of the value after the change.
    after: Option<String>,
}

impl From<model::AuditEntry> for AuditEntry {
    fn from(entry: model::AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            at: write_time(entry.at),
            actor: entry.actor,
            action: entry.action.name(),
            target: entry.target,
            detail: entry.detail,
            address: entry.origin.address.map(|address| address.to_string()),
            user_agent: entry.origin.user_agent,
            request_id: entry.origin.request_id,
            session: entry.origin.session.map(|session| session.to_string()),
            project_id: entry.project.map(|project| project.to_string()),
            before: entry.before.map(|print| print.to_string()),
            after: entry.after.map(|print| print.to_string()),
        }
    }
}

/// Whether the audit log is what was written.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditVerification {
    valid: bool,
    /// Entries that are there and in order, from the oldest on.
    entries: u64,
    /// How many of them were written before entries were chained, and cannot be verified.
    before_chain: u64,
    /// The hash of the last entry. Kept elsewhere, it is a witness against an old copy of the whole database.
    head: Option<String>,
    fault: Option<AuditFault>,
}

/// The first thing that is wrong with an audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditFault {
    /// The entry, counted from 0 at the oldest; absent when the log's end as such is wrong.
    position: Option<u64>,
    problem: String,
}

impl From<outrigger_catalog::AuditVerification> for AuditVerification {
    fn from(found: outrigger_catalog::AuditVerification) -> Self {
        Self {
            valid: found.fault.is_none(),
            entries: found.entries,
            before_chain: found.before_chain,
            head: found.head.map(|digest| write_hex(&digest)),
            fault: found.fault.map(|fault| AuditFault { position: fault.position(), problem: fault.to_string() }),
        }
    }
}
