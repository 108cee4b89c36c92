//! Headers, paths, queries and bodies, checked on their way in.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header;
use axum::http::request::Parts;
use outrigger_catalog::model::{Actor, Idempotency};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::{Caller, origin};
use crate::error::{ApiError, Detail};
use crate::state::ApiState;

/// An `Idempotency-Key` longer than this is not one.
const IDEMPOTENCY_KEY_BYTES: usize = 128;

/// A JSON body of a caller who is not signed in yet.
#[derive(Debug)]
pub(crate) struct Anonymous<T> {
    pub(crate) body: T,
    pub(crate) origin: outrigger_catalog::model::Origin,
}

/// A change: who asks, under which idempotency key, and what.
#[derive(Debug)]
pub(crate) struct Mutation<T> {
    pub(crate) actor: Actor,
    pub(crate) body: T,
}

/// The body of a request that needs none; `{}` is accepted too.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoBody {}

/// A change whose body is not JSON.
#[derive(Debug)]
pub(crate) struct BinaryMutation {
    pub(crate) actor: Actor,
    pub(crate) body: Bytes,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Anonymous<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, bytes) = split(request, state).await?;
        Ok(Self { body: json(&parts, &bytes)?, origin: origin(&parts) })
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Mutation<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (actor, parts, bytes) = authenticated(request, state).await?;
        Ok(Self { actor, body: json(&parts, &bytes)? })
    }
}

impl FromRequest<ApiState> for BinaryMutation {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (actor, parts, body) = authenticated(request, state).await?;
        if media_type(&parts) != Some("application/wasm") {
            return Err(wrong_type("application/wasm"));
        }
        Ok(Self { actor, body })
    }
}

/// The caller is known before the body is read: a stranger cannot make the control plane buffer one.
async fn authenticated(request: Request, state: &ApiState) -> Result<(Actor, Parts, Bytes), ApiError> {
    if state.readiness.is_draining() {
        return Err(ApiError::unavailable("the control plane is shutting down"));
    }
    let (mut parts, body) = request.into_parts();
    let Caller(mut actor) = Caller::from_request_parts(&mut parts, state).await?;
    let (parts, bytes) = split(Request::from_parts(parts, body), state).await?;
    actor.idempotency = idempotency(&parts, &bytes)?;
    Ok((actor, parts, bytes))
}

async fn split(request: Request, state: &ApiState) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let copy = Request::from_parts(parts.clone(), body);
    let bytes = Bytes::from_request(copy, state).await.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(
                rejection.status(),
                "too_large",
                "payload too large: the body exceeds the limit of this route",
            )
        } else {
            ApiError::malformed("the body could not be read to its end")
        }
    })?;
    Ok((parts, bytes))
}

fn idempotency(parts: &Parts, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()))
        .ok_or_else(|| ApiError::malformed("Idempotency-Key has to be 1 to 128 printable ASCII characters"))?;
    let mut digest = Context::new(&SHA256);
    for part in [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), body] {
        digest.update(&part.len().to_be_bytes());
        digest.update(part);
    }
    let mut request_digest = [0; 32];
    request_digest.copy_from_slice(digest.finish().as_ref());
    Ok(Some(Idempotency { key: key.to_owned(), request_digest }))
}

fn media_type(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn wrong_type(expected: &str) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("unsupported media type: send `Content-Type: {expected}`"),
    )
}

/// An empty body reads as `{}`, for requests whose every field is optional.
fn json<T: DeserializeOwned>(parts: &Parts, bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() {
        b"{}"
    } else if media_type(parts) == Some("application/json") {
        bytes
    } else {
        return Err(wrong_type("application/json"));
    };
    serde_json::from_slice(bytes).map_err(|error| json_error(&error))
}

/// A value of a wrong shape is a validation problem with its field; text that is not JSON is malformed.
fn json_error(error: &serde_json::Error) -> ApiError {
    if !error.is_data() {
        return ApiError::malformed(format!("the body is not valid JSON: {error}"));
    }
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let field = problem.split('`').nth(1).unwrap_or("body").to_owned();
    let problem = match problem.as_str() {
        missing if missing.starts_with("missing field") => "is required".to_owned(),
        unknown if unknown.starts_with("unknown field") => format!("is not a field of this request ({unknown})"),
        other => other.to_owned(),
    };
    let field = if problem.starts_with("invalid ") { "body".to_owned() } else { field };
    ApiError::validation(vec![Detail::new(field, problem)])
}

/// An id out of the path. One that cannot be read names nothing, just like one that is not there.
#[derive(Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::malformed("the path is not valid UTF-8"))?;
        parse_id(&text).map(Self)
    }
}

/// An id and a name out of the path, `/{id}/…/{name}`.
#[derive(Debug)]
pub(crate) struct IdAnd<T>(pub(crate) T, pub(crate) String);

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for IdAnd<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((text, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::malformed("the path is not valid UTF-8"))?;
        Ok(Self(parse_id(&text)?, name))
    }
}

fn parse_id<T: FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("nothing has the id `{}`", shown(text))))
}

/// What a caller sent, cut short and without control characters, for repeating it in an answer.
fn shown(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}

/// A query string whose every parameter is known.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|query| Self(query.0))
            .map_err(|rejection| ApiError::malformed(rejection.body_text()))
    }
}

/// `If-Match: "7"`: the change is meant for generation 7.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        text.trim_matches('"')
            .parse()
            .map(|generation| Self(Some(generation)))
            .map_err(|_| ApiError::malformed("If-Match has to be a generation in quotes, such as \"7\""))
    }
}
