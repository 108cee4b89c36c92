//! `/api/config/environments/{configId}/import` and `…/export`

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use outrigger_catalog::{CatalogError, FieldProblem, Import, Side};
use outrigger_configuration::format::{self, Format, ObjectName, WriteOptions};
use outrigger_protocol::id::EnvironmentId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok};
use crate::error::{ApiError, Detail, Failure};
use crate::extract::{FileMutation, Id, IfMatch, Query};
use crate::shape::change::ChangeRequest;
use crate::shape::file::{ExportParameters, ImportParameters, Imported};
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(import)).routes(routes!(export))
}

/// Take over the variables of a file, or see what that would change
#[utoipa::path(
    operation_id = "importVariables",
    post, path = "/api/config/environments/{configId}/import", tag = "variables",
    request_body(content = String, content_type = "text/plain", description = "The file, at most 1 MiB of UTF-8"),
    params(
        ("configId" = String, Path), ImportParameters,
        ("If-Match" = Option<String>, Header, description = "The generation that was read"),
    ),
    responses(
        (status = 200, body = Envelope<Imported>),
        (status = 202, description = "Nothing is published before somebody else approves it", body = Envelope<ChangeRequest>),
        (status = 400, description = "Every line that is wrong; nothing was changed", body = Failure),
        (status = 404, body = Failure), (status = 409, body = Failure), (status = 413, body = Failure),
    ),
)]
async fn import(
    State(state): State<ApiState>,
    Id(id): Id<EnvironmentId>,
    IfMatch(if_match): IfMatch,
    request: FileMutation<ImportParameters>,
) -> Result<Answer<Imported>, ApiError> {
    let FileMutation { actor, query, body } = request;
    let (format, mode) = query.check()?;
    let variables = format::parse(format, &body).map_err(|problems| {
        let detail = |problem: format::LineProblem| {
            Detail::new(format!("line {}, column {}", problem.line, problem.column), problem.kind.to_string())
        };
        ApiError::validation(problems.into_iter().map(detail).collect())
    })?;
    let message = query.message.unwrap_or_else(|| format!("import of {} variables from {format}", variables.len()));
    let lines: Lines = variables.iter().map(|variable| (variable.name.clone(), variable.line)).collect();
    let import = Import { variables, mode, if_match, message };
    if query.dry_run {
        let preview = state.catalog.preview_import(&actor, id, &import).await;
        let (generation, differences) = preview.map_err(|error| located(error, &lines))?;
        let number = generation.number;
        return Ok(ok(Imported::new(generation, true, differences)).at_generation(number));
    }
    let imported = state.catalog.import(&actor, id, import).await.map_err(|error| located(error, &lines))?;
    let number = imported.generation.number;
    let differences = if imported.is_changed {
        let side = |number| Side { environment: id, at: outrigger_catalog::At::Generation(number) };
        state.catalog.diff(&actor, side(number.saturating_sub(1)), side(number), false).await?
    } else {
        Vec::new()
    };
    Ok(ok(Imported::new(imported.generation, false, differences)).at_generation(number))
}

/// In which line of a file each variable is.
type Lines = BTreeMap<String, usize>;

/// What is wrong with a variable only beside others, with the line that it is in.
fn located(error: CatalogError, lines: &Lines) -> ApiError {
    let CatalogError::Validation(problems) = error else { return error.into() };
    let located = |problem: FieldProblem| {
        let name = problem.field.split('.').next().unwrap_or_default();
        let line = lines.get(name).copied();
        let field = line.map_or_else(|| problem.field.clone(), |line| format!("line {line}: {}", problem.field));
        (line.unwrap_or(usize::MAX), Detail::new(field, problem.problem))
    };
    let mut located: Vec<_> = problems.into_iter().map(located).collect();
    located.sort_by_key(|(line, _)| *line);
    ApiError::validation(located.into_iter().map(|(_, detail)| detail).collect())
}

/// Write the variables as a file; with the values of secrets, it needs the role admin and is audited
#[utoipa::path(
    operation_id = "exportVariables",
    get, path = "/api/config/environments/{configId}/export", tag = "variables",
    params(("configId" = String, Path), ExportParameters),
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/plain"),
        (status = 400, description = "Every variable that the format cannot carry", body = Failure),
        (status = 403, body = Failure), (status = 404, body = Failure),
    ),
)]
async fn export(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Id(id): Id<EnvironmentId>,
    Query(parameters): Query<ExportParameters>,
) -> Result<Response, ApiError> {
    let (format, form, at) = parameters.check()?;
    let environment = state.catalog.environment(&actor, id).await?;
    let object = match (format, &parameters.name) {
        (Format::K8s, name) => Some(object_name(name.as_deref().unwrap_or(&environment.name))?),
        _ => None,
    };
    let (effective, secrets) = (parameters.effective, parameters.secrets);
    let (generation, mut variables) = state.catalog.export_variables(&actor, id, at, effective, secrets).await?;
    if !secrets && !can_say_unknown(format) {
        variables.retain(|variable| !variable.secret);
    }
    let text = format::write(format, &variables, &WriteOptions { form, object }).map_err(|problems| {
        let detail = |problem: format::WriteProblem| {
            let field = if problem.name.is_empty() { "variables".to_owned() } else { problem.name };
            Detail::new(field, problem.kind.to_string())
        };
        ApiError::validation(problems.into_iter().map(detail).collect())
    })?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", generation.number)).expect("digits are a header value");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, text.as_str().to_owned()).into_response())
}

/// Whether a format tells a value that is not told from one that is not there. In the others a secret is left out, so
/// that nobody takes it for a variable without a value.
const fn can_say_unknown(format: Format) -> bool {
    matches!(format, Format::Json | Format::Yaml)
}

fn object_name(name: &str) -> Result<ObjectName, ApiError> {
    ObjectName::new(name, None).map_err(|error| ApiError::validation(vec![Detail::new("name", error.to_string())]))
}
