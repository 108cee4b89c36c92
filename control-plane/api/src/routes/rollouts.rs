//! `/api/deployments/{id}/rollouts` and `/api/rollouts`

use axum::extract::State;
use outrigger_protocol::id::{DeploymentId, RolloutId};
use outrigger_rollout::Command;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoBody, NoParameters, Query};
use crate::repeat::once;
use crate::shape::rollout::{Promotion, Rollout};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(promote))
        .routes(routes!(abort))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(override_gates))
}

/// List a deployment's rollouts, newest first
#[utoipa::path(
    operation_id = "listRollouts",
    get, path = "/api/deployments/{id}/rollouts", tag = "rollouts", params(("id" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<Rollout>>), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Rollout>>, ApiError> {
    let listing = state.catalog.rollouts(&actor, id, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Rollout::from).collect(), listing.next))
}

/// Show a rollout with its timeline
#[utoipa::path(
    operation_id = "showRollout",
    get, path = "/api/rollouts/{id}", tag = "rollouts", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Rollout>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<RolloutId>,
    _: Query<NoParameters>,
) -> Result<Answer<Rollout>, ApiError> {
    Ok(ok(Rollout::told(state.engine.rollout(&actor, id).await?)))
}

/// Go on to the next step, or to the last, without waiting for the gate
#[utoipa::path(
    operation_id = "promoteRollout",
    post, path = "/api/rollouts/{id}/promote", tag = "rollouts", params(("id" = String, Path)), request_body = Promotion,
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 409, description = "It is paused, has failed a gate, goes back or has ended", body = Failure),
    ),
)]
async fn promote(
    State(state): State<ApiState>,
    Id(id): Id<RolloutId>,
    request: Mutation<Promotion>,
) -> Result<Answer<Value>, ApiError> {
    let Mutation { actor, body } = request;
    let reach = body.check()?;
    command(&state, Mutation { actor, body: NoBody {} }, "promote rollout", id, Command::Promote(reach)).await
}

/// Roll back
#[utoipa::path(
    operation_id = "abortRollout",
    post, path = "/api/rollouts/{id}/abort", tag = "rollouts", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 404, body = Failure),
        (status = 409, description = "It goes back already, or has ended", body = Failure),
    ),
)]
async fn abort(
    State(state): State<ApiState>,
    Id(id): Id<RolloutId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    command(&state, request, "abort rollout", id, Command::Abort).await
}

/// Take no further step until it is resumed; what fails meanwhile is rolled back
#[utoipa::path(
    operation_id = "pauseRollout",
    post, path = "/api/rollouts/{id}/pause", tag = "rollouts", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 404, body = Failure),
        (status = 409, description = "It is paused or held, goes back or has ended", body = Failure),
    ),
)]
async fn pause(
    State(state): State<ApiState>,
    Id(id): Id<RolloutId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    command(&state, request, "pause rollout", id, Command::Pause).await
}

/// Go on with a paused rollout
#[utoipa::path(
    operation_id = "resumeRollout",
    post, path = "/api/rollouts/{id}/resume", tag = "rollouts", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 404, body = Failure),
        (status = 409, description = "It is not paused", body = Failure),
    ),
)]
async fn resume(
    State(state): State<ApiState>,
    Id(id): Id<RolloutId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    command(&state, request, "resume rollout", id, Command::Resume).await
}

/// Go on although a gate has failed, or whatever the gates will say
#[utoipa::path(
    operation_id = "overrideRollout",
    post, path = "/api/rollouts/{id}/override", tag = "rollouts", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 404, body = Failure),
        (status = 409, description = "It is overridden already, goes back or has ended", body = Failure),
    ),
)]
async fn override_gates(
    State(state): State<ApiState>,
    Id(id): Id<RolloutId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    command(&state, request, "override rollout", id, Command::Override).await
}

/// Carries out what a person wants, and answers where the rollout stands then.
async fn command(
    state: &ApiState,
    request: Mutation<NoBody>,
    operation: &'static str,
    id: RolloutId,
    command: Command,
) -> Result<Answer<Value>, ApiError> {
    once(state, &request.actor, operation, async |actor| {
        Ok(Rollout::standing(state.engine.command_rollout(&actor, id, command).await?))
    })
    .await
}
