mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_protocol::metric::Metric;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use self::fixture::{Program, Running, eventually, field, get, ok, soon, status};
use super::*;

fn limits() -> ProxyLimits {
    ProxyLimits { restart_window: Duration::ZERO, ..ProxyLimits::default() }
}

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

#[tokio::test]
async fn an_upgrade_is_carried_raw_in_both_directions() {
    let program = Program::start(|_, mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((field(&head, "upgrade"), field(&head, "connection")), (Some("echo"), Some("upgrade")));
        wire.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello ").await;
        while let Some(line) = wire.read_until("\n").await {
            wire.send(&line).await;
        }
    })
    .await;
    let proxy = Running::start(program.address, limits()).await;
    let mut client = proxy.client().await;
    client.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nearly\n").await;
    let head = client.head().await.unwrap();
    assert_eq!((status(&head), field(&head, "upgrade")), (101, Some("echo")));
    assert_eq!(client.read_until("\n").await.unwrap(), "hello early\n");
    client.send("\0\x01 not http\n").await;
    assert_eq!(client.read_until("\n").await.unwrap(), "\0\x01 not http\n");
    proxy.in_flight(0.0).await;
    assert_eq!(proxy.sample().latency.map(|latency| latency.count()), Some(1));
    client.stream.shutdown().await.unwrap();
    assert!(client.ended().await);
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
    let error = Proxy::bind(taken, taken, limits()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {taken} for the proxy"));
}
