//! Upgraded connections.

use std::time::Duration;

use outrigger_protocol::metric::Metric;
use tokio::io::AsyncWriteExt as _;

use super::fixture::{Program, Running, Wire, custom, eventually, field, limits, status};
use crate::requests::proxy::ProxyLimits;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/// Echoes lines, and says goodbye when the client has said its last word.
async fn echo() -> Program {
    Program::start(|_, mut wire| async move {
        wire.head().await.unwrap();
        wire.send(SWITCHING).await;
        while let Some(line) = wire.read_until("\n").await {
            wire.send(&line).await;
        }
        wire.send("goodbye\n").await;
    })
    .await
}

async fn upgraded(proxy: &Running) -> Wire {
    let mut client = proxy.client().await;
    client.send(UPGRADE).await;
    let head = client.head().await.unwrap();
    assert_eq!((status(&head), field(&head, "upgrade")), (101, Some("echo")));
    client
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let program = echo().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = upgraded(&proxy).await;
    client.send("hello\n").await;
    assert_eq!(client.read_until("\n").await.unwrap(), "hello\n");
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.read_until("\n").await.unwrap(), "goodbye\n", "the other direction goes on");
    assert!(client.ended().await);
}

#[tokio::test]
async fn an_open_one_is_a_request_that_was_answered_and_a_number_of_its_own() {
    let program = echo().await;
    let proxy = Running::start(program.address, limits()).await;
    let client = upgraded(&proxy).await;
    proxy.in_flight(0.0).await;
    let sample = proxy.sample();
    assert_eq!((sample.value(Metric::Requests), custom(&sample, "tunnels")), (Some(1.0), Some(1.0)));
    assert_eq!(sample.latency.map(|latency| latency.count()), Some(1));
    drop(client);
    eventually("it is over", || custom(&proxy.sample_of_no_time(), "tunnels") == Some(0.0)).await;
    assert_eq!(proxy.sample().latency, None, "however long it was");
}

#[tokio::test]
async fn a_silent_one_is_closed() {
    let program = echo().await;
    let limit = Duration::from_millis(50);
    let proxy = Running::start(program.address, ProxyLimits { stall_timeout: limit, ..limits() }).await;
    assert!(upgraded(&proxy).await.ended().await);
}

#[tokio::test]
async fn what_follows_the_head_at_once_is_not_taken_for_another() {
    let program = echo().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&format!("{UPGRADE}\0not a head\r\n\r\n\n")).await;
    assert_eq!(status(&client.head().await.unwrap()), 101);
    assert_eq!(client.read_until("\n").await.unwrap(), "\0not a head\r\n");
}
