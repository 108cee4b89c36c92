//! `/api/config/…/environments`

use axum::extract::State;
use outrigger_protocol::id::{EnvironmentId, ProjectId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Done, Envelope, created, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoBody, NoParameters, Query};
use crate::shape::change::ChangeRequest;
use crate::shape::environment::{Environment, EnvironmentChange, NewEnvironment};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

/// List a project's environments
#[utoipa::path(
    operation_id = "listEnvironments",
    get, path = "/api/config/projects/{projectId}/environments", tag = "environments",
    params(("projectId" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<Environment>>), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(project): Id<ProjectId>,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Environment>>, ApiError> {
    let listing = state.catalog.list_environments(&actor, project, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Environment::from).collect(), listing.next))
}

/// Create an environment
#[utoipa::path(
    operation_id = "createEnvironment",
    post, path = "/api/config/projects/{projectId}/environments", tag = "environments",
    params(("projectId" = String, Path)), request_body = NewEnvironment,
    responses(
        (status = 201, body = Envelope<Environment>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 409, description = "The project has an environment of this name", body = Failure),
    ),
)]
async fn create(
    State(state): State<ApiState>,
    Id(project): Id<ProjectId>,
    request: Mutation<NewEnvironment>,
) -> Result<Answer<Environment>, ApiError> {
    let environment = state.catalog.create_environment(&request.actor, request.body.check(project)?).await?;
    Ok(created(environment.into()))
}

/// Show an environment
#[utoipa::path(
    operation_id = "showEnvironment",
    get, path = "/api/config/environments/{configId}", tag = "environments", params(("configId" = String, Path)),
    responses((status = 200, body = Envelope<Environment>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Environment>, ApiError> {
    let environment = state.catalog.environment(&actor, id).await?;
    let generation = environment.generation;
    Ok(ok(Environment::from(environment)).at_generation(generation))
}

/// Change what an environment is called, is for and extends, or which of its changes have to be approved
#[utoipa::path(
    operation_id = "updateEnvironment",
    put, path = "/api/config/environments/{configId}", tag = "environments", params(("configId" = String, Path)),
    request_body = EnvironmentChange,
    responses(
        (status = 200, body = Envelope<Environment>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
    ),
)]
async fn update(
    State(state): State<ApiState>,
    Id(id): Id<EnvironmentId>,
    request: Mutation<EnvironmentChange>,
) -> Result<Answer<Environment>, ApiError> {
    let update = request.body.check()?;
    Ok(ok(state.catalog.update_environment(&request.actor, id, update).await?.into()))
}

/// Delete an environment that nothing uses
#[utoipa::path(
    operation_id = "deleteEnvironment",
    delete, path = "/api/config/environments/{configId}", tag = "environments", params(("configId" = String, Path)),
    responses(
        (status = 200, body = Envelope<Done>), (status = 404, body = Failure),
        (status = 409, description = "A deployment uses it, or an environment extends or refers to it", body = Failure),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    Id(id): Id<EnvironmentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Done>, ApiError> {
    state.catalog.delete_environment(&request.actor, id).await?;
    Ok(ok(Done {}))
}
