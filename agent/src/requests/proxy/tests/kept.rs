//! Connections to the program that are kept, and closed behind the proxy's back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outrigger_protocol::metric::Metric;

use super::fixture::{Program, Running, get, limits, ok, status};

/// Answers the first request of its first connection and closes when the second one arrives.
async fn program_that_closes_kept_connections(requests: Arc<AtomicUsize>) -> Program {
    Program::start(move |connection, mut wire| {
        let requests = Arc::clone(&requests);
        async move {
            let mut answered = 0;
            while wire.message().await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
                if connection == 1 && answered == 1 {
                    return;
                }
                wire.send(&ok("done")).await;
                answered += 1;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_sent_again_when_a_kept_connection_was_closed() {
    let requests = Arc::new(AtomicUsize::new(0));
    let program = program_that_closes_kept_connections(Arc::clone(&requests)).await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    assert_eq!(client.ask(&get("/1")).await.1, "done");
    assert_eq!(client.ask(&get("/2")).await.1, "done");
    assert_eq!((program.connections(), requests.load(Ordering::SeqCst)), (2, 3));
    assert_eq!(proxy.sample().value(Metric::RequestErrors), Some(0.0));
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let program = program_that_closes_kept_connections(Arc::clone(&requests)).await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(client.ask(post).await.1, "done");
    let (head, body) = client.ask(post).await;
    assert_eq!(status(&head), 502);
    assert_eq!(body, "bad gateway: the program closed the connection before it answered\n");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_the_program_closed_meanwhile_is_not_used() {
    let program = Program::start(|_, mut wire| async move {
        wire.message().await;
        wire.send(&ok("once")).await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    for _ in 0..20 {
        let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(client.ask(post).await.1, "once");
        // The close has reached the proxy once another connection went through.
        tokio::task::yield_now().await;
    }
    assert_eq!(program.connections(), 20);
}
