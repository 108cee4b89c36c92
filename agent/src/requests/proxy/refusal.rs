//! The proxy's own words: why a request gets no answer of the program.
//!
//! People read the text, machines the field `Proxy-Status` (RFC 9209) with one of its registered error types.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::{AnswerBody, Flight};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// For a request that may succeed in a moment.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error type of RFC 9209, 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConnectionRefused,
    DestinationUnavailable,
    ConnectionTimeout,
    ConnectionTerminated,
    ResponseTimeout,
    ProtocolError,
    UpgradeFailed,
    LimitReached,
    RequestDenied,
    RequestError,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::ConnectionRefused => "connection_refused",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ResponseTimeout => "http_response_timeout",
            Self::ProtocolError => "http_protocol_error",
            Self::UpgradeFailed => "http_upgrade_failed",
            Self::LimitReached => "connection_limit_reached",
            Self::RequestDenied => "http_request_denied",
            Self::RequestError => "http_request_error",
        }
    }
}

/// An answer that the proxy gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub kind: Kind,
    /// Why, without the status' own words; plain ASCII.
    pub why: Cow<'static, str>,
}

impl Refusal {
    pub(super) const fn new(status: StatusCode, kind: Kind, why: &'static str) -> Self {
        Self { status, kind, why: Cow::Borrowed(why) }
    }

    /// The request breaks a rule of its own protocol.
    pub(super) const fn bad_request(why: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::RequestError, why)
    }

    fn text(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or_default().to_lowercase();
        format!("{reason}: {}\n", self.why)
    }

    fn proxy_status(&self) -> String {
        format!("outrigger; error={}", self.kind.name())
    }

    /// As an answer to a request that is under way until it is sent. Timed as well: how long clients wait for an error is
    /// worth knowing.
    pub(super) fn answer(&self, mut flight: Flight) -> Response<AnswerBody> {
        flight.answered();
        let mut response = Response::new(AnswerBody::own(Bytes::from(self.text()), flight));
        *response.status_mut() = self.status;
        let plain = const { HeaderValue::from_static("text/plain; charset=utf-8") };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, plain);
        headers.insert(PROXY_STATUS, HeaderValue::from_str(&self.proxy_status()).expect("plain ASCII"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }

    /// As the last bytes of a connection of HTTP/1.1, when there is no request that could be answered.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (status, text) = (self.status, self.text());
        format!(
            "HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             {PROXY_STATUS}: {}\r\n\r\n{text}",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            text.len(),
            self.proxy_status(),
        )
        .into_bytes()
    }
}
