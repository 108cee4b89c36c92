//! What is not passed on, and how that is said.

use std::time::Duration;

use outrigger_protocol::metric::Metric;

use super::fixture::{Program, Running, custom, eventually, field, get, limits, ok, soon, status};
use crate::requests::proxy::ProxyLimits;

#[tokio::test]
async fn messages_with_two_meanings_are_refused_with_a_reason() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    for (fields, why) in [
        ("content-length: 50\r\ntransfer-encoding: chunked\r\n", "there are both Content-Length and Transfer-Encoding"),
        ("content-length: 3\r\ncontent-length: 50\r\n", "there is more than one Content-Length"),
        ("host: b\r\n", "there is more than one Host"),
        ("x: y\r\n folded: z\r\n", "a header field is folded over lines"),
    ] {
        let mut client = proxy.client().await;
        let (head, body) = client.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n{smuggled}")).await;
        assert_eq!((status(&head), body), (400, format!("bad request: {why}\n")));
        assert_eq!(field(&head, "proxy-status"), Some("outrigger; error=http_request_error"));
        assert_eq!(field(&head, "connection"), Some("close"));
        assert!(client.ended().await, "nothing behind it is heard");
    }
    assert_eq!(program.connections(), 0);
    let mut refused = 0.0;
    eventually("all are counted, and none as an error", || {
        let sample = proxy.sample();
        assert_eq!(sample.value(Metric::RequestErrors), Some(0.0));
        refused += custom(&sample, "requests_refused").unwrap_or_default();
        refused == 4.0
    })
    .await;
}

#[tokio::test]
async fn requests_before_a_bad_one_are_answered_first() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&format!("{}{}BROKEN\r\n\r\n{}", get("/1"), get("/2"), get("/3"))).await;
    for path in ["/1", "/2"] {
        assert!(client.message().await.unwrap().1.starts_with(&format!("GET {path} ")));
    }
    assert_eq!(status(&client.message().await.unwrap().0), 400);
    assert!(client.ended().await);
}

#[tokio::test]
async fn a_body_that_is_no_chunks_is_a_400_and_ends_nothing_for_the_program() {
    let program = Program::start(|_, mut wire| async move {
        assert_eq!(wire.read_until("0\r\n\r\n").await, None, "the program never sees an end");
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    for chunk in ["3\r\nabcd\r\n0\r\n\r\n", "0x1\r\na\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n"] {
        let mut client = proxy.client().await;
        let (head, body) =
            client.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}")).await;
        assert_eq!(
            (status(&head), body.as_str()),
            (400, "bad request: the request's body is malformed or broke off\n")
        );
        assert!(client.ended().await);
    }
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_a_413() {
    let program = Program::start(|_, mut wire| async move {
        while let Some((head, _)) = wire.message().await {
            if field(&head, "transfer-encoding").is_some() {
                wire.ended().await;
                return;
            }
            wire.send(&ok("fits")).await;
        }
    })
    .await;
    let proxy = Running::start(program.address, ProxyLimits { body_bytes: 4, ..limits() }).await;
    let mut client = proxy.client().await;
    let (_, body) = client.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nfour").await;
    assert_eq!(body, "fits");
    let (head, body) = client.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfive!").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (413, "payload too large: the request's body is larger than the limit\n")
    );
    assert_eq!(field(&head, "proxy-status"), Some("outrigger; error=http_request_denied"));
    let mut client = proxy.client().await;
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    assert_eq!(status(&client.ask(chunked).await.0), 413);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_a_503_that_says_when_to_come_again() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.ended().await;
    })
    .await;
    let proxy = Running::start(program.address, ProxyLimits { requests: 1, ..limits() }).await;
    let mut first = proxy.client().await;
    first.send(&get("/slow")).await;
    proxy.in_flight(1.0).await;
    let (head, body) = proxy.client().await.ask(&get("/")).await;
    assert_eq!(status(&head), 503);
    assert_eq!(body, "service unavailable: as many requests as may be are under way\n");
    assert_eq!(field(&head, "retry-after"), Some("1"));
    assert_eq!(field(&head, "proxy-status"), Some("outrigger; error=connection_limit_reached"));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_408() {
    let program = Program::start(|_, mut wire| async move { assert_eq!(wire.message().await, None) }).await;
    let patience = Duration::from_millis(50);
    let proxy = Running::start(program.address, ProxyLimits { response_timeout: patience, ..limits() }).await;
    let (head, body) = proxy.client().await.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhal").await;
    assert_eq!((status(&head), body.as_str()), (408, "request timeout: the request's body does not arrive\n"));
}

#[tokio::test]
async fn a_refused_client_that_goes_on_sending_still_reads_why() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\ncontent-length: 500000\r\n\r\n").await;
    client.send(&"x".repeat(500_000)).await;
    let (head, body) = soon(client.message()).await.unwrap();
    assert_eq!((status(&head), body.as_str()), (400, "bad request: there is no Host\n"));
}
