//! Attempts against real sockets.

use std::io;
use std::net::SocketAddr;

use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::limits;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::probe::{HttpTarget, Port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::*;
use crate::environment::{Inherit, Inheritance, Surroundings};

/// Longer than any answer takes, shorter than any patience.
const LIMIT: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(50);

fn environment(variables: &[(&str, &str)]) -> Prepared {
    let entry = |(name, value): &(&str, &str)| Entry {
        name: (*name).to_owned(),
        value: Some(Zeroizing::new((*value).to_owned())),
        kind: VariableKind::String,
        secret: true,
        required: false,
    };
    let source = Environment { entries: variables.iter().map(entry).collect() };
    let inheritance = Inheritance { mode: Inherit::None, also: Vec::new() };
    let around = Surroundings {
        inheritance: &inheritance,
        login: None,
        assignments: &[],
        own: &[],
        env_file: None,
        hints: &[],
        command: &["true".into()],
    };
    Prepared::new(ConfigRef { generation: 1, hash: source.hash() }, source, [], &around).expect("it fits")
}

fn target(address: SocketAddr, path: &str) -> HttpTarget {
    HttpTarget {
        host: address.ip().to_string(),
        port: Port::Number(address.port()),
        path: path.to_owned(),
        headers: Vec::new(),
        expected: ProbeTarget::EXPECTED,
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).expect("text")
}

/// A server that answers each connection with these bytes and closes it; the head that it got last.
async fn answering(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<io::Result<String>>) {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let head = head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        Ok(head)
    });
    (address, server)
}

async fn ask(target: &HttpTarget) -> Answer {
    Question::http(target, &environment(&[])).put(LIMIT, Lookup::default()).await
}

#[tokio::test]
async fn the_status_decides() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\nfine", Ok(())),
        ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
        ("HTTP/1.0 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", Ok(())),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\ncanary", Err("status 404, expected 200 to 399")),
        ("HTTP/1.1 503 canary\r\n\r\ncanary", Err("status 503, expected 200 to 399")),
    ];
    for (answer, expected) in cases {
        let (address, _server) = answering(answer).await;
        assert_eq!(ask(&target(address, "/")).await, expected.map_err(str::to_owned), "{answer}");
    }
    let (address, _server) = answering("HTTP/1.1 302 Found\r\n\r\n").await;
    let strict = HttpTarget { expected: 200..=204, ..target(address, "/") };
    assert_eq!(ask(&strict).await, Err("status 302, expected 200 to 204".to_owned()));
}

#[tokio::test]
async fn the_request_is_a_get_with_the_headers_that_were_asked_for() {
    let (address, server) = answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let headers = [("X-Probe", "1"), ("x-probe", "2"), ("Host", "shop.example"), ("User-Agent", "me")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let target = HttpTarget { headers, ..target(address, "/healthz?full=1") };
    assert_eq!(ask(&target).await, Ok(()));
    let head = server.await.expect("joined").expect("served").to_ascii_lowercase();
    assert!(head.starts_with("get /healthz?full=1 http/1.1\r\n"), "{head}");
    for line in ["x-probe: 1", "x-probe: 2", "host: shop.example", "user-agent: me", "connection: close"] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    assert!(!head.contains("outrigger-agent"), "{head}");
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure_that_quotes_nothing() {
    let cases = [
        ("", "no HTTP answer"),
        ("canary canary\r\n\r\n", "no HTTP answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncanary", "the answer broke off"),
    ];
    for (answer, expected) in cases {
        let (address, _server) = answering(answer).await;
        let error = ask(&target(address, "/")).await.expect_err("no answer");
        assert!(error.starts_with(expected) && !error.contains("canary"), "{error}");
        assert!(error.len() <= limits::PROBE_ERROR_BYTES, "{error}");
    }
}

#[tokio::test]
async fn a_head_or_a_body_without_end_is_not_read_to_it() {
    for (beginning, again, passes) in [
        ("HTTP/1.1 200 OK\r\n", "X-More: and more of it\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", "and more of it", true),
    ] {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            head(&mut stream).await;
            stream.write_all(beginning.as_bytes()).await.expect("written");
            // Until nobody reads any more.
            while stream.write_all(again.as_bytes()).await.is_ok() {}
        });
        assert_eq!(ask(&target(address, "/")).await.is_ok(), passes);
        server.await.expect("it could not write for ever");
    }
}

#[tokio::test]
async fn an_attempt_ends_with_its_time() {
    let (listener, address) = listen().await;
    let silent = Question::http(&target(address, "/"), &environment(&[]));
    assert_eq!(silent.put(SOON, Lookup::default()).await, Err("no answer within 50ms".to_owned()));
    // And lets go of what it holds.
    let (mut stream, _) = listener.accept().await.expect("it had connected");
    head(&mut stream).await;
    assert_eq!(stream.read(&mut [0; 1]).await.expect("closed"), 0);
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let (listener, address) = listen().await;
    let nothing = environment(&[]);
    let ask = |port: &Port| Question::tcp("127.0.0.1", port, &nothing).put(LIMIT, Lookup::default());
    assert_eq!(ask(&Port::Number(address.port())).await, Ok(()));
    drop(listener);
    let error = ask(&Port::Number(address.port())).await.expect_err("nobody listens");
    assert!(error.starts_with(&format!("cannot connect to {address}: ")), "{error}");
}

#[tokio::test]
async fn a_port_may_be_a_variable_of_the_program_and_its_value_is_not_told() {
    let (_listener, address) = listen().await;
    let port = address.port().to_string();
    let environment = environment(&[("PORT", &port), ("SECRET", "canary"), ("NONE", "0")]);
    let ask = |name: &str| {
        Question::tcp("127.0.0.1", &Port::Variable(name.to_owned()), &environment).put(LIMIT, Lookup::default())
    };
    assert_eq!(ask("PORT").await, Ok(()));
    let not_a_port = |name| Err(format!("the variable `{name}` of the program's environment is not a port"));
    assert_eq!(ask("SECRET").await, not_a_port("SECRET"));
    assert_eq!(ask("NONE").await, not_a_port("NONE"));
    let absent = "the program's environment has no variable `ABSENT` that says the port";
    assert_eq!(ask("ABSENT").await, Err(absent.to_owned()));
}

#[tokio::test]
async fn names_are_looked_up_and_those_that_are_none_are_told() {
    let (_listener, address) = listen().await;
    let lookup = Lookup::default();
    // Whichever family comes first is asked, and only IPv4 listens: the answer may be a refusal, never a lookup's failure.
    let answer =
        Question::tcp("localhost", &Port::Number(address.port()), &environment(&[])).put(LIMIT, lookup.clone()).await;
    assert!(answer.as_ref().err().is_none_or(|error| error.starts_with("cannot connect to [::1]")), "{answer:?}");
    let error = Question::tcp("no-such-host.invalid", &Port::Number(1), &environment(&[])).put(LIMIT, lookup).await;
    assert!(error.expect_err("RFC 6761 keeps it free").contains("no-such-host.invalid"));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_frees_the_place_for_the_next_lookup() {
    let lookup = Lookup::default();
    let (gone, dropped) = oneshot::channel::<()>();
    let asking = lookup.clone();
    let attempt = tokio::spawn(async move {
        let _gone = gone;
        asking.address("no-such-host.invalid", 1).await.map(drop)
    });
    attempt.abort();
    assert!(dropped.await.is_err());
    assert!(lookup.address("no-such-host.invalid", 1).await.is_err(), "it is answered");
}
