//! What goes wrong, in words a person can act on and a code a program can.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use outrigger_catalog::CatalogError;
use outrigger_engine::EngineError;
use outrigger_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::envelope::accepted;
use crate::shape::change::ChangeRequest;

/// The details name all problems; a sentence with hundreds helps nobody.
const NAMED_PROBLEMS: usize = 5;

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Detail {
    pub(crate) field: String,
    pub(crate) problem: String,
}

impl Detail {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A failure, or something else that a route answers instead of what it is for. The layers put request id and time to a
/// failure and write the envelope.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Stable, for programs.
    pub(crate) code: &'static str,
    pub(crate) error: String,
    pub(crate) details: Vec<Detail>,
    pub(crate) retry_after_seconds: Option<u32>,
    /// No failure: what was asked for is not published before somebody approves it.
    awaiting: Option<Box<ChangeRequest>>,
}

/// The body of a failure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// Always false.
    pub(crate) success: bool,
    /// The problem in words.
    pub(crate) error: String,
    /// Stable, for programs: `validation_failed`, `not_found`, `conflict`, …
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<Detail>,
    /// Also in the `X-Request-Id` header and in the control plane's log.
    pub(crate) request_id: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: jiff::Timestamp,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self { status, code, error: error.into(), details: Vec::new(), retry_after_seconds: None, awaiting: None }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("not found: {what}"))
    }

    /// The answer of every route whose change has to be approved.
    fn awaiting(change: ChangeRequest) -> Self {
        let error = Self::new(StatusCode::ACCEPTED, "awaits_approval", "the change awaits approval");
        Self { awaiting: Some(Box::new(change)), ..error }
    }

    pub(crate) fn unauthorized(why: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", why)
    }

    pub(crate) fn malformed(problem: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", format!("malformed request: {problem}"))
    }

    pub(crate) fn conflict(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", format!("conflict: {what}"))
    }

    /// One or more fields that are wrong, all named.
    pub(crate) fn validation(details: Vec<Detail>) -> Self {
        let mut named: Vec<String> =
            details.iter().take(NAMED_PROBLEMS).map(|d| format!("{} {}", d.field, d.problem)).collect();
        if details.len() > NAMED_PROBLEMS {
            named.push(format!("and {} more", details.len() - NAMED_PROBLEMS));
        }
        let error = format!("validation: {}", named.join("; "));
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, "validation_failed", error) }
    }

    pub(crate) fn too_large(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("payload too large: {what}"))
    }

    pub(crate) fn unavailable(why: &str) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("unavailable: {why}"))
        }
    }

    pub(crate) fn draining() -> Self {
        Self::unavailable("the control plane is shutting down")
    }

    /// Something broke that the caller cannot mend. What it was goes to the log, not to the caller.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = %chain, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error: the control plane's log has the reason under this request id",
        )
    }
}

/// Carries the failure to the layers in an extension; the body is written there.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(change) = self.awaiting {
            return accepted(*change).into_response();
        }
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound { what } => Self::not_found(what),
            CatalogError::Unauthenticated(reason) => Self::unauthorized(&reason.to_string()),
            CatalogError::Forbidden { need } => Self::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("forbidden: this needs the role {} or a higher one", need.name()),
            ),
            error @ CatalogError::OperatorOnly => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", format!("forbidden: {error}"))
            }
            CatalogError::Validation(problems) => {
                Self::validation(problems.into_iter().map(|p| Detail::new(p.field, p.problem)).collect())
            }
            CatalogError::Conflict { what } => Self::conflict(what),
            CatalogError::AwaitsApproval(held) => Self::awaiting(ChangeRequest::from(*held)),
            CatalogError::IdempotencyMismatch => Self::new(
                StatusCode::CONFLICT,
                "idempotency_mismatch",
                "conflict: this Idempotency-Key was used before with another request",
            ),
            error @ CatalogError::KeyExhausted { .. } => {
                Self::new(StatusCode::CONFLICT, "key_exhausted", format!("conflict: {error}"))
            }
            CatalogError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "the disk of the control plane is full: nothing was changed",
            ),
            CatalogError::Overloaded => Self::unavailable("too many changes at once; try again"),
            CatalogError::Store { source: StoreError::Closed, .. } => Self::draining(),
            CatalogError::Store { source: error @ StoreError::TooLarge { .. }, .. } => {
                Self::too_large(format_args!("the change needs {error}"))
            }
            other => Self::internal(&other),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Catalog(error) => error.into(),
            EngineError::Invalid(problems) => {
                Self::validation(problems.into_iter().map(|p| Detail::new(p.field, p.problem)).collect())
            }
            EngineError::State { what } => Self::conflict(what),
            EngineError::Overloaded => Self::unavailable("too much is being evaluated at once; try again"),
            EngineError::Draining => Self::draining(),
            error @ EngineError::UnusablePolicy { .. } => Self::conflict(error),
            other => Self::internal(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_used_up_is_a_conflict_that_says_what_to_do() {
        let error = ApiError::from(CatalogError::KeyExhausted { limit: 1 << 32 });
        assert_eq!((error.status, error.code), (StatusCode::CONFLICT, "key_exhausted"));
        assert!(error.error.contains("4294967296") && error.error.contains("keys rotate"), "{}", error.error);
    }
}
