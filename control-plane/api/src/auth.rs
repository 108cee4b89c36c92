//! Who asks.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use outrigger_catalog::model::{Actor, Origin};

use crate::error::ApiError;
use crate::layers::RequestId;
use crate::state::ApiState;

/// A caller with a valid token.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Actor);

/// Lets only callers with a valid token through: before anything of the request is looked at, and before its body is
/// read, so that a stranger learns nothing of a path and cannot make the control plane buffer anything.
pub(crate) async fn require(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let mut actor = state.catalog.authenticate(bearer(request.headers())?).await?;
    actor.origin = Origin { session: actor.origin.session, ..origin(request.headers(), request.extensions()) };
    request.extensions_mut().insert(actor);
    Ok(next.run(request).await)
}

/// What [`require`] found out.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Actor>().cloned().map(Self).ok_or_else(missing)
    }
}

/// Where the request comes from; for the audit log. Bounded, because the caller wrote it.
pub(crate) fn origin(headers: &HeaderMap, extensions: &Extensions) -> Origin {
    let address = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| IpAddr::to_canonical(&info.0.ip()));
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        address,
        user_agent: user_agent.map(|text| text.chars().take(256).collect()),
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
        session: None,
    }
}

fn missing() -> ApiError {
    ApiError::unauthorized("Authentication required: send `Authorization: Bearer TOKEN`")
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .map(|(scheme, token)| (scheme, token.trim()))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
        .map(|(_, token)| token)
        .ok_or_else(|| ApiError::unauthorized("Authentication failed: the header is not `Authorization: Bearer TOKEN`"))
}
