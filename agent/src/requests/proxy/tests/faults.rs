//! Programs that are away, hang, break off, or speak something else.

use std::time::Duration;

use outrigger_protocol::metric::Metric;
use tokio::net::TcpListener;

use super::fixture::{Program, Running, get, limits, ok, status};
use crate::requests::proxy::ProxyLimits;

#[tokio::test]
async fn a_program_that_is_not_there_is_a_502_in_words() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Running::start(free, limits()).await;
    let mut client = proxy.client().await;
    let (head, body) = client.ask(&get("/")).await;
    assert_eq!((status(&head), body.as_str()), (502, "bad gateway: the program refuses connections\n"));
    let (head, _) = client.ask(&get("/")).await;
    assert_eq!(status(&head), 502, "the client's connection stays usable");
    assert_eq!(proxy.sample().value(Metric::RequestErrors), Some(2.0));
}

#[tokio::test]
async fn a_program_that_is_being_restarted_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let window = ProxyLimits { restart_window: Duration::from_secs(10), ..limits() };
    let proxy = Running::start(address, window).await;
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    proxy.in_flight(1.0).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _program = Program::listen(listener, |_, mut wire| async move {
        wire.head().await;
        wire.send(&ok("back")).await;
    });
    assert_eq!(client.message().await.unwrap().1, "back");
}

#[tokio::test]
async fn what_is_not_http_is_a_502() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let (head, body) = proxy.client().await.ask(&get("/")).await;
    assert_eq!((status(&head), body.as_str()), (502, "bad gateway: the program's answer is not HTTP\n"));
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_502() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
        wire.ended().await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let (head, _) = proxy.client().await.ask(&get("/")).await;
    assert_eq!(status(&head), 502);
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_a_504() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.ended().await;
    })
    .await;
    let proxy =
        Running::start(program.address, ProxyLimits { response_timeout: Duration::from_millis(20), ..limits() }).await;
    let (head, body) = proxy.client().await.ask(&get("/")).await;
    assert_eq!((status(&head), body.as_str()), (504, "gateway timeout: the program does not answer\n"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_and_is_an_error() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&get("/")).await;
    assert_eq!(client.message().await, None);
    proxy.in_flight(0.0).await;
    assert_eq!(proxy.sample().value(Metric::RequestErrors), Some(1.0));
}

#[tokio::test]
async fn the_programs_own_errors_are_counted_and_passed_on() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy").await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let (head, body) = proxy.client().await.ask(&get("/")).await;
    assert_eq!((status(&head), body.as_str()), (503, "busy"));
    assert_eq!(proxy.sample().value(Metric::RequestErrors), Some(1.0));
}
