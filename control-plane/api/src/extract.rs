//! Headers, paths, queries and bodies, checked on their way in.

mod json;

use std::str::FromStr;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use outrigger_catalog::model::{Actor, Idempotency};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::{Caller, origin};
use crate::error::{ApiError, Detail};
use crate::layers::{COMPONENT_BODY_BYTES, JSON_BODY_BYTES};
use crate::state::ApiState;

/// An `Idempotency-Key` longer than this is not one.
const IDEMPOTENCY_KEY_BYTES: usize = 128;
/// What is repeated of a caller's own text.
const SHOWN_CHARS: usize = 128;

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

/// The query of a request that takes no parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// A change whose body is not JSON.
#[derive(Debug)]
pub(crate) struct BinaryMutation {
    pub(crate) actor: Actor,
    pub(crate) body: Bytes,
}

/// A change whose body is a file, and what the query says of it.
#[derive(Debug)]
pub(crate) struct FileMutation<T> {
    pub(crate) actor: Actor,
    pub(crate) query: T,
    pub(crate) body: Bytes,
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Anonymous<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, bytes) = split(request, state, JSON_BODY_BYTES).await?;
        Ok(Self { body: read_json(&parts, &bytes)?, origin: origin(&parts.headers, &parts.extensions) })
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Mutation<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (actor, parts, bytes) = change(request, state, JSON_BODY_BYTES).await?;
        Ok(Self { actor, body: read_json(&parts, &bytes)? })
    }
}

impl FromRequest<ApiState> for BinaryMutation {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (actor, parts, body) = change(request, state, COMPONENT_BODY_BYTES).await?;
        if !has_type(&parts, "application/wasm") {
            return Err(wrong_type("application/wasm"));
        }
        Ok(Self { actor, body })
    }
}

impl<T: DeserializeOwned + Send> FromRequest<ApiState> for FileMutation<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Query(query) = Query::<T>::from_request_parts(&mut parts, state).await?;
        let (parts, body) = read(parts, body, state, JSON_BODY_BYTES).await?;
        let (actor, _, body) = authenticated(parts, body, state).await?;
        Ok(Self { actor, query, body })
    }
}

async fn change(request: Request, state: &ApiState, limit: usize) -> Result<(Actor, Parts, Bytes), ApiError> {
    let (parts, bytes) = split(request, state, limit).await?;
    authenticated(parts, bytes, state).await
}

async fn authenticated(mut parts: Parts, bytes: Bytes, state: &ApiState) -> Result<(Actor, Parts, Bytes), ApiError> {
    let Caller(mut actor) = Caller::from_request_parts(&mut parts, state).await?;
    actor.idempotency = idempotency(&parts, &bytes)?;
    Ok((actor, parts, bytes))
}

/// Most changes take no parameters in their query: one that is there was meant to do something.
async fn split(request: Request, state: &ApiState, limit: usize) -> Result<(Parts, Bytes), ApiError> {
    let (mut parts, body) = request.into_parts();
    Query::<NoParameters>::from_request_parts(&mut parts, state).await?;
    read(parts, body, state, limit).await
}

async fn read(parts: Parts, body: Body, state: &ApiState, limit: usize) -> Result<(Parts, Bytes), ApiError> {
    let too_large =
        || ApiError::too_large(format_args!("the body has more than the {limit} bytes that this route takes"));
    // A length that is announced is refused before anything of it is sent; the layers count what comes unannounced.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let copy = Request::from_parts(parts.clone(), body);
    let bytes = Bytes::from_request(copy, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            too_large()
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
    // The few changes with a query mean another thing with another one.
    let query = parts.uri.query().map(str::as_bytes);
    for part in [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), body].into_iter().chain(query) {
        digest.update(&part.len().to_be_bytes());
        digest.update(part);
    }
    let mut request_digest = [0; 32];
    request_digest.copy_from_slice(digest.finish().as_ref());
    Ok(Some(Idempotency { key: key.to_owned(), request_digest }))
}

/// Names of media types have no case, and parameters such as a charset say nothing here.
fn has_type(parts: &Parts, expected: &str) -> bool {
    let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(expected))
}

fn wrong_type(expected: &str) -> ApiError {
    let error = format!("unsupported media type: send `Content-Type: {expected}`");
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error)
}

/// An empty body reads as `{}`, for requests whose every field is optional.
fn read_json<T: DeserializeOwned>(parts: &Parts, bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return json::read(b"{}");
    }
    if !has_type(parts, "application/json") {
        return Err(wrong_type("application/json"));
    }
    json::read(bytes)
}

/// An id out of the path. One that cannot be read names nothing, just like one that is not there.
#[derive(Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| bad_path())?;
        parse_id(&text).map(Self)
    }
}

/// An id and a name out of the path, `/{id}/…/{name}`.
#[derive(Debug)]
pub(crate) struct IdAnd<T>(pub(crate) T, pub(crate) String);

impl<T: FromStr + Send, S: Send + Sync> FromRequestParts<S> for IdAnd<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((text, name)) = path.map_err(|_| bad_path())?;
        Ok(Self(parse_id(&text)?, name))
    }
}

fn bad_path() -> ApiError {
    ApiError::malformed("the path is not valid UTF-8")
}

fn parse_id<T: FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("nothing has the id `{}`", shown(text))))
}

/// What a caller sent, cut short and without control characters, for repeating it in an answer.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).filter(|c| !c.is_control()).collect()
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
            .map_err(|rejection| query_error(&rejection.body_text()))
    }
}

/// The rejection's own words are `Failed to deserialize query string: limit: invalid digit found in string`.
fn query_error(text: &str) -> ApiError {
    let problem = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    ApiError::validation(vec![match problem.split_once(": ") {
        Some((field, problem)) if !field.contains(' ') => Detail::new(shown(field), json::problem(problem).1),
        _ => {
            let (field, problem) = json::problem(problem);
            Detail::new(field.map_or_else(|| "query".to_owned(), |field| shown(&field)), problem)
        }
    }])
}

/// `If-Match: "7"`: the change is meant for generation 7.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let number = Some(quoted).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match number.and_then(|digits| digits.parse().ok()) {
            Some(generation) if values.next().is_none() => Ok(Self(Some(generation))),
            _ => Err(ApiError::malformed("If-Match has to be one generation in quotes, such as \"7\"")),
        }
    }
}
