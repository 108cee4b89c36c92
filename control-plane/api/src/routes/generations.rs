//! `/api/config/environments/{configId}/versions`

use axum::extract::State;
use outrigger_protocol::id::EnvironmentId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, IdAnd, NoParameters, Query};
use crate::shape::environment::Generation;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
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

/// Show one generation
#[utoipa::path(
    operation_id = "showGeneration",
    get, path = "/api/config/environments/{configId}/versions/{generation}", tag = "variables",
    params(("configId" = String, Path), ("generation" = u64, Path)),
    responses((status = 200, body = Envelope<Generation>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    IdAnd(id, number): IdAnd<EnvironmentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Generation>, ApiError> {
    let number = number.parse().map_err(|_| ApiError::not_found("there is no such generation"))?;
    Ok(ok(state.catalog.generation(&actor, id, number).await?.into()))
}
