//! One request and its answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::{Outcome, RequestMeter};
use super::activity::Activity;
use super::body::{AnswerBody, Flight, ProgramBody, RequestBody, is_grpc_failure};
use super::headers::{self, Peer};
use super::refusal::{Kind, Refusal};
use super::upstream::{Upstream, UpstreamError};
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
        let is_trusted = upstream.trusts(address);
        Self { peer: Peer::new(address, is_trusted), upstream, meter, activity, stages, _place: place }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn meter(&self) -> &RequestMeter {
        &self.meter
    }

    pub(super) fn limits(&self) -> &ProxyLimits {
        self.upstream.limits()
    }

    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.clone()
    }
}

const CONNECT: Refusal = Refusal::new(
    StatusCode::METHOD_NOT_ALLOWED,
    Kind::RequestDenied,
    "this is a reverse proxy, which does not CONNECT",
);
const NO_HOST: Refusal = Refusal::bad_request("there is no Host");
const OVERLOADED: Refusal =
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::LimitReached, "as many requests as may be are under way");
const TOO_LARGE: Refusal =
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::RequestDenied, "the request's body is larger than the limit");

/// Passes a request on and its answer back. There is always an answer.
pub(super) async fn answer(
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let flight = Flight::new(client.meter.begin(Instant::now()), Arc::clone(&client.activity));
    let limits = client.limits();
    if let Some(refusal) = objection(&client, &request) {
        flight.ended_as(Outcome::Refused);
        return Ok(refusal.answer(flight));
    }
    let to_client = hyper::upgrade::on(&mut request);
    let (mut head, body) = request.into_parts();
    let protocol = client.upstream.protocol();
    let upgrade = headers::wanted_upgrade(&head, protocol);
    let wants_upgrade = upgrade.is_some();
    headers::rewrite_request(&mut head, upgrade, &client.peer, protocol);
    // hyper's handle for the upgrade must not travel into the pool.
    head.extensions.clear();
    let body = RequestBody::new(body, &client.activity, limits.body_bytes);
    if body.size_hint().exact().is_none() && head.version == Version::HTTP_11 {
        // Said aloud, or hyper takes a GET for one without a body.
        head.headers.insert(header::TRANSFER_ENCODING, const { HeaderValue::from_static("chunked") });
    }

    let (mut response, lease) = match client.upstream.send(Request::from_parts(head, body)).await {
        Ok(answered) => answered,
        Err(error) => return Ok(failure(&error, flight)),
    };
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !wants_upgrade {
        return Ok(failure(&UpstreamError::UnaskedUpgrade, flight));
    }
    if response.status().is_server_error() || is_grpc_failure(response.headers()) {
        flight.ended_as(Outcome::ServerError);
    } else if response.status().is_client_error() {
        flight.ended_as(Outcome::ClientError);
    }
    headers::rewrite_response(response.headers_mut(), upgraded);
    *response.version_mut() = Version::HTTP_11;
    let mut flight = flight;
    if upgraded {
        let to_program = hyper::upgrade::on(&mut response);
        flight.answered();
        client.activity.enter_raw();
        tokio::spawn(tunnel::carry(client, to_client, to_program));
    } else if is_event_stream(&response) {
        flight.answered();
    }
    Ok(response.map(|body| AnswerBody::Program(ProgramBody::new(body, flight, lease))))
}

/// Why a request is not even tried.
fn objection(client: &Client, request: &Request<Incoming>) -> Option<Refusal> {
    let limits = client.limits();
    if request.method() == Method::CONNECT {
        return Some(CONNECT);
    }
    if request.version() == Version::HTTP_2
        && request.uri().authority().is_none()
        && !request.headers().contains_key(header::HOST)
    {
        return Some(NO_HOST);
    }
    if client.meter.in_flight() > u64::from(limits.requests) {
        return Some(OVERLOADED);
    }
    (request.body().size_hint().lower() > limits.body_bytes).then_some(TOO_LARGE)
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
    let (status, kind) = match error {
        UpstreamError::Refused => (StatusCode::BAD_GATEWAY, Kind::ConnectionRefused),
        UpstreamError::Connect(_) => (StatusCode::BAD_GATEWAY, Kind::DestinationUnavailable),
        UpstreamError::ConnectTimeout => (StatusCode::GATEWAY_TIMEOUT, Kind::ConnectionTimeout),
        UpstreamError::Closed(_) => (StatusCode::BAD_GATEWAY, Kind::ConnectionTerminated),
        UpstreamError::BadAnswer(_) => (StatusCode::BAD_GATEWAY, Kind::ProtocolError),
        UpstreamError::UnaskedUpgrade => (StatusCode::BAD_GATEWAY, Kind::UpgradeFailed),
        UpstreamError::ResponseTimeout => (StatusCode::GATEWAY_TIMEOUT, Kind::ResponseTimeout),
        UpstreamError::RequestStalled => (StatusCode::REQUEST_TIMEOUT, Kind::RequestError),
        UpstreamError::RequestBroken => (StatusCode::BAD_REQUEST, Kind::RequestError),
        UpstreamError::RequestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Kind::RequestDenied),
    };
    if status.is_server_error() {
        tracing::debug!(error = error as &dyn std::error::Error, "a request got no answer from the program");
        flight.ended_as(Outcome::Unanswered);
    } else {
        flight.ended_as(Outcome::Refused);
    }
    Refusal { status, kind, why: error.to_string().into() }.answer(flight)
}
