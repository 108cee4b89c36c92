//! Who asks.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use outrigger_catalog::model::{Actor, Origin};

use crate::error::ApiError;
use crate::layers::RequestId;
use crate::state::ApiState;

/// A caller with a valid token.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Actor);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        let mut actor = state.catalog.authenticate(token).await?;
        actor.origin = origin(parts);
        Ok(Self(actor))
    }
}

/// Where the request comes from; for the audit log. Bounded, because the caller wrote it.
pub(crate) fn origin(parts: &Parts) -> Origin {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| IpAddr::to_canonical(&info.0.ip()));
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        address,
        user_agent: user_agent.map(|text| text.chars().take(256).collect()),
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| ApiError::unauthorized("Authentication required: send `Authorization: Bearer TOKEN`"))?;
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
        .map(|(_, token)| token.trim())
        .ok_or_else(|| ApiError::unauthorized("Authentication failed: the header is not `Authorization: Bearer TOKEN`"))
}
