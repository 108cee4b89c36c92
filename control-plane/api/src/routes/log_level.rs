//! `/api/admin/log-level`

use axum::extract::State;
use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::{Mutation, NoParameters, Query};
use crate::shape::Problems;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show, change))
}

/// How much the control plane logs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// error, warn, info, debug or trace, or a list of levels and target=level: `info,outrigger_engine=debug`.
    level: String,
}

/// Read how much the control plane logs
///
/// For the operator.
#[utoipa::path(
    operation_id = "getLogLevel",
    get, path = "/api/admin/log-level", tag = "health",
    responses(
        (status = 200, body = Envelope<LogLevel>),
        (status = 403, description = "The caller is not the operator", body = Failure),
    ),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    _: Query<NoParameters>,
) -> Result<Answer<LogLevel>, ApiError> {
    require_operator(&actor)?;
    Ok(ok(LogLevel { level: state.log_filter.read() }))
}

/// Change how much the control plane logs, until it is restarted
///
/// For the operator.
#[utoipa::path(
    operation_id = "setLogLevel",
    put, path = "/api/admin/log-level", tag = "health", request_body = LogLevel,
    responses(
        (status = 200, body = Envelope<LogLevel>),
        (status = 400, body = Failure),
        (status = 403, description = "The caller is not the operator", body = Failure),
    ),
)]
async fn change(
    State(state): State<ApiState>,
    Mutation { actor, body }: Mutation<LogLevel>,
) -> Result<Answer<LogLevel>, ApiError> {
    require_operator(&actor)?;
    let before = state.log_filter.read();
    let mut problems = Problems::default();
    if let Err(problem) = state.log_filter.set(&body.level) {
        problems.add("level", format!("is not a level or a list of target=level: {problem}"));
    }
    problems.finish(|| ())?;
    tracing::warn!(%before, now = %body.level, "how much is logged was changed");
    Ok(ok(body))
}

fn require_operator(actor: &Actor) -> Result<(), ApiError> {
    if actor.subject == Subject::Operator { Ok(()) } else { Err(CatalogError::OperatorOnly.into()) }
}
