//! `/api/deployments`, its life cycle and its policies.

use axum::extract::State;
use outrigger_catalog::model::{Actor, Stage};
use outrigger_engine::DeploymentView;
use outrigger_protocol::id::{DeploymentId, EnvironmentId, PolicyId, ProjectId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Done, Envelope, created, ok, paged};
use crate::error::{ApiError, Detail, Failure};
use crate::extract::{Id, IdAnd, Mutation, NoBody, NoParameters, Query};
use crate::repeat::once;
use crate::shape::deployment::{Deployment, NewDeployment, PolicyBindingBody, Resolved, Scale, Status};
use crate::shape::environment::parse_stage;
use crate::shape::rollout::Rollout;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, delete))
        .routes(routes!(status))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(scale))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(reload))
        .routes(routes!(bind_policy, unbind_policy))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only deployments of this project.
    project_id: Option<String>,
    /// Most items to answer: 50 by default, at most 200.
    limit: Option<usize>,
    /// `page.next` of the answer before.
    cursor: Option<String>,
}

/// A deployment as it is stored, with how many of its instances serve.
async fn shown(
    state: &ApiState,
    actor: &Actor,
    deployment: outrigger_catalog::model::Deployment,
) -> Result<Deployment, ApiError> {
    let ready = state.engine.status(actor, deployment.id).await?.ready;
    Ok(Deployment::new(deployment, ready))
}

/// List the deployments
#[utoipa::path(
    operation_id = "listDeployments",
    get, path = "/api/deployments", tag = "deployments", params(Filter),
    responses((status = 200, body = Envelope<Vec<Deployment>>), (status = 401, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(filter): Query<Filter>,
) -> Result<Answer<Vec<Deployment>>, ApiError> {
    let project = filter.project_id.as_deref().map(|text| parse("projectId", text)).transpose()?;
    let page = outrigger_catalog::Page { limit: filter.limit, cursor: filter.cursor };
    let listing = state.catalog.list_deployments(&actor, project, page).await?;
    let mut deployments = Vec::with_capacity(listing.items.len());
    for deployment in listing.items {
        deployments.push(shown(&state, &actor, deployment).await?);
    }
    Ok(paged(deployments, listing.next))
}

/// Create a deployment; it does not run until it is started
#[utoipa::path(
    operation_id = "createDeployment",
    post, path = "/api/deployments", tag = "deployments", request_body = NewDeployment,
    responses((status = 201, body = Envelope<Deployment>), (status = 400, body = Failure), (status = 401, body = Failure)),
)]
async fn create(
    State(state): State<ApiState>,
    request: Mutation<NewDeployment>,
) -> Result<Answer<Deployment>, ApiError> {
    let resolved = resolve(&state, &request.actor, &request.body).await?;
    let spec = request.body.check(resolved)?;
    state.engine.check_spec(&request.actor, &spec).await?;
    let deployment = state.catalog.create_deployment(&request.actor, spec).await?;
    Ok(created(shown(&state, &request.actor, deployment).await?))
}

/// Show a deployment
#[utoipa::path(
    operation_id = "showDeployment",
    get, path = "/api/deployments/{id}", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Deployment>, ApiError> {
    let view = state.engine.status(&actor, id).await?;
    Ok(ok(Deployment::new(view.deployment, view.ready)))
}

/// Replace a deployment's specification; new instances use it, running ones keep what they started with
#[utoipa::path(
    operation_id = "updateDeployment",
    put, path = "/api/deployments/{id}", tag = "deployments", params(("id" = String, Path)), request_body = NewDeployment,
    responses(
        (status = 200, body = Envelope<Deployment>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 409, body = Failure),
    ),
)]
async fn update(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NewDeployment>,
) -> Result<Answer<Deployment>, ApiError> {
    // Whether it is there comes before what is wrong with the request.
    state.catalog.deployment(&request.actor, id).await?;
    let resolved = resolve(&state, &request.actor, &request.body).await?;
    let spec = request.body.check(resolved)?;
    state.engine.check_spec(&request.actor, &spec).await?;
    let deployment = state.catalog.update_deployment(&request.actor, id, spec).await?;
    Ok(ok(shown(&state, &request.actor, deployment).await?))
}

/// Delete a deployment that does not run
#[utoipa::path(
    operation_id = "deleteDeployment",
    delete, path = "/api/deployments/{id}", tag = "deployments", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Done>), (status = 404, body = Failure),
        (status = 409, description = "It runs; stop it first", body = Failure),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Done>, ApiError> {
    state.engine.delete(&request.actor, id).await?;
    Ok(ok(Done {}))
}

/// How a deployment is doing
#[utoipa::path(
    operation_id = "showDeploymentStatus",
    get, path = "/api/deployments/{id}/status", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Status>), (status = 404, body = Failure)),
)]
async fn status(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Status>, ApiError> {
    let DeploymentView { deployment, ready, instances, rollout } = state.engine.status(&actor, id).await?;
    let last = state.catalog.latest_decision(deployment.organization, id).await?;
    let connected = instances.iter().filter(|one| one.live.as_ref().is_some_and(|live| live.connected)).count();
    Ok(ok(Status {
        deployment_id: id.to_string(),
        status: deployment.status.name(),
        status_reason: deployment.status_reason,
        desired_replicas: deployment.desired_replicas,
        ready_replicas: ready,
        connected_replicas: u32::try_from(connected).unwrap_or(u32::MAX),
        paused: deployment.paused,
        rollout: rollout.as_ref().map(|view| Rollout::from(view.rollout.clone())),
        config: rollout.map(Into::into),
        metrics: super::metrics::now(&state, id),
        last_decision: last.map(Into::into),
    }))
}

/// Start a deployment's instances
#[utoipa::path(
    operation_id = "startDeployment",
    post, path = "/api/deployments/{id}/start", tag = "deployments", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Deployment>), (status = 404, body = Failure),
        (status = 400, description = "Required variables have no value", body = Failure), (status = 409, body = Failure),
    ),
)]
async fn start(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    once(&state, &request.actor, "start deployment", async |actor| {
        let deployment = state.engine.start_deployment(&actor, id).await?;
        shown(&state, &actor, deployment).await
    })
    .await
}

/// Stop all of a deployment's instances
#[utoipa::path(
    operation_id = "stopDeployment",
    post, path = "/api/deployments/{id}/stop", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 404, body = Failure), (status = 409, body = Failure)),
)]
async fn stop(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    once(&state, &request.actor, "stop deployment", async |actor| {
        let deployment = state.engine.stop_deployment(&actor, id).await?;
        shown(&state, &actor, deployment).await
    })
    .await
}

/// Set the number of replicas by hand, within the deployment's bounds
#[utoipa::path(
    operation_id = "scaleDeployment",
    post, path = "/api/deployments/{id}/scale", tag = "deployments", params(("id" = String, Path)), request_body = Scale,
    responses(
        (status = 200, body = Envelope<Deployment>), (status = 400, body = Failure), (status = 404, body = Failure),
        (status = 409, description = "It does not run", body = Failure),
    ),
)]
async fn scale(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<Scale>,
) -> Result<Answer<Value>, ApiError> {
    let Scale { replicas, reason } = request.body;
    once(&state, &request.actor, "scale deployment", async |actor| {
        let deployment = state.engine.scale(&actor, id, replicas, &reason).await?;
        shown(&state, &actor, deployment).await
    })
    .await
}

/// Leave the number of replicas as it is until it is resumed
#[utoipa::path(
    operation_id = "pauseDeployment",
    post, path = "/api/deployments/{id}/pause", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 404, body = Failure)),
)]
async fn pause(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Deployment>, ApiError> {
    let deployment = state.engine.pause(&request.actor, id).await?;
    Ok(ok(shown(&state, &request.actor, deployment).await?))
}

/// Scale by policies again
#[utoipa::path(
    operation_id = "resumeDeployment",
    post, path = "/api/deployments/{id}/resume", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 404, body = Failure)),
)]
async fn resume(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Deployment>, ApiError> {
    let deployment = state.engine.resume(&request.actor, id).await?;
    Ok(ok(shown(&state, &request.actor, deployment).await?))
}

/// Push the newest configuration to the instances now; who did not answer it is asked again
#[utoipa::path(
    operation_id = "reloadConfiguration",
    post, path = "/api/config/deployments/{id}/reload", tag = "deployments", params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Rollout>), (status = 404, body = Failure),
        (status = 409, description = "It is not RUNNING", body = Failure),
    ),
)]
async fn reload(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Value>, ApiError> {
    once(&state, &request.actor, "reload configuration", async |actor| {
        Ok(Rollout::standing(state.engine.push_config(&actor, id).await?))
    })
    .await
}

/// Let a policy take part, or change how it does
#[utoipa::path(
    operation_id = "bindPolicy",
    put, path = "/api/deployments/{id}/policies/{name}", tag = "policies", request_body = PolicyBindingBody,
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn bind_policy(
    State(state): State<ApiState>,
    IdAnd(id, name): IdAnd<DeploymentId>,
    request: Mutation<PolicyBindingBody>,
) -> Result<Answer<Deployment>, ApiError> {
    state.catalog.deployment(&request.actor, id).await?;
    let policy = policy_id(&state, &request.actor, "policyId", &request.body.policy_id).await?;
    let binding = request.body.check(name, policy)?;
    state.engine.check_binding(&request.actor, &binding).await?;
    let deployment = state.catalog.bind_policy(&request.actor, id, binding).await?;
    Ok(ok(shown(&state, &request.actor, deployment).await?))
}

/// Remove a policy from a deployment
#[utoipa::path(
    operation_id = "unbindPolicy",
    delete, path = "/api/deployments/{id}/policies/{name}", tag = "policies",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Envelope<Deployment>), (status = 404, body = Failure)),
)]
async fn unbind_policy(
    State(state): State<ApiState>,
    IdAnd(id, name): IdAnd<DeploymentId>,
    request: Mutation<NoBody>,
) -> Result<Answer<Deployment>, ApiError> {
    let deployment = state.catalog.unbind_policy(&request.actor, id, &name).await?;
    Ok(ok(shown(&state, &request.actor, deployment).await?))
}

/// Finds what the request names: the project, the environment (by id or by stage), the policies (by id or name).
async fn resolve(state: &ApiState, actor: &Actor, request: &NewDeployment) -> Result<Resolved, ApiError> {
    let project: ProjectId = parse("projectId", &request.project_id)?;
    let environment = environment_id(state, actor, project, &request.environment).await?;
    let mut policies = Vec::with_capacity(request.policies.len());
    for (at, binding) in request.policies.iter().enumerate() {
        policies.push(policy_id(state, actor, &format!("policies[{at}].policyId"), &binding.policy_id).await?);
    }
    Ok(Resolved { project, environment, policies })
}

fn parse<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::validation(vec![Detail::new(field, "is not such an id")]))
}

async fn environment_id(
    state: &ApiState,
    actor: &Actor,
    project: ProjectId,
    wanted: &str,
) -> Result<EnvironmentId, ApiError> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let problem = |text: String| ApiError::validation(vec![Detail::new("environment", text)]);
    let Some(stage) = parse_stage(wanted) else {
        return Err(problem("has to be an environment's id, or one of development, staging, production".to_owned()));
    };
    let environments = all_environments(state, actor, project).await?;
    let active: Vec<_> = environments.iter().filter(|e| e.stage == stage && e.is_active).collect();
    match active.as_slice() {
        [only] => Ok(only.id),
        [] => Err(problem(format!("the project has no active {} environment", Stage::name(stage)))),
        several => {
            let named: Vec<String> = several.iter().map(|e| format!("{} ({})", e.name, e.id)).collect();
            Err(problem(format!("the project has several, name one by its id: {}", named.join(", "))))
        }
    }
}

async fn all_environments(
    state: &ApiState,
    actor: &Actor,
    project: ProjectId,
) -> Result<Vec<outrigger_catalog::model::Environment>, ApiError> {
    let mut environments = Vec::new();
    let mut page = outrigger_catalog::Page { limit: Some(outrigger_catalog::MAX_LIMIT), cursor: None };
    loop {
        let listing = state.catalog.list_environments(actor, project, page.clone()).await?;
        environments.extend(listing.items);
        page.cursor = listing.next;
        if page.cursor.is_none() {
            return Ok(environments);
        }
    }
}

async fn policy_id(state: &ApiState, actor: &Actor, field: &str, wanted: &str) -> Result<PolicyId, ApiError> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let policies = state.catalog.policies(actor).await?;
    let builtin = policies.iter().find(|policy| policy.organization.is_none() && policy.name == wanted);
    builtin.map(|policy| policy.id).ok_or_else(|| {
        let problem = "is neither a policy's id nor the name of a built-in policy";
        ApiError::validation(vec![Detail::new(field, problem)])
    })
}
