//! `/api/admin/keys`

use axum::extract::State;
use outrigger_catalog::Page;
use outrigger_protocol::id::{KeyId, ProjectId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, accepted, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoParameters, Query};
use crate::shape::Problems;
use crate::shape::key::{MasterKey, ProjectKeys, RotateKey, Rotation, Wanted};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(master)).routes(routes!(rotate)).routes(routes!(rotation))
}

/// Which projects' keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// This project's alone.
    project_id: Option<String>,
    /// Most projects to answer: 50 by default, at most 200.
    limit: Option<usize>,
    /// `page.next` of the answer before.
    cursor: Option<String>,
}

/// List the data keys of all projects, with what they are used for
///
/// Counts the rows under each key, which takes time in proportion to them. For the operator.
#[utoipa::path(
    operation_id = "listKeys",
    get, path = "/api/admin/keys", tag = "keys", params(Asked),
    responses(
        (status = 200, body = Envelope<Vec<ProjectKeys>>),
        (status = 403, description = "The caller is not the operator", body = Failure),
    ),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(asked): Query<Asked>,
) -> Result<Answer<Vec<ProjectKeys>>, ApiError> {
    let Asked { project_id, limit, cursor } = asked;
    let mut problems = Problems::default();
    let project: Option<ProjectId> =
        problems.parse("projectId", project_id.as_deref(), "a project's id", |id| id.parse().ok());
    let project = problems.finish(|| project)?;
    if let Some(project) = project {
        return Ok(paged(vec![state.catalog.data_keys_of(&actor, project).await?.into()], None));
    }
    let listing = state.catalog.data_keys_by_project(&actor, Page { limit, cursor }).await?;
    Ok(paged(listing.items.into_iter().map(ProjectKeys::from).collect(), listing.next))
}

/// Show the master key's name, and what becomes of it
#[utoipa::path(
    operation_id = "showMasterKey",
    get, path = "/api/admin/keys/master", tag = "keys",
    responses(
        (status = 200, body = Envelope<MasterKey>),
        (status = 403, description = "The caller is not the operator", body = Failure),
    ),
)]
async fn master(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    _: Query<NoParameters>,
) -> Result<Answer<MasterKey>, ApiError> {
    Ok(ok(state.catalog.master_key(&actor).await?.into()))
}

/// Replace a key
///
/// From the answer on everything is sealed under the new key; what was sealed before is sealed anew in the background.
/// While that goes on, the same rotation is answered again. For the operator.
#[utoipa::path(
    operation_id = "rotateKey",
    post, path = "/api/admin/keys/rotate", tag = "keys", request_body = RotateKey,
    responses(
        (status = 202, body = Envelope<Rotation>),
        (status = 400, body = Failure),
        (status = 403, description = "The caller is not the operator", body = Failure),
        (status = 404, body = Failure),
        (status = 409, description = "There is no new master key, or it is the present one", body = Failure),
    ),
)]
async fn rotate(State(state): State<ApiState>, request: Mutation<RotateKey>) -> Result<Answer<Rotation>, ApiError> {
    let rotation = match request.body.check()? {
        Wanted::Data(project) => state.catalog.rotate_data_key(&request.actor, project).await?,
        Wanted::Master => {
            // Before anything is read on behalf of somebody who may not have it read.
            let shown = state.catalog.master_key(&request.actor).await?;
            match shown.rotation.filter(|rotation| rotation.is_running()) {
                Some(running) => running,
                None => {
                    let next = state.next_master_key.load().await.map_err(ApiError::conflict)?;
                    state.catalog.rotate_master_key(&request.actor, &next).await?
                }
            }
        }
    };
    Ok(accepted(rotation.into()))
}

/// Show how far a rotation is
///
/// Of each key the last one is known.
#[utoipa::path(
    operation_id = "showRotation",
    get, path = "/api/admin/keys/rotations/{id}", tag = "keys", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rotation>),
        (status = 403, description = "The caller is not the operator", body = Failure),
        (status = 404, body = Failure),
    ),
)]
async fn rotation(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<KeyId>,
    _: Query<NoParameters>,
) -> Result<Answer<Rotation>, ApiError> {
    Ok(ok(state.catalog.rotation(&actor, id).await?.into()))
}
