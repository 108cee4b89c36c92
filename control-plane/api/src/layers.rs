//! What every request passes through.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use outrigger_protocol::time::UnixMillis;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::envelope::now;
use crate::error::{ApiError, Failure};
use crate::metrics::Metrics;
use crate::state::Readiness;

/// Bodies of JSON routes.
pub(crate) const JSON_BODY_BYTES: usize = 1024 * 1024;
/// Bodies of policy uploads: an interpreter for Python is 18 MB.
pub(crate) const COMPONENT_BODY_BYTES: usize = 32 * 1024 * 1024;
/// How long a request may take, reading its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The id of a request: the client's own if it is a plain word, else a fresh one.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps all routes. The outermost layer is the last one added.
pub(crate) fn wrap(router: Router, metrics: Metrics) -> Router {
    router
        .layer(DefaultBodyLimit::max(JSON_BODY_BYTES))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal error: the request ended in a panic")
                .into_response()
        }))
        .layer(from_fn_with_state(metrics, observe))
}

/// Whoever shuts down begins nothing new: reads go on, changes are sent away.
pub(crate) async fn admit(State(readiness): State<Readiness>, request: Request, next: Next) -> Response {
    if readiness.is_draining() && !request.method().is_safe() {
        return ApiError::draining().into_response();
    }
    next.run(request).await
}

async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let (began, in_flight) = (Instant::now(), metrics.meter().begin());
    let (route, asked) = (request.extensions().get::<MatchedPath>().cloned(), request.method().clone());
    let span =
        tracing::info_span!("request", request_id = %id, method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request));
    let response = async {
        let response = answered.await.unwrap_or_else(|_| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took longer than 30 s").into_response()
        });
        let elapsed = began.elapsed();
        metrics.meter().answered(route.as_ref().map(MatchedPath::as_str), &asked, response.status(), elapsed);
        tracing::debug!(status = response.status().as_u16(), ?elapsed, "answered");
        response
    }
    .instrument(span)
    .await;
    drop(in_flight);
    finish(response, &id)
}

fn request_id(request: &Request) -> String {
    let plain = |text: &&str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = request.headers().get(&X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    given.map_or_else(
        || {
            let mut entropy = [0; 10];
            // An id that repeats is a nuisance in a log, nothing more.
            let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut entropy);
            let time = UnixMillis::now().as_millis();
            entropy.iter().fold(format!("{time:x}-"), |id, byte| format!("{id}{byte:02x}"))
        },
        str::to_owned,
    )
}

/// Writes the envelope of a failure, and the headers of every answer.
fn finish(mut response: Response, id: &str) -> Response {
    let failure = response.extensions_mut().remove::<ApiError>().or_else(|| framework_failure(&response));
    if let Some(error) = failure {
        let body = Failure {
            success: false,
            error: error.error,
            code: error.code,
            details: error.details,
            request_id: id.to_owned(),
            timestamp: now(),
        };
        let text = serde_json::to_vec(&body).expect("a failure is strings and numbers");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = Body::from(text);
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID.clone(), value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Errors that axum answered itself, in plain text, before a route was reached.
fn framework_failure(response: &Response) -> Option<ApiError> {
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => ApiError::not_found("there is no such route"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(status, "method_not_allowed", "method not allowed on this route; see the Allow header")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("the body exceeds the limit of this route"),
        _ => ApiError::new(status, "refused", format!("refused: {status}")),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::routing::{get, post};
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::{MetricsAccess, MetricsSources};

    async fn answer(router: Router, request: Request) -> (StatusCode, serde_json::Value) {
        let metrics = Metrics::new(MetricsAccess::default(), None, MetricsSources::default());
        let response = wrap(router, metrics).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 64 * 1024).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn request(path: &str) -> Request {
        Request::builder().uri(path).header("x-request-id", "mine").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_ends_its_request_and_not_the_answer() {
        async fn broken() -> &'static str {
            panic!("with a secret in it")
        }
        let (status, body) = answer(Router::new().route("/", get(broken)), request("/")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((&body["code"], &body["requestId"]), (&"internal".into(), &"mine".into()));
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_ended() {
        let router = Router::new().route("/", get(std::future::pending::<()>));
        let (status, body) = answer(router, request("/")).await;
        assert_eq!((status, &body["code"]), (StatusCode::REQUEST_TIMEOUT, &"timeout".into()));
    }

    #[tokio::test]
    async fn what_the_framework_refuses_gets_the_envelope_too() {
        let router = || Router::new().route("/", post(async || ()));
        assert_eq!(answer(router(), request("/")).await.1["code"], "method_not_allowed");
        assert_eq!(answer(router(), request("/nowhere")).await.1["code"], "not_found");
    }
}
