//! `/api/config/environments/{configId}/versions`, `…/diff` and `…/rollback`

use axum::extract::State;
use outrigger_catalog::At;
use outrigger_protocol::id::EnvironmentId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, IdAnd, IfMatch, Mutation, NoParameters, Query};
use crate::shape::change::ChangeRequest;
use crate::shape::environment::{Generation, GenerationWithVariables};
use crate::shape::history::{DiffParameters, Difference, Rollback};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(diff)).routes(routes!(rollback))
}

/// List an environment's generations, newest first
#[utoipa::path(
    operation_id = "listGenerations",
    get, path = "/api/config/environments/{configId}/versions", tag = "variables",
    params(("configId" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<Generation>>), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Generation>>, ApiError> {
    let listing = state.catalog.generations(&actor, id, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Generation::from).collect(), listing.next))
}

/// Show one generation with the variables that the environment itself had; secrets are masked
#[utoipa::path(
    operation_id = "showGeneration",
    get, path = "/api/config/environments/{configId}/versions/{generation}", tag = "variables",
    params(("configId" = String, Path), ("generation" = u64, Path)),
    responses((status = 200, body = Envelope<GenerationWithVariables>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    IdAnd(id, number): IdAnd<EnvironmentId>,
    _: Query<NoParameters>,
) -> Result<Answer<GenerationWithVariables>, ApiError> {
    let number = number.parse().map_err(|_| ApiError::not_found("there is no such generation"))?;
    let (generation, variables) = state.catalog.variables_at(&actor, id, At::Generation(number)).await?;
    Ok(ok(GenerationWithVariables::new(generation, variables)))
}

/// Compare two generations, or an environment with another one; of secrets it only says that they differ
#[utoipa::path(
    operation_id = "diffEnvironments",
    get, path = "/api/config/environments/{configId}/diff", tag = "variables",
    params(("configId" = String, Path), DiffParameters),
    responses((status = 200, body = Envelope<Vec<Difference>>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn diff(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    Query(parameters): Query<DiffParameters>,
) -> Result<Answer<Vec<Difference>>, ApiError> {
    let newest = state.catalog.environment(&actor, id).await?.generation;
    let (from, to, effective) = parameters.sides(id, newest)?;
    let differences = state.catalog.diff(&actor, from, to, effective).await?;
    Ok(ok(differences.into_iter().map(Difference::from).collect()))
}

/// Go back to the variables of an old generation, in a new one
#[utoipa::path(
    operation_id = "rollbackEnvironment",
    post, path = "/api/config/environments/{configId}/rollback", tag = "variables", request_body = Rollback,
    params(("configId" = String, Path), ("If-Match" = Option<String>, Header, description = "The generation that was read")),
    responses(
        (status = 200, body = Envelope<Generation>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
        (status = 409, description = "Somebody changed the environment since", body = Failure),
    ),
)]
async fn rollback(
    State(state): State<ApiState>,
    Id(id): Id<EnvironmentId>,
    IfMatch(if_match): IfMatch,
    request: Mutation<Rollback>,
) -> Result<Answer<Generation>, ApiError> {
    let Rollback { generation, message } = request.body;
    let generation = state.catalog.rollback(&request.actor, id, generation, if_match, message).await?;
    let number = generation.number;
    Ok(ok(Generation::from(generation)).at_generation(number))
}
