//! One GET for metrics: no redirects, no compression, at most so many bytes.

use std::future::poll_fn;
use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::collect::{Collector, Format, Incomplete};
use super::series::Seen;
use super::url::ScrapeUrl;
use crate::probes::{Lookup, LookupError};
use crate::requests::mapping::Mapping;

/// A body that is longer is given up, and nothing of it counts.
pub const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Of a head; hyper refuses to go below 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;

const AGENT: &str = concat!("outrigger-agent/", env!("CARGO_PKG_VERSION"));
/// What a Prometheus that knows no protobuf asks for.
const FORMATS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const OPEN_METRICS: &str = "application/openmetrics-text";

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("no HTTP answer")]
    NoAnswer(#[source] hyper::Error),
    #[error("the answer broke off")]
    Broken(#[source] hyper::Error),
    #[error("status {0}, expected 200")]
    Status(u16),
    #[error("status {0}: redirects are not followed, name the place itself")]
    Redirect(u16),
    #[error("the answer is compressed, which was not asked for")]
    Compressed,
    #[error("the answer is more than {} MiB", BODY_BYTES >> 20)]
    TooLong,
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
}

/// Asks once.
pub(super) async fn fetch(
    url: &ScrapeUrl,
    lookup: &Lookup,
    mapping: &Arc<Mapping>,
    hashes: &RandomState,
) -> Result<Seen, FetchError> {
    let stream = connect(url, lookup).await?;
    let request = request(url).map_err(FetchError::Request)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::NoAnswer)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(FetchError::NoAnswer)?;
        read(answer, mapping, hashes).await
    };
    let mut exchange = pin!(exchange);
    tokio::select! {
        answer = exchange.as_mut() => return answer,
        // How it ended, whoever waits for the answer is told.
        _ = connection => {}
    }
    exchange.await
}

async fn connect(url: &ScrapeUrl, lookup: &Lookup) -> Result<TcpStream, FetchError> {
    let to = |address: SocketAddr| async move {
        TcpStream::connect(address).await.map_err(|source| FetchError::Connect { address, source })
    };
    if !url.is_localhost() {
        return to(lookup.address(url.host(), url.port()).await?).await;
    }
    // Programs listen on either, and seldom on both.
    let [first, second] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match to(SocketAddr::new(first, url.port())).await {
        Ok(stream) => Ok(stream),
        Err(error) => to(SocketAddr::new(second, url.port())).await.map_err(|_| error),
    }
}

fn request(url: &ScrapeUrl) -> Result<Request<String>, http::Error> {
    Request::get(url.path().as_str())
        .header(HOST, url.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, FORMATS)
        .header(CONNECTION, "close")
        .body(String::new())
}

async fn read(answer: Response<Incoming>, mapping: &Arc<Mapping>, hashes: &RandomState) -> Result<Seen, FetchError> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(FetchError::Redirect(status.as_u16()));
    }
    if status != http::StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    if answer.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Compressed);
    }
    let mut collector = Collector::new(Arc::clone(mapping), format_of(answer.headers()), hashes.clone());
    let mut body = answer.into_body();
    let mut left = BODY_BYTES;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(FetchError::Broken)?;
        let Some(chunk) = frame.data_ref() else { continue };
        left = left.checked_sub(Bytes::len(chunk)).ok_or(FetchError::TooLong)?;
        collector.feed(chunk);
        // An answer of many pieces that are all there already must not keep everything else from its turn.
        tokio::task::yield_now().await;
    }
    Ok(collector.finish()?)
}

/// A program that says nothing means the older format.
fn format_of(headers: &HeaderMap) -> Format {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(OPEN_METRICS) { Format::OpenMetrics } else { Format::Prometheus }
}
