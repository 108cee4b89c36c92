//! `/api/projects`

use axum::extract::State;
use outrigger_protocol::id::ProjectId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Done, Envelope, created, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoBody, NoParameters, Query};
use crate::shape::project::{NewProject, Project};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete))
}

impl From<NewProject> for outrigger_catalog::NewProject {
    fn from(project: NewProject) -> Self {
        Self { name: project.name, description: project.description }
    }
}

/// List the projects
#[utoipa::path(
    operation_id = "listProjects",
    get, path = "/api/projects", tag = "projects", params(Paging),
    responses((status = 200, body = Envelope<Vec<Project>>), (status = 401, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Project>>, ApiError> {
    let listing = state.catalog.list_projects(&actor, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Project::from).collect(), listing.next))
}

/// Create a project
#[utoipa::path(
    operation_id = "createProject",
    post, path = "/api/projects", tag = "projects", request_body = NewProject,
    responses((status = 201, body = Envelope<Project>), (status = 400, body = Failure), (status = 401, body = Failure)),
)]
async fn create(State(state): State<ApiState>, request: Mutation<NewProject>) -> Result<Answer<Project>, ApiError> {
    let project = state.catalog.create_project(&request.actor, request.body.into()).await?;
    Ok(created(project.into()))
}

/// Show a project
#[utoipa::path(
    operation_id = "showProject",
    get, path = "/api/projects/{id}", tag = "projects", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Project>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<ProjectId>,
    _: Query<NoParameters>,
) -> Result<Answer<Project>, ApiError> {
    Ok(ok(state.catalog.project(&actor, id).await?.into()))
}

/// Replace a project's name and description
#[utoipa::path(
    operation_id = "updateProject",
    put, path = "/api/projects/{id}", tag = "projects", params(("id" = String, Path)), request_body = NewProject,
    responses((status = 200, body = Envelope<Project>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn update(
    State(state): State<ApiState>,
    Id(id): Id<ProjectId>,
    request: Mutation<NewProject>,
) -> Result<Answer<Project>, ApiError> {
    let NewProject { name, description } = request.body;
    let update = outrigger_catalog::ProjectUpdate { name: Some(name), description: Some(description) };
    Ok(ok(state.catalog.update_project(&request.actor, id, update).await?.into()))
}

/// Delete a project without deployments, and destroy the key of its secrets
#[utoipa::path(
    operation_id = "deleteProject",
    delete, path = "/api/projects/{id}", tag = "projects", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Done>),
        (status = 404, body = Failure),
        (status = 409, description = "It still has deployments", body = Failure),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    Id(id): Id<ProjectId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Done>, ApiError> {
    state.catalog.delete_project(&request.actor, id).await?;
    Ok(ok(Done {}))
}
