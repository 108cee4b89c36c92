//! What the description of the API says of every operation, so that no route has to.

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi, ToSchema as _};

use crate::error::Failure;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Outrigger admin API",
        description = "Projects, environments, secrets, deployments, decisions. Every answer is an envelope: `success`, \
                       then `data` or `error`, `code` and `requestId`. Every mutation by a signed-in caller takes an \
                       `Idempotency-Key`.",
    ),
    modifiers(&Bearer),
    security(("bearer" = [])),
)]
pub(super) struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Adds what holds for all operations of a kind.
pub(super) fn complete(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, patch, .. } = item;
        for operation in [&mut *get, put, post, delete, patch].into_iter().flatten() {
            fail(operation, "default", "Any other failure; `code` says which");
        }
        for operation in [get].into_iter().flatten().filter(|operation| is_guarded(operation)) {
            fail(operation, "401", "No valid token");
        }
        for operation in [put, post, delete, patch].into_iter().flatten() {
            fail(operation, "503", "Overloaded or shutting down; `Retry-After` says when to come back");
            if operation.request_body.is_some() {
                fail(operation, "413", "The body is larger than the route takes");
                fail(operation, "415", "The body has another `Content-Type`");
            }
            if is_guarded(operation) {
                fail(operation, "401", "No valid token");
                fail(operation, "403", "The caller's role does not allow it");
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
        }
    }
}

/// Only public operations have a word of their own about security.
fn is_guarded(operation: &Operation) -> bool {
    operation.security.is_none()
}

fn fail(operation: &mut Operation, status: &str, description: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(failure(description)));
}

fn failure(description: &str) -> Response {
    let schema = Ref::from_schema_name(Failure::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

fn idempotency_key() -> utoipa::openapi::path::Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some("The same key means the same request: it is carried out once within 24 hours"))
        .schema(Some(schema))
        .build()
}
