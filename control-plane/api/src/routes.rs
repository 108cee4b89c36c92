//! The routes, one resource per file.

mod accounts;
mod audit;
mod changes;
mod deployments;
mod description;
mod environments;
mod files;
mod generations;
mod health;
mod instances;
mod keys;
mod log_level;
mod logs;
mod metrics;
mod policies;
mod projects;
mod rollouts;
mod templates;
mod variables;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use outrigger_catalog::Page;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::state::ApiState;
use crate::{auth, layers};

const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");

/// All of the API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let description = Bytes::from(openapi().to_json().expect("the description is text and numbers"));
    let describe = get(move || std::future::ready(([JSON], description.clone())));
    let metrics = state.metrics.clone();
    let (public, _) = public().split_for_parts();
    let (guarded, _) = guarded().split_for_parts();
    let routes = guarded
        .route_layer(from_fn_with_state(state.clone(), auth::require))
        .merge(public)
        .route("/api/openapi.json", describe)
        .fallback(|| std::future::ready(ApiError::not_found("there is no such route")))
        .layer(from_fn_with_state(state.readiness.clone(), layers::admit))
        .with_state(state);
    layers::wrap(routes, metrics)
}

/// The description of the API, generated from the routes themselves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let routes = OpenApiRouter::with_openapi(description::Description::openapi()).merge(public()).merge(guarded());
    let mut description = routes.into_openapi();
    description::complete(&mut description);
    description
}

/// For everybody.
fn public() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(accounts::public_routes()).merge(health::routes())
}

/// For callers with a valid token, of which no route here has to make sure itself.
fn guarded() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(accounts::routes())
        .merge(projects::routes())
        .merge(environments::routes())
        .merge(variables::routes())
        .merge(changes::routes())
        .merge(generations::routes())
        .merge(files::routes())
        .merge(deployments::routes())
        .merge(rollouts::routes())
        .merge(instances::routes())
        .merge(metrics::routes())
        .merge(logs::routes())
        .merge(policies::routes())
        .merge(templates::routes())
        .merge(audit::routes())
        .merge(keys::routes())
        .merge(log_level::routes())
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Most items to answer: 50 by default, at most 200.
    limit: Option<usize>,
    /// `page.next` of the answer before.
    cursor: Option<String>,
}

impl Paging {
    fn page(self) -> Page {
        Page { limit: self.limit, cursor: self.cursor }
    }
}
