//! HTTP/2 on either side.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_protocol::metric::Metric;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{Program, Running, custom, eventually, get, limits, ok, soon, status};
use crate::requests::proxy::{Protocol, ProxyLimits};

type TestBody = BoxBody<Bytes, Infallible>;

async fn client(proxy: &Running) -> SendRequest<TestBody> {
    let stream = soon(TcpStream::connect(proxy.address)).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> Request<TestBody> {
    Request::get(format!("http://program.test{path}")).body(Empty::new().boxed()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(soon(response.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A body of data and, after it, trailers.
fn with_trailers(data: &'static str, name: &'static str, value: &'static str) -> TestBody {
    let trailers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
    let frames = [Frame::data(Bytes::from(data)), Frame::trailers(trailers)];
    StreamBody::new(futures(frames.map(Ok::<_, Infallible>))).boxed()
}

fn futures<T: Send + 'static>(items: impl IntoIterator<Item = T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::iter(items.into_iter().collect::<Vec<_>>())
}

/// A program that speaks HTTP/2 alone: answers with what it got, the request's trailers in `x-trailer`, and ends with the
/// `grpc-status` that the path names.
async fn grpc_program() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |request: Request<Incoming>| {
                let te = request.headers().get("te").cloned();
                let code = if request.uri().path() == "/ok" { "0" } else { "13" };
                let via = request.headers()["via"].clone();
                let authority = request.uri().authority().map_or("", |authority| authority.as_str()).to_owned();
                let body = request.into_body().collect().await.unwrap();
                let trailer = body.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
                assert_eq!(authority, "program.test");
                let mut response = Response::new(with_trailers("answer", "grpc-status", code));
                let headers = response.headers_mut();
                headers.insert("x-via", via);
                for (name, seen) in [("x-te", te), ("x-trailer", trailer)] {
                    if let Some(value) = seen {
                        headers.insert(name, value);
                    }
                }
                Ok::<_, Infallible>(response)
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

#[tokio::test]
async fn a_program_of_http_1_serves_clients_of_http_2() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = client(&proxy).await;
    for path in ["/a", "/b?c=d"] {
        let response = soon(client.send_request(request(path))).await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        let seen = text(response).await;
        assert!(seen.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{seen}");
        assert!(seen.contains("host: program.test\r\n") && seen.contains("via: 2.0 outrigger\r\n"), "{seen}");
    }
    assert_eq!(program.connections(), 1);
    proxy.in_flight(0.0).await;
    let sample = proxy.sample();
    assert_eq!(sample.value(Metric::Requests), Some(2.0));
    assert_eq!(sample.latency.map(|latency| latency.count()), Some(2));
    assert_eq!(
        proxy.client().await.ask(&get("/c")).await.0.lines().next(),
        Some("HTTP/1.1 200 OK"),
        "on the same port"
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_for_a_program_of_http_1() {
    let program = Program::start(|_, mut wire| async move {
        let head = wire.head().await.unwrap();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        wire.read_until("0\r\n\r\n").await.unwrap();
        wire.send(&ok("whole")).await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let frames = ["some", "thing"].map(|data| Ok::<_, Infallible>(Frame::data(Bytes::from(data))));
    let mut post = request("/");
    *post.method_mut() = Method::POST;
    *post.body_mut() = StreamBody::new(futures(frames)).boxed();
    let response = soon(client(&proxy).await.send_request(post)).await.unwrap();
    assert_eq!(text(response).await, "whole");
}

#[tokio::test]
async fn requests_of_one_connection_do_not_wait_for_each_other() {
    let (go, waiting) = tokio::sync::watch::channel(false);
    let program = Program::start(move |_, mut wire| {
        let mut waiting = waiting.clone();
        async move {
            if wire.head().await.unwrap().starts_with("GET /slow") {
                waiting.wait_for(|go| *go).await.unwrap();
            }
            wire.send(&ok("done")).await;
        }
    })
    .await;
    let mut proxy = Running::start(program.address, limits()).await;
    let client = client(&proxy).await;
    let slow = tokio::spawn(client.clone().send_request(request("/slow")));
    proxy.in_flight(1.0).await;
    assert_eq!(text(soon(client.clone().send_request(request("/"))).await.unwrap()).await, "done");
    // What is under way ends well, and nothing new begins.
    proxy.stop();
    while TcpStream::connect(proxy.address).await.is_ok() {}
    go.send_replace(true);
    assert_eq!(text(soon(slow).await.unwrap().unwrap()).await, "done");
    eventually("the client was told to go", || client.is_closed()).await;
    proxy.stopped().await;
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_counts_by_its_status() {
    let program = grpc_program().await;
    let proxy = Running::speaking(Protocol::Http2, program, limits()).await;
    let mut client = client(&proxy).await;
    for (path, code) in [("/ok", "0"), ("/internal", "13")] {
        let mut call = request(path);
        *call.method_mut() = Method::POST;
        call.headers_mut().insert("te", "trailers".parse().unwrap());
        *call.body_mut() = with_trailers("question", "x-sum", "7");
        let response = soon(client.send_request(call)).await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(
            (&headers["x-te"], &headers["x-trailer"], &headers["x-via"]),
            (&"trailers".parse().unwrap(), &"7".parse().unwrap(), &"2.0 outrigger".parse().unwrap())
        );
        let body = soon(response.into_body().collect()).await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], code);
        assert_eq!(body.to_bytes(), "answer");
    }
    proxy.in_flight(0.0).await;
    let sample = proxy.sample();
    assert_eq!(custom(&sample, "requests_5xx"), Some(1.0));
    assert_eq!(sample.latency.map(|latency| latency.count()), Some(2));
}

#[tokio::test]
async fn a_program_of_http_2_serves_clients_of_http_1() {
    let program = grpc_program().await;
    let proxy = Running::speaking(Protocol::Http2, program, limits()).await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client
            .send("POST /ok HTTP/1.1\r\nhost: program.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            .await;
        let head = client.head().await.unwrap();
        assert!(status(&head) == 200 && head.contains("x-via: 1.1 outrigger"), "{head}");
        assert!(client.read_until("0\r\n\r\n").await.unwrap().contains("answer"));
    }
}

#[tokio::test]
async fn what_speaks_no_http_2_is_a_502() {
    let program = Program::start(|_, mut wire| async move {
        wire.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        wire.ended().await;
    })
    .await;
    let proxy = Running::speaking(Protocol::Http2, program.address, limits()).await;
    let (head, _) = proxy.client().await.ask(&get("/")).await;
    assert_eq!(status(&head), 502);
}

#[tokio::test]
async fn a_preface_may_come_in_pieces() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await.stream;
    client.set_nodelay(true).unwrap();
    for byte in PREFACE {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame = [0; 9];
    soon(client.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame[3], 4, "SETTINGS");
}

#[tokio::test]
async fn a_client_that_only_begins_requests_is_cut_off() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.ended().await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let client = client(&proxy).await;
    let mut begun = 0;
    while !client.is_closed() {
        assert!(begun < 1_000, "it may go on for ever");
        let request = tokio::spawn(client.clone().send_request(request("/")));
        eventually("it has begun, or the connection is gone", || {
            proxy.requests_in_flight() > 0.0 || client.is_closed()
        })
        .await;
        request.abort();
        eventually("it is over", || proxy.requests_in_flight() == 0.0).await;
        begun += 1;
    }
    assert!(begun > 50, "some patience");
}

#[tokio::test]
async fn a_silent_stream_is_given_up_and_an_idle_connection_closed() {
    let program = Program::start(|_, mut wire| async move {
        if wire.head().await.is_some_and(|head| head.starts_with("GET /silent")) {
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
            wire.ended().await;
        } else {
            wire.send(&ok("done")).await;
        }
    })
    .await;
    let limits = ProxyLimits { stall_timeout: Duration::from_millis(50), ..limits() };
    let proxy = Running::start(program.address, limits.clone()).await;
    let response = soon(client(&proxy).await.send_request(request("/silent"))).await.unwrap();
    assert!(soon(response.into_body().collect()).await.is_err());

    let limits = ProxyLimits { keep_alive: Duration::from_millis(500), ..limits };
    let proxy = Running::start(program.address, limits).await;
    let mut idle = client(&proxy).await;
    assert_eq!(text(soon(idle.send_request(request("/"))).await.unwrap()).await, "done");
    eventually("it is closed", || idle.is_closed()).await;
}
