//! `/api/config/templates` and `/api/config/projects/{projectId}/apply-template`

use axum::extract::State;
use outrigger_catalog::model::StoredTemplate;
use outrigger_catalog::{At, Side};
use outrigger_protocol::id::ProjectId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Done, Envelope, created, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::{FileMutation, Id, IfMatch, Mutation, NoBody, NoParameters, Query};
use crate::shape::change::ChangeRequest;
use crate::shape::template::{
    AppliedTemplate, ApplyTemplate, Template, TemplateDocument, TemplateQuery, TemplateSummary, parse_document,
};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete)).routes(routes!(apply))
}

/// List the official templates and the organisation's own, by id
#[utoipa::path(
    operation_id = "listTemplates",
    get, path = "/api/config/templates", tag = "templates", params(TemplateQuery),
    responses((status = 200, body = Envelope<Vec<TemplateSummary>>), (status = 400, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(query): Query<TemplateQuery>,
) -> Result<Answer<Vec<TemplateSummary>>, ApiError> {
    let listing = state.catalog.templates(&actor, query.category.as_deref(), &query.page()).await?;
    Ok(paged(listing.items.into_iter().map(TemplateSummary::from).collect(), listing.next))
}

/// Keep a template of the organisation's own
#[utoipa::path(
    operation_id = "createTemplate",
    post, path = "/api/config/templates", tag = "templates",
    request_body(
        content((TemplateDocument = "application/json"), (String = "application/yaml")),
        description = "The template, at most 128 KiB",
    ),
    responses(
        (status = 201, body = Envelope<Template>),
        (status = 400, description = "Everything that is wrong with it, with line and column", body = Failure),
        (status = 409, description = "Another template has its id or its name", body = Failure),
    ),
)]
async fn create(
    State(state): State<ApiState>,
    request: FileMutation<NoParameters>,
) -> Result<Answer<Template>, ApiError> {
    let template = parse_document(&request.body)?;
    let stored = state.catalog.create_template(&request.actor, template).await?;
    let revision = revision(&stored);
    Ok(tagged(created(stored.into()), revision))
}

/// Show a template with its variables
#[utoipa::path(
    operation_id = "showTemplate",
    get, path = "/api/config/templates/{id}", tag = "templates", params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Template>), (status = 404, body = Failure)),
)]
async fn show(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<String>,
    _: Query<NoParameters>,
) -> Result<Answer<Template>, ApiError> {
    let stored = state.catalog.template(&actor, &id).await?;
    let revision = revision(&stored);
    Ok(tagged(ok(stored.into()), revision))
}

/// Replace a template of the organisation's own
#[utoipa::path(
    operation_id = "updateTemplate",
    put, path = "/api/config/templates/{id}", tag = "templates",
    request_body(
        content((TemplateDocument = "application/json"), (String = "application/yaml")),
        description = "The template, at most 128 KiB, with the same id",
    ),
    params(
        ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that was read"),
    ),
    responses(
        (status = 200, body = Envelope<Template>),
        (status = 400, description = "Everything that is wrong with it, with line and column", body = Failure),
        (status = 404, body = Failure),
        (status = 409, description = "It is official, its name is taken, or If-Match is stale", body = Failure),
    ),
)]
async fn update(
    State(state): State<ApiState>,
    Id(id): Id<String>,
    IfMatch(if_match): IfMatch,
    request: FileMutation<NoParameters>,
) -> Result<Answer<Template>, ApiError> {
    let template = parse_document(&request.body)?;
    let stored = state.catalog.update_template(&request.actor, &id, template, if_match).await?;
    let revision = revision(&stored);
    Ok(tagged(ok(stored.into()), revision))
}

/// Delete a template of the organisation's own; variables that came from it stay
#[utoipa::path(
    operation_id = "deleteTemplate",
    delete, path = "/api/config/templates/{id}", tag = "templates",
    params(
        ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that was read"),
    ),
    responses(
        (status = 200, body = Envelope<Done>), (status = 404, body = Failure),
        (status = 409, description = "It is official, or If-Match is stale", body = Failure),
    ),
)]
async fn delete(
    State(state): State<ApiState>,
    Id(id): Id<String>,
    IfMatch(if_match): IfMatch,
    request: Mutation<NoBody>,
) -> Result<Answer<Done>, ApiError> {
    state.catalog.delete_template(&request.actor, &id, if_match).await?;
    Ok(ok(Done {}))
}

/// Write the variables that a template comes to, in one generation, or see what that would change
#[utoipa::path(
    operation_id = "applyTemplate",
    post, path = "/api/config/projects/{projectId}/apply-template", tag = "templates", request_body = ApplyTemplate,
    params(
        ("projectId" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The generation of the environment that was read"),
    ),
    responses(
        (status = 200, body = Envelope<AppliedTemplate>),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
        (status = 400, description = "Every required variable that is missing and every override that cannot be; nothing \
                                      was changed", body = Failure),
        (status = 404, body = Failure), (status = 409, body = Failure),
    ),
)]
async fn apply(
    State(state): State<ApiState>,
    Id(project): Id<ProjectId>,
    IfMatch(if_match): IfMatch,
    request: Mutation<ApplyTemplate>,
) -> Result<Answer<AppliedTemplate>, ApiError> {
    let Mutation { actor, body } = request;
    let dry_run = body.dry_run;
    let application = body.check(project, if_match)?;
    let (applied, differences) = if dry_run {
        state.catalog.preview_template(&actor, &application).await?
    } else {
        let applied = state.catalog.apply_template(&actor, application).await?;
        let (environment, number) = (applied.environment.id, applied.generation.number);
        let side = |number| Side { environment, at: At::Generation(number) };
        let differences = if applied.is_changed {
            state.catalog.diff(&actor, side(number.saturating_sub(1)), side(number), false).await?
        } else {
            Vec::new()
        };
        (applied, differences)
    };
    let number = applied.generation.number;
    Ok(ok(AppliedTemplate::new(applied, dry_run, differences)).at_generation(number))
}

fn revision(stored: &StoredTemplate) -> Option<u64> {
    stored.edition.as_ref().map(|edition| edition.revision)
}

/// Names the revision that was read or made, for a later `If-Match`; an official template has none.
fn tagged(answer: Answer<Template>, revision: Option<u64>) -> Answer<Template> {
    match revision {
        Some(revision) => answer.at_generation(revision),
        None => answer,
    }
}
