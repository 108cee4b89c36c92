//! A GET, as a kubelet sends it, without its redirects.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use outrigger_protocol::probe::HttpTarget;
use tokio::net::TcpStream;

use super::AttemptError;

/// Of a head; hyper refuses to go below 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;
/// Of a body, which nobody looks at: so that a program that writes it is not cut off in the middle.
const BODY_BYTES: usize = 10 * 1024;

const AGENT: &str = concat!("outrigger-agent/", env!("CARGO_PKG_VERSION"));

/// Asks, and judges the status.
pub(super) async fn get(stream: TcpStream, target: &HttpTarget, port: u16) -> Result<(), AttemptError> {
    let request = request(target, port).map_err(AttemptError::Request)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(AttemptError::NoAnswer)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(AttemptError::NoAnswer)?;
        judge(answer, target).await
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        answer = exchange.as_mut() => return answer,
        // How it ended, whoever waits for the answer is told.
        _ = connection => {}
    }
    exchange.await
}

async fn judge(answer: Response<Incoming>, target: &HttpTarget) -> Result<(), AttemptError> {
    let status = answer.status().as_u16();
    if !target.expected.contains(&status) {
        return Err(AttemptError::Status { status, first: *target.expected.start(), last: *target.expected.end() });
    }
    let mut body = answer.into_body();
    let mut left = BODY_BYTES;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(AttemptError::BrokenAnswer)?;
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    Ok(())
}

fn request(target: &HttpTarget, port: u16) -> Result<Request<Nothing>, http::Error> {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::try_from(format!("{host}:{port}"))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut said = HeaderMap::new();
    for (name, value) in &target.headers {
        let mut value = HeaderValue::try_from(value)?;
        value.set_sensitive(true);
        said.append(HeaderName::try_from(name)?, value);
    }
    // A name that is said replaces all that would be sent otherwise.
    headers.extend(said);
    let mut request = Request::get(&target.path).body(Nothing)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The body of a GET.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
