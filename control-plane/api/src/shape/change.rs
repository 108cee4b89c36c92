//! Changes that await approval.

use jiff::Timestamp;
use outrigger_catalog::model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::history::Difference;
use crate::envelope::now;
use crate::text::write_time;

/// Which changes somebody else than their author has to approve.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protection {
    /// Those of this risk and above: low, medium or high
    #[schema(example = "medium")]
    pub(crate) from: String,
}

impl From<model::Risk> for Protection {
    fn from(risk: model::Risk) -> Self {
        Self { from: risk.name().to_owned() }
    }
}

/// A change that is published once somebody else than its author approves it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeRequest {
    id: String,
    /// open, approved, overridden, rejected, withdrawn or expired
    status: &'static str,
    project_id: String,
    environment_id: String,
    /// variables, import, replacement, rollback or environment
    kind: &'static str,
    author: String,
    message: String,
    /// The generation that it was made on.
    base_generation: u64,
    /// low, medium or high
    risk: &'static str,
    /// Every rule that says so.
    reasons: Vec<RiskReason>,
    /// The role that whoever approves it has to have.
    approver_role: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    decision: Option<Decision>,
    /// What it would change. Not told in lists, nor once it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<Review>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RiskReason {
    risk: &'static str,
    reason: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Decision {
    by: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    reason: String,
    /// The generation that it was published as.
    generation: Option<u64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Review {
    /// Of the variables as they are now.
    differences: Vec<Difference>,
    /// Of the environment itself.
    environment: Vec<FieldChange>,
    /// What it would change that somebody has changed since: with any of them it cannot be approved.
    outdated: Vec<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldChange {
    field: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl From<model::ChangeRequest> for ChangeRequest {
    fn from(request: model::ChangeRequest) -> Self {
        let expires_at = write_time(request.expires_at);
        let status = match &request.decision {
            Some(decision) => decision.outcome.name(),
            None if expires_at <= now() => "expired",
            None => "open",
        };
        let decision = |decision: model::ChangeDecision| Decision {
            by: decision.by,
            at: write_time(decision.at),
            reason: decision.reason,
            generation: decision.outcome.generation(),
        };
        let reason = |reason: model::RiskReason| RiskReason { risk: reason.risk.name(), reason: reason.text };
        Self {
            id: request.id.to_string(),
            status,
            project_id: request.project.to_string(),
            environment_id: request.environment.to_string(),
            kind: request.kind.name(),
            author: request.author,
            message: request.message,
            base_generation: request.base,
            risk: request.risk.name(),
            reasons: request.reasons.into_iter().map(reason).collect(),
            approver_role: request.approver.name(),
            created_at: write_time(request.created_at),
            expires_at,
            decision: request.decision.map(decision),
            review: None,
        }
    }
}

impl From<model::ReviewedChange> for ChangeRequest {
    fn from(reviewed: model::ReviewedChange) -> Self {
        let model::ReviewedChange { request, differences, fields, outdated } = reviewed;
        let is_decided = request.decision.is_some();
        let field = |model::FieldChange { field, before, after }| FieldChange { field, before, after };
        let review = Review {
            differences: differences.into_iter().map(Difference::from).collect(),
            environment: fields.into_iter().map(field).collect(),
            outdated,
        };
        Self { review: (!is_decided).then_some(review), ..request.into() }
    }
}

/// How somebody approves a change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// Why, for the audit log.
    #[serde(default)]
    reason: String,
    /// Without anybody else, because it cannot wait: owners only, and with a reason.
    #[serde(default, rename = "override")]
    is_override: bool,
}

impl From<Approval> for outrigger_catalog::Approval {
    fn from(Approval { reason, is_override }: Approval) -> Self {
        Self { reason, is_override }
    }
}

/// Why a change is not to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejection {
    /// Why, for the audit log.
    #[serde(default)]
    pub(crate) reason: String,
}
