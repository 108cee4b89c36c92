//! How the proxy begins and ends.

use std::time::Duration;

use tokio::net::TcpListener;

use super::fixture::{Program, Running, eventually, field, get, limits, ok};
use crate::requests::proxy::{Protocol, Proxy, ProxyLimits, ProxyRoute};

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_closes_what_is_idle() {
    let (go, waiting) = tokio::sync::watch::channel(false);
    let program = Program::start(move |_, mut wire| {
        let mut waiting = waiting.clone();
        async move {
            wire.head().await;
            waiting.wait_for(|go| *go).await.unwrap();
            wire.send(&ok("finished")).await;
        }
    })
    .await;
    let mut proxy = Running::start(program.address, limits()).await;
    let mut idle = proxy.client().await;
    let mut busy = proxy.client().await;
    busy.send(&get("/")).await;
    proxy.in_flight(1.0).await;
    let address = proxy.address;
    proxy.stop();
    assert!(idle.ended().await);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    go.send_replace(true);
    let (head, body) = busy.message().await.unwrap();
    assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "finished"));
    assert!(busy.ended().await);
    proxy.stopped().await;
}

#[tokio::test]
async fn a_stop_breaks_off_what_does_not_end() {
    let program = Program::start(|connection, mut wire| async move {
        wire.head().await;
        if connection == 1 {
            wire.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
        }
        wire.ended().await;
    })
    .await;
    let mut proxy =
        Running::start(program.address, ProxyLimits { drain_timeout: Duration::from_millis(20), ..limits() }).await;
    let mut tunnel = proxy.client().await;
    tunnel.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    tunnel.head().await.unwrap();
    let mut stuck = proxy.client().await;
    stuck.send(&get("/")).await;
    eventually("both are with the program", || program.connections() == 2).await;
    proxy.stop();
    proxy.stopped().await;
    assert!(tunnel.ended().await && stuck.ended().await);
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let _holder = TcpListener::bind(taken).await.unwrap();
    let route = ProxyRoute { listen: taken, upstream: taken, protocol: Protocol::Http1 };
    let error = Proxy::bind(route, limits()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {taken} for the proxy"));
}
