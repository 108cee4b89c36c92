//! `/api/policies`

use axum::extract::{DefaultBodyLimit, State};
use outrigger_protocol::id::PolicyId;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Done, Envelope, created, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{BinaryMutation, Id, Mutation, NoBody, NoParameters, Query};
use crate::layers::COMPONENT_BODY_BYTES;
use crate::shape::policy::{Evaluate, Evaluation, Policy};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, upload).layer(DefaultBodyLimit::max(COMPONENT_BODY_BYTES)))
        .routes(routes!(show, delete))
        .routes(routes!(evaluate))
}

/// List the policies that deployments can use
#[utoipa::path(
    operation_id = "listPolicies",
    get, path = "/api/policies", tag = "policies",
    responses((status = 200, body = Envelope<Vec<Policy>>), (status = 401, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    _: Query<NoParameters>,
) -> Result<Answer<Vec<Policy>>, ApiError> {
    let policies = state.catalog.policies(&actor).await?;
    Ok(ok(policies.into_iter().map(Policy::from).collect()))
}

/// Upload a policy component; it is compiled and asked to describe itself before it is kept
#[utoipa::path(
    operation_id = "uploadPolicy",
    post, path = "/api/policies", tag = "policies",
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A component of outrigger:policy"),
    responses(
        (status = 201, body = Envelope<Policy>), (status = 400, body = Failure),
        (status = 413, body = Failure), (status = 415, body = Failure),
    ),
)]
async fn upload(State(state): State<ApiState>, request: BinaryMutation) -> Result<Answer<Policy>, ApiError> {
    let policy = state.engine.upload_policy(&request.actor, request.body).await?;
    Ok(created(policy.into()))
}

/// Show a policy with the schema of its configuration
#[utoipa::path(
    operation_id = "showPolicy",
    get, path = "/api/policies/{id}", tag = "policies", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Policy>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<PolicyId>,
    _: Query<NoParameters>,
) -> Result<Answer<Policy>, ApiError> {
    Ok(ok(state.catalog.policy(&actor, id).await?.into()))
}

/// Delete a policy that no deployment uses
#[utoipa::path(
    operation_id = "deletePolicy",
    delete, path = "/api/policies/{id}", tag = "policies", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Done>), (status = 404, body = Failure),
        (status = 409, description = "A deployment uses it", body = Failure),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    Id(id): Id<PolicyId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Done>, ApiError> {
    state.catalog.delete_policy(&request.actor, id).await?;
    Ok(ok(Done {}))
}

/// Ask a policy what it would propose; nothing is acted on
#[utoipa::path(
    operation_id = "evaluatePolicy",
    post, path = "/api/policies/{id}/evaluate", tag = "policies", params(("id" = String, Path)), request_body = Evaluate,
    responses((status = 200, body = Envelope<Evaluation>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn evaluate(
    State(state): State<ApiState>,
    Id(id): Id<PolicyId>,
    request: Mutation<Evaluate>,
) -> Result<Answer<Evaluation>, ApiError> {
    let Evaluate { config, input } = request.body;
    let config = serde_json::Value::Object(config).to_string();
    let evaluation = state.engine.evaluate_policy(&request.actor, id, &config, &input.to_string()).await?;
    let (proposal, fault) = match evaluation.outcome {
        Ok(proposal) => (Some(outrigger_policy_host::json::proposal_to_json(&proposal)), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    Ok(ok(Evaluation {
        proposal,
        fault,
        fuel: evaluation.fuel,
        elapsed_us: u64::try_from(evaluation.elapsed.as_micros()).unwrap_or(u64::MAX),
        log: evaluation.log.lines.into_iter().map(|line| line.message).collect(),
    }))
}
