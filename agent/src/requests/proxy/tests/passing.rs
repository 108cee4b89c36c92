//! What passes, and in which form.

use outrigger_protocol::metric::Metric;
use tokio::io::AsyncReadExt as _;

use super::fixture::{Program, Running, field, get, limits, ok, soon, status};

#[tokio::test]
async fn requests_of_one_connection_share_one_connection_to_the_program() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    for path in ["/a", "/b?c=d", "/e"] {
        let (head, body) = client.ask(&get(path)).await;
        assert_eq!(status(&head), 200);
        assert!(body.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{body}");
    }
    assert_eq!(program.connections(), 1);
    let sample = proxy.sample();
    assert_eq!(sample.value(Metric::Requests), Some(3.0));
    assert_eq!(sample.value(Metric::RequestErrors), Some(0.0));
    assert_eq!(sample.latency.map(|latency| latency.count()), Some(3));
}

#[tokio::test]
async fn the_program_is_told_who_asks_and_nothing_about_the_clients_connection() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let request =
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: 3\r\n\r\n";
    let (_, seen) = proxy.client().await.ask(request).await;
    assert_eq!(field(&seen, "host"), Some("a.test"));
    assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(field(&seen, name), None, "{name}");
    }
}

#[tokio::test]
async fn the_programs_connection_fields_do_not_reach_the_client() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send(
            "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
            x-kept: 2\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let (head, _) = proxy.client().await.ask(&get("/")).await;
    assert_eq!(field(&head, "x-kept"), Some("2"));
    assert_eq!((field(&head, "x-hop"), field(&head, "keep-alive")), (None, None));
}

#[tokio::test]
async fn chunked_bodies_pass_in_both_directions_with_any_method() {
    let program = Program::start(|_, mut wire| async move {
        while let Some(head) = wire.head().await {
            assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
            let body = wire.read_until("0\r\n\r\n").await.unwrap();
            wire.send(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}")).await;
        }
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    for method in ["POST", "GET"] {
        client.send(&format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        client.send("3\r\nabc\r\n0\r\n\r\n").await;
        let head = client.head().await.unwrap();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(client.read_until("0\r\n\r\n").await.unwrap(), "3\r\nabc\r\n0\r\n\r\n");
    }
    assert_eq!(program.connections(), 1, "a chunked answer leaves its connection usable");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length() {
    let program = Program::start(|_, mut wire| async move {
        while let Some(head) = wire.head().await {
            let first = if head.starts_with("HEAD") { "200 OK" } else { "304 Not Modified" };
            wire.send(&format!("HTTP/1.1 {first}\r\ncontent-length: 42\r\netag: \"x\"\r\n\r\n")).await;
        }
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(field(&client.head().await.unwrap(), "content-length"), Some("42"));
    client.send(&get("/")).await;
    assert_eq!(status(&client.head().await.unwrap()), 304);
    client.send(&get("/")).await;
    assert_eq!(status(&client.head().await.unwrap()), 304);
    assert_eq!(program.connections(), 1);
    proxy.in_flight(0.0).await;
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_in_its_way() {
    let program = Program::start(|_, mut wire| async move {
        assert!(wire.head().await.unwrap().starts_with("GET / HTTP/1.1\r\n"));
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut answer = String::new();
    soon(client.stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nabc"), "{answer}");
}

#[tokio::test]
async fn a_large_upload_arrives_whole() {
    const TOTAL: usize = 8 << 20;
    let program = Program::start(|_, mut wire| async move {
        let (head, body) = wire.message().await.unwrap();
        assert_eq!(field(&head, "content-length"), Some(TOTAL.to_string().as_str()));
        assert!(body.bytes().all(|byte| byte == b'x'));
        wire.send(&ok(&body.len().to_string())).await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&format!("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {TOTAL}\r\n\r\n")).await;
    assert_eq!(status(&client.head().await.unwrap()), 100);
    client.send(&"x".repeat(TOTAL)).await;
    assert_eq!(client.message().await.unwrap().1, TOTAL.to_string());
}

#[tokio::test]
async fn announced_trailers_pass_in_both_directions() {
    let program = Program::start(|_, mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((field(&head, "trailer"), field(&head, "te")), (Some("x-sum"), Some("trailers")));
        assert!(wire.read_until("\r\n\r\n").await.unwrap().ends_with("0\r\nx-sum: 7\r\n\r\n"));
        let chunks = "3\r\nabc\r\n0\r\nx-end: 8\r\n\r\n";
        wire.send(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n{chunks}")).await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\ntrailer: x-sum\r\n").await;
    client.send("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n").await;
    assert_eq!(field(&client.head().await.unwrap(), "trailer"), Some("x-end"));
    assert!(client.read_until("\r\n\r\n").await.unwrap().ends_with("0\r\nx-end: 8\r\n\r\n"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let program = Program::mirror().await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    let post = |at: usize| format!("POST /{at} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nGET");
    let requests: String = (0..20).map(|at| if at % 2 == 0 { get(&format!("/{at}")) } else { post(at) }).collect();
    client.send(&requests).await;
    for at in 0..20 {
        let (_, seen) = client.message().await.unwrap();
        assert!(seen.contains(&format!(" /{at} HTTP/1.1\r\n")), "{seen}");
    }
}

#[tokio::test]
async fn an_event_stream_is_timed_to_its_head() {
    let program = Program::start(|_, mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await;
        wire.ended().await;
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send(&get("/events")).await;
    client.read_until("data: 1\n\n").await.unwrap();
    let sample = proxy.sample();
    assert_eq!(sample.value(Metric::RequestsInFlight), Some(1.0));
    assert_eq!(sample.latency.map(|latency| latency.count()), Some(1));
}
