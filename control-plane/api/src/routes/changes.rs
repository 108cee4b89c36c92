//! `/api/config/…/changes`

use axum::extract::State;
use outrigger_protocol::id::{ChangeId, EnvironmentId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoParameters, Query};
use crate::shape::change::{Approval, ChangeRequest, Rejection};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(approve)).routes(routes!(reject))
}

/// List the changes of an environment that await approval, oldest first
#[utoipa::path(
    operation_id = "listChanges",
    get, path = "/api/config/environments/{configId}/changes", tag = "changes", params(("configId" = String, Path)),
    responses((status = 200, body = Envelope<Vec<ChangeRequest>>), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Vec<ChangeRequest>>, ApiError> {
    let found = state.catalog.change_requests(&actor, id).await?;
    Ok(ok(found.into_iter().map(ChangeRequest::from).collect()))
}

/// Show a change that awaits approval, or what became of it; secrets are only said to be different
#[utoipa::path(
    operation_id = "showChange",
    get, path = "/api/config/changes/{changeId}", tag = "changes", params(("changeId" = String, Path)),
    responses((status = 200, body = Envelope<ChangeRequest>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<ChangeId>,
    _: Query<NoParameters>,
) -> Result<Answer<ChangeRequest>, ApiError> {
    Ok(ok(state.catalog.change_request(&actor, id).await?.into()))
}

/// Publish a change that somebody else asked for
#[utoipa::path(
    operation_id = "approveChange",
    post, path = "/api/config/changes/{changeId}/approve", tag = "changes", params(("changeId" = String, Path)),
    request_body = Approval,
    responses(
        (status = 200, body = Envelope<ChangeRequest>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 409, description = "It is one's own, decided, expired, or what it touches was changed since", body = Failure),
    ),
)]
async fn approve(
    State(state): State<ApiState>,
    Id(id): Id<ChangeId>,
    request: Mutation<Approval>,
) -> Result<Answer<ChangeRequest>, ApiError> {
    Ok(ok(state.catalog.approve_change(&request.actor, id, request.body.into()).await?.into()))
}

/// Say no to a change, or take one's own back
#[utoipa::path(
    operation_id = "rejectChange",
    post, path = "/api/config/changes/{changeId}/reject", tag = "changes", params(("changeId" = String, Path)),
    request_body = Rejection,
    responses(
        (status = 200, body = Envelope<ChangeRequest>), (status = 404, body = Failure),
        (status = 409, description = "It is decided, or has expired", body = Failure),
    ),
)]
async fn reject(
    State(state): State<ApiState>,
    Id(id): Id<ChangeId>,
    request: Mutation<Rejection>,
) -> Result<Answer<ChangeRequest>, ApiError> {
    Ok(ok(state.catalog.reject_change(&request.actor, id, request.body.reason).await?.into()))
}
