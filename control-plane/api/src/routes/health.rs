//! `/livez`, `/readyz`, `/metrics`

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use outrigger_store::Health;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Failure};
use crate::extract::Query;
use crate::metrics::Format;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// The state of each part, for people and for probes that look closer.
#[derive(Serialize, ToSchema)]
struct Checks {
    checks: Vec<Check>,
}

#[derive(Serialize, ToSchema)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Verbosity {
    /// Any value, or none: also show the checks that pass.
    verbose: Option<String>,
}

/// Whether the process answers at all
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, body = Envelope<Checks>)))]
async fn livez() -> Answer<Checks> {
    ok(Checks { checks: Vec::new() })
}

/// Whether the control plane takes work
#[utoipa::path(
    get, path = "/readyz", tag = "health", params(Verbosity), security(()),
    responses((status = 200, body = Envelope<Checks>), (status = 503, body = Failure)),
)]
async fn readyz(State(state): State<ApiState>, Query(verbosity): Query<Verbosity>) -> Result<Answer<Checks>, ApiError> {
    let mut checks = vec![store_check(&state.store.health()), serving_check(&state)];
    let failing: Vec<String> = checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)).collect();
    if !failing.is_empty() {
        let error = format!("not ready: {}", failing.join("; "));
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", error));
    }
    if verbosity.verbose.is_none() {
        checks.clear();
    }
    Ok(ok(Checks { checks }))
}

fn store_check(health: &Health) -> Check {
    let (ok, detail) = match health {
        Health::Ready => (true, "reads and writes".to_owned()),
        Health::Full => (false, "the disk is full: reads go on, writes are refused".to_owned()),
        Health::Failed(error) => (false, format!("writes are refused until a restart: {error}")),
        Health::Closed => (false, "closed".to_owned()),
        _ => (false, "in an unknown state".to_owned()),
    };
    Check { name: "store", ok, detail }
}

fn serving_check(state: &ApiState) -> Check {
    let detail = if state.readiness.is_draining() {
        "draining".to_owned()
    } else if state.readiness.is_ready() {
        format!("serving {} agents", state.ingest.live_agents_count())
    } else {
        "starting".to_owned()
    };
    Check { name: "serving", ok: state.readiness.is_ready(), detail }
}

/// The control plane's own metrics, and those of every deployment, for Prometheus
///
/// In its text format, or in OpenMetrics 1.0 for clients that would rather have that. Needs no token where
/// `metrics.access` says so, by default on this machine. With the token of a member: the deployments of the organisation
/// alone.
#[utoipa::path(
    get, path = "/metrics", tag = "health", security((), ("bearer" = [])),
    responses(
        (status = 200, content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        )),
        (status = 401, body = Failure),
    ),
)]
async fn metrics(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let (headers, extensions) = (request.headers(), request.extensions());
    let scope = state.metrics.gate().scope(&state.catalog, headers, extensions).await?;
    let format = Format::accepted(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let page = state.metrics.page(&state, scope, format).await;
    Ok(([(header::CONTENT_TYPE, format.content_type())], page).into_response())
}
