//! `/livez`, `/readyz`, `/metrics`

use std::fmt::Write as _;

use axum::extract::State;
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

/// The control plane's own metrics, in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "health", security(()),
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4")),
)]
async fn metrics(State(state): State<ApiState>) -> Response {
    let mut text = String::with_capacity(8 * 1024);
    state.ingest.stats().write_prometheus(&mut text);
    state.engine.stats().write_prometheus(&mut text);
    write_store(&state, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn write_store(state: &ApiState, out: &mut String) {
    let stats = state.store.stats();
    let rows = [
        ("revision", "gauge", "The latest revision.", stats.revision),
        ("commits_total", "counter", "Transactions committed.", stats.commits),
        ("conflicts_total", "counter", "Transactions refused because a compare did not hold.", stats.conflicts),
        ("groups_total", "counter", "Synchronised writes, each shared by the transactions that waited.", stats.groups),
        ("queued", "gauge", "Requests waiting for the writer.", stats.queued),
        ("overloads_total", "counter", "Requests refused because the queue was full.", stats.overloads),
        ("full_total", "counter", "Writes refused because the disk was full.", stats.full),
        ("failures_total", "counter", "Writes refused because the storage had failed.", stats.failures),
        ("watches", "gauge", "Watches open now.", stats.watches),
    ];
    for (name, kind, help, value) in rows {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "# HELP outrigger_store_{name} {help}\n# TYPE outrigger_store_{name} {kind}");
        let _ = writeln!(out, "outrigger_store_{name} {value}");
    }
    let seconds = stats.write_time.as_secs_f64();
    let name = "outrigger_store_write_seconds_total";
    let _ = writeln!(out, "# HELP {name} Time spent in synchronised writes.\n# TYPE {name} counter\n{name} {seconds}");
}
