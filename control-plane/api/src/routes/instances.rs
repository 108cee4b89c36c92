//! A deployment's instances, join tokens, decisions and events.

use std::time::Duration;

use axum::extract::State;
use outrigger_protocol::id::DeploymentId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, created, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{Id, Mutation, NoParameters, Query};
use crate::shape::decision::{Decision, Event};
use crate::shape::instance::{Instance, JoinToken, NewJoinToken};
use crate::shape::{DURATION, Problems};
use crate::state::ApiState;
use crate::text::{parse_duration, write_time};

/// How long a join token may be used, unless the request says otherwise; a token is as good as a key until then.
const DEFAULT_TTL: Duration = Duration::from_secs(600);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(join_token))
        .routes(routes!(decisions))
        .routes(routes!(events))
}

/// List the instances with what their agents say
#[utoipa::path(
    operation_id = "listInstances",
    get, path = "/api/deployments/{id}/instances", tag = "instances", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<Instance>>), (status = 404, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    _: Query<NoParameters>,
) -> Result<Answer<Vec<Instance>>, ApiError> {
    let view = state.engine.status(&actor, id).await?;
    Ok(ok(view.instances.into_iter().map(Instance::from).collect()))
}

/// Make a one-time token with which an agent outside can join
#[utoipa::path(
    operation_id = "createJoinToken",
    post, path = "/api/deployments/{id}/join-tokens", tag = "instances", params(("id" = String, Path)),
    request_body = NewJoinToken,
    responses((status = 201, body = Envelope<JoinToken>), (status = 400, body = Failure), (status = 404, body = Failure)),
)]
async fn join_token(
    State(state): State<ApiState>,
    Id(id): Id<DeploymentId>,
    request: Mutation<NewJoinToken>,
) -> Result<Answer<JoinToken>, ApiError> {
    let mut problems = Problems::default();
    let ttl = problems.parse("ttl", request.body.ttl.as_deref(), DURATION, parse_duration);
    let ttl = problems.finish(|| ttl.unwrap_or(DEFAULT_TTL))?;
    let (info, secret) = state.catalog.create_join_token(&request.actor, id, None, ttl).await?;
    let token = state.ingest.join_token_text(info.id, &secret);
    Ok(created(JoinToken {
        id: info.id.to_string(),
        token: token.to_string(),
        expires_at: write_time(info.expires_at),
        command: format!("outrigger-agent run --control-plane {} -- COMMAND", state.agents_address),
    }))
}

/// List the decisions, newest first
#[utoipa::path(
    operation_id = "listDecisions",
    get, path = "/api/deployments/{id}/decisions", tag = "instances", params(("id" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<Decision>>), (status = 404, body = Failure)),
)]
async fn decisions(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Decision>>, ApiError> {
    let listing = state.catalog.decisions(&actor, id, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Decision::from).collect(), listing.next))
}

/// List what happened, newest first
#[utoipa::path(
    operation_id = "listEvents",
    get, path = "/api/deployments/{id}/events", tag = "instances", params(("id" = String, Path), Paging),
    responses((status = 200, body = Envelope<Vec<Event>>), (status = 404, body = Failure)),
)]
async fn events(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<DeploymentId>,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<Event>>, ApiError> {
    let listing = state.catalog.events(&actor, id, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(Event::from).collect(), listing.next))
}
