//! `/api/audit`

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Paging;
use crate::auth::Caller;
use crate::envelope::{Answer, Envelope, paged};
use crate::error::{ApiError, Failure};
use crate::extract::Query;
use crate::shape::audit::AuditEntry;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Who did what, newest first
#[utoipa::path(
    operation_id = "listAuditEntries",
    get, path = "/api/audit", tag = "audit", params(Paging),
    responses((status = 200, body = Envelope<Vec<AuditEntry>>), (status = 403, body = Failure)),
)]
async fn list(
    State(state): State<ApiState>,
    Caller(actor): Caller,
    Query(paging): Query<Paging>,
) -> Result<Answer<Vec<AuditEntry>>, ApiError> {
    let listing = state.catalog.audit(&actor, paging.page()).await?;
    Ok(paged(listing.items.into_iter().map(AuditEntry::from).collect(), listing.next))
}
