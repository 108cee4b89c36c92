//! One request and its answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::RequestMeter;
use super::body::{AnswerBody, Flight, ProgramBody, RequestBody};
use super::headers::{self, Peer};
use super::upstream::{Upstream, UpstreamError};
use super::watch::Activity;
use super::{ProxyLimits, Stage, tunnel};

/// A client's connection, as its requests see it.
pub(super) struct Client {
    peer: Peer,
    upstream: Arc<Upstream>,
    meter: RequestMeter,
    activity: Arc<Activity>,
    stages: watch::Receiver<Stage>,
    /// Its place among the connections: free when the last request and tunnel are gone.
    _place: OwnedSemaphorePermit,
}

impl Client {
    pub(super) fn new(
        address: IpAddr,
        upstream: Arc<Upstream>,
        meter: RequestMeter,
        activity: Arc<Activity>,
        stages: watch::Receiver<Stage>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { peer: Peer::new(address), upstream, meter, activity, stages, _place: place }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn limits(&self) -> &ProxyLimits {
        self.upstream.limits()
    }

    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.clone()
    }
}

/// Passes a request on and its answer back. There is always an answer.
pub(super) async fn answer(
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let flight = Flight::new(client.meter.begin(Instant::now()), Arc::clone(&client.activity));
    if request.method() == Method::CONNECT {
        return Ok(own(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: this is a reverse proxy", flight));
    }
    let to_client = hyper::upgrade::on(&mut request);
    let (mut head, body) = request.into_parts();
    let upgrade = headers::wanted_upgrade(&head);
    let wants_upgrade = upgrade.is_some();
    headers::rewrite_request(&mut head, upgrade, &client.peer);
    // hyper's handle for the upgrade must not travel into the pool.
    head.extensions.clear();
    let body = if body.is_end_stream() { RequestBody::Empty } else { RequestBody::Client(body) };
    if body.size_hint().exact().is_none() {
        // Said aloud, or hyper takes a GET for one without a body.
        head.headers.insert(header::TRANSFER_ENCODING, const { HeaderValue::from_static("chunked") });
    }

    let sent = client.upstream.send(Request::from_parts(head, body), &client.activity).await;
    let (mut response, lease) = match sent {
        Ok(answered) => answered,
        Err(error) => return Ok(failure(&error, flight)),
    };
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !wants_upgrade {
        return Ok(failure(&UpstreamError::UnaskedUpgrade, flight));
    }
    if response.status().is_server_error() {
        flight.failed();
    }
    headers::rewrite_response(response.headers_mut(), upgraded);
    let mut flight = flight;
    if upgraded {
        let to_program = hyper::upgrade::on(&mut response);
        flight.answered();
        tokio::spawn(tunnel::carry(client, to_client, to_program));
    } else if is_event_stream(&response) {
        flight.answered();
    }
    Ok(response.map(|body| AnswerBody::Program(ProgramBody::new(body, flight, lease))))
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

fn failure(error: &UpstreamError, flight: Flight) -> Response<AnswerBody> {
    let status = match error {
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        UpstreamError::BadRequestBody(_) => StatusCode::BAD_REQUEST,
        UpstreamError::Refused
        | UpstreamError::Connect(_)
        | UpstreamError::Closed(_)
        | UpstreamError::BadAnswer(_)
        | UpstreamError::UnaskedUpgrade => StatusCode::BAD_GATEWAY,
    };
    if status.is_server_error() {
        tracing::debug!(error = error as &dyn std::error::Error, "a request got no answer from the program");
        flight.failed();
    }
    let reason = status.canonical_reason().unwrap_or_default().to_lowercase();
    own(status, &format!("{reason}: {error}"), flight)
}

/// An answer of the proxy itself. Timed as well: how long clients wait for an error is worth knowing.
fn own(status: StatusCode, text: &str, mut flight: Flight) -> Response<AnswerBody> {
    flight.answered();
    let mut response = Response::new(AnswerBody::Own { text: Some(Bytes::from(format!("{text}\n"))), _flight: flight });
    *response.status_mut() = status;
    let plain = const { HeaderValue::from_static("text/plain; charset=utf-8") };
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
