//! Clients that ask too much, too slowly, or for something that is not to be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_protocol::metric::Metric;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::fixture::{Program, Running, eventually, get, limits, soon, status};
use crate::requests::proxy::ProxyLimits;

#[tokio::test]
async fn heads_beyond_the_limit_are_refused() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, ProxyLimits { head_bytes: 8 * 1024, ..limits() }).await;
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(9 * 1024));
    assert_eq!(status(&proxy.client().await.ask(&large).await.0), 431);
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(120));
    assert_eq!(status(&proxy.client().await.ask(&many).await.0), 431);
    assert_eq!(status(&proxy.client().await.ask("GET / HTTP/1.1\r\n broken\r\n\r\n").await.0), 400);
    assert_eq!(program.connections(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_a_408() {
    let program = Program::mirror().await;
    let proxy =
        Running::start(program.address, ProxyLimits { head_timeout: Duration::from_millis(20), ..limits() }).await;
    let mut client = proxy.client().await;
    let (head, _) = client.ask("GET / HTTP/1.1\r\nhost:").await;
    assert_eq!(status(&head), 408);
    assert!(client.ended().await);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let program = Program::mirror().await;
    let proxy =
        Running::start(program.address, ProxyLimits { keep_alive: Duration::from_millis(20), ..limits() }).await;
    let mut client = proxy.client().await;
    client.ask(&get("/")).await;
    assert!(client.ended().await);
}

#[tokio::test]
async fn connect_is_not_for_reverse_proxies() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let (head, _) = proxy.client().await.ask("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!(status(&head), 405);
    assert_eq!(program.connections(), 0);
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_program_down() {
    const TOTAL: usize = 128 << 20;
    /// What sockets of this machine may buffer on both sides of the proxy; the proxy itself holds some kilobytes.
    const BUFFERED: usize = 32 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let program = Program::start(move |_, mut wire| {
        let written = Arc::clone(&counter);
        async move {
            wire.head().await;
            wire.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n")).await;
            let chunk = vec![b'x'; 1 << 20];
            for _ in 0..TOTAL / chunk.len() {
                wire.stream.write_all(&chunk).await.unwrap();
                written.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&get("/large")).await;
    client.read_until("\r\n\r\n").await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    while read < TOTAL / 2 {
        read += soon(client.stream.read(&mut buffer)).await.unwrap();
        let ahead = written.load(Ordering::SeqCst).saturating_sub(read);
        assert!(ahead < BUFFERED, "{ahead} bytes ahead of the client");
        // The others have many turns for each of the client's.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, ProxyLimits { connections: 1, ..limits() }).await;
    let mut first = proxy.client().await;
    first.ask(&get("/1")).await;
    let mut second = proxy.client().await;
    second.send(&get("/2")).await;
    first.ask(&get("/3")).await;
    assert_eq!(proxy.sample().value(Metric::Requests), Some(2.0), "the second has to wait");
    drop(first);
    assert!(second.message().await.unwrap().1.starts_with("GET /2 "));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (left, noticed) = tokio::sync::mpsc::channel(1);
    let program = Program::start(move |_, mut wire| {
        let left = left.clone();
        async move {
            wire.head().await;
            assert!(wire.ended().await);
            left.send(()).await.unwrap();
        }
    })
    .await;
    let mut noticed = noticed;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&get("/slow")).await;
    proxy.in_flight(1.0).await;
    eventually("the program has the request", || program.connections() == 1).await;
    drop(client);
    soon(noticed.recv()).await.unwrap();
    proxy.in_flight(0.0).await;
    let sample = proxy.sample();
    assert_eq!((sample.value(Metric::RequestErrors), sample.latency), (Some(0.0), None));
}
