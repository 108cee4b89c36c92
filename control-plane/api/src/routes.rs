//! The routes, one resource per file.

mod accounts;
mod audit;
mod deployments;
mod environments;
mod generations;
mod health;
mod instances;
mod metrics;
mod policies;
mod projects;
mod variables;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, header};
use axum::routing::get;
use outrigger_catalog::Page;
use serde::Deserialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::state::ApiState;

const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");

/// All of the API, ready to be served.
#[must_use]
pub fn router(state: ApiState) -> Router {
    let (router, description) = described().split_for_parts();
    let description = Bytes::from(description.to_json().expect("the description is text and numbers"));
    let routes = router
        .route("/api/openapi.json", get(move || std::future::ready(([JSON], description.clone()))))
        .fallback(|| std::future::ready(ApiError::not_found("there is no such route")))
        .with_state(state);
    crate::layers::wrap(routes)
}

/// The description of the API, generated from the routes themselves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(accounts::routes())
        .merge(projects::routes())
        .merge(environments::routes())
        .merge(variables::routes())
        .merge(generations::routes())
        .merge(deployments::routes())
        .merge(instances::routes())
        .merge(metrics::routes())
        .merge(policies::routes())
        .merge(audit::routes())
        .merge(health::routes())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Outrigger admin API",
        description = "Projects, environments, secrets, deployments, decisions. Every answer is an envelope: `success`, \
                       then `data` or `error`, `code` and `requestId`. Every mutation takes an `Idempotency-Key`.",
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
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
