//! `/api/audit`

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use outrigger_catalog::model::{Actor, AuditAction};
use outrigger_catalog::{AuditQuery, Catalog, CatalogError, Page};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, ok, paged};
use crate::error::{ApiError, Failure};
use crate::extract::Query;
use crate::shape::Problems;
use crate::shape::audit::{AuditEntry, AuditVerification};
use crate::state::ApiState;
use crate::text::{TIME, parse_hash, parse_time};

/// One JSON object a line.
const LINES: &str = "application/x-ndjson";

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
}

/// Which entries, and how they are answered.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// What happened in this project.
    project_id: Option<String>,
    /// A user's id, `operator`, `system` or an agent's id.
    actor: Option<String>,
    /// create, update, delete, reveal, reload, scale, rollout, login, enroll, failure, export, import, rollback, approve,
    /// reject, override or rotate.
    action: Option<String>,
    /// The oldest time, RFC 3339 or Unix milliseconds.
    from: Option<String>,
    /// The time before which; RFC 3339 or Unix milliseconds.
    to: Option<String>,
    /// `json` (the default) or `ndjson`: all of them, a line each. `Accept: application/x-ndjson` asks for the same.
    format: Option<String>,
    /// Most items to answer: 50 by default, at most 200.
    limit: Option<usize>,
    /// `page.next` of the answer before.
    cursor: Option<String>,
}

/// What a log has to have, apart from being one.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Expected {
    /// A `head` that was told earlier: a log that has not got it is another one, or an older copy.
    expect: Option<String>,
}

impl Asked {
    /// What is asked for, and whether as lines.
    fn check(self, headers: &HeaderMap) -> Result<(AuditQuery, bool), ApiError> {
        let mut problems = Problems::default();
        let project = problems.parse("projectId", self.project_id.as_deref(), "a project's id", |id| id.parse().ok());
        let actions = AuditAction::ALL.map(AuditAction::name).join(", ");
        let expected = format!("one of {actions}");
        let action = problems.parse("action", self.action.as_deref(), &expected, AuditAction::from_name);
        let from = problems.parse("from", self.from.as_deref(), TIME, parse_time);
        let to = problems.parse("to", self.to.as_deref(), TIME, parse_time);
        let format = problems.parse("format", self.format.as_deref(), "json or ndjson", |format| match format {
            "json" => Some(false),
            "ndjson" => Some(true),
            _ => None,
        });
        let lines = format.unwrap_or_else(|| accepts_lines(headers));
        if lines && (self.limit.is_some() || self.cursor.is_some()) {
            problems.add("format", "gives all entries: leave out `limit` and `cursor`, or ask for json");
        }
        let page = if lines {
            Page { limit: Some(outrigger_catalog::MAX_LIMIT), cursor: None }
        } else {
            Page { limit: self.limit, cursor: self.cursor }
        };
        let actor = self.actor;
        problems.finish(|| (AuditQuery { project, actor, action, from, to, page }, lines))
    }
}

fn accepts_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').filter_map(|range| range.split(';').next()).any(|name| name.trim().eq_ignore_ascii_case(LINES))
}

/// Who did what, newest first
#[utoipa::path(
    operation_id = "listAuditEntries",
    get, path = "/api/audit", tag = "audit", params(Asked),
    responses(
        (status = 200, body = Envelope<Vec<AuditEntry>>),
        (status = 400, body = Failure),
        (status = 403, body = Failure),
    ),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let (query, lines) = asked.check(&headers)?;
    if lines {
        return Ok(in_lines(state.catalog, actor, query));
    }
    let listing = state.catalog.audit(&actor, query).await?;
    Ok(paged(listing.items.into_iter().map(AuditEntry::from).collect(), listing.next).into_response())
}

/// All entries, a page at a time as the client reads them. An error in the middle breaks the connection off, so that a
/// part is not taken for the whole.
fn in_lines(catalog: Catalog, actor: Actor, query: AuditQuery) -> Response {
    let pages = stream::try_unfold(Some(query), move |query| {
        let (catalog, actor) = (catalog.clone(), actor.clone());
        async move {
            let Some(query) = query else { return Ok(None) };
            let listing = catalog.audit(&actor, query.clone()).await?;
            let mut lines = Vec::new();
            for entry in listing.items {
                serde_json::to_writer(&mut lines, &AuditEntry::from(entry)).expect("an entry is texts and numbers");
                lines.push(b'\n');
            }
            let limit = query.page.limit;
            let next = listing.next.map(|cursor| AuditQuery { page: Page { limit, cursor: Some(cursor) }, ..query });
            Ok::<_, CatalogError>(Some((Bytes::from(lines), next)))
        }
    });
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(pages)).into_response()
}

/// Whether the audit log is what was written
///
/// Walks the whole log: every entry has the hash of the one before, and the last is held against a signed head.
#[utoipa::path(
    operation_id = "verifyAudit",
    get, path = "/api/audit/verify", tag = "audit",
    params(Expected),
    responses(
        (status = 200, body = Envelope<AuditVerification>), (status = 400, body = Failure), (status = 403, body = Failure),
    ),
)]
async fn verify(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(Expected { expect }): Query<Expected>,
) -> Result<Answer<AuditVerification>, ApiError> {
    let mut problems = Problems::default();
    let expected =
        problems.parse("expect", expect.as_deref(), "64 hexadecimal digits, a head as it was told", parse_hash);
    let expected = problems.finish(|| expected)?;
    Ok(ok(state.catalog.verify_audit_against(&actor, expected).await?.into()))
}
