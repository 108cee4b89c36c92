//! Requests that no honest client sends.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Answer;
use crate::world::World;

/// The whole answer to bytes that a client wrote itself.
pub(crate) async fn raw(world: &World, request: impl FnOnce(&str) -> Vec<u8>) -> String {
    let mut stream = TcpStream::connect(world.address).await.expect("it listens");
    stream.write_all(&request(world.api.token())).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8(answer).expect("it is text")
}

async fn post(world: &World, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = world.api.request(Method::POST, "/api/projects").header("content-type", content_type);
    Answer::of(request.body(body.into())).await
}

#[tokio::test]
async fn text_that_is_not_json_is_malformed_with_its_place() {
    let world = World::new().await;
    let deep = "[".repeat(500_000);
    for body in [
        &b"{"[..],
        b" ",
        b"null null",
        b"{\"name\":\"a\"}x",
        b"{\"name\":\"\xff\xfe\"}",
        b"\0",
        b"{'name':1}",
        b"{\"name\":\"a\0b\"}",
        b"{\"name\":1e999}",
        b"{\"name\":\"\\ud800\"}",
        deep.as_bytes(),
    ] {
        let error = post(&world, "application/json", body).await.refused(400, "malformed");
        assert!(error.contains("line 1 column"), "{error}");
    }
    for body in [&b"null"[..], b"[]", b"[\"shop\"]", b"\"shop\"", b"7"] {
        assert_eq!(post(&world, "application/json", body).await.wrong_fields(), ["body"]);
    }
    assert_eq!(post(&world, "application/json", *b"").await.wrong_fields(), ["name"]);
    assert_eq!(post(&world, "application/json", *b"{\"name\":\"a\",\"name\":\"b\"}").await.wrong_fields(), ["name"]);
    let long = format!("{{\"{}\":1}}", "n".repeat(500_000));
    let answer = post(&world, "application/json", long).await;
    assert!(answer.body.to_string().len() < 2_000);
    assert!(world.api.get("/api/projects").await.list().is_empty(), "nothing was made");
}

#[tokio::test]
async fn only_json_is_taken_for_json() {
    let world = World::new().await;
    let body = r#"{"name":"shop"}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "json"] {
        let error = post(&world, content_type, body).await.refused(415, "unsupported_media_type");
        assert!(error.contains("application/json"), "{error}");
    }
    let untyped = world.api.request(Method::POST, "/api/projects").body(body);
    Answer::of(untyped).await.refused(415, "unsupported_media_type");
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        post(&world, content_type, body).await.data(201);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    let announced = raw(&world, |token| {
        format!(
            "POST /api/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: 2097152\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    })
    .await;
    assert!(announced.starts_with("HTTP/1.1 413") && announced.contains("\"too_large\""), "{announced}");
    let chunked = raw(&world, |token| {
        let head = format!(
            "POST /api/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n100001\r\n"
        );
        // One byte more than the limit.
        [head.into_bytes(), vec![b' '; 0x0010_0001], b"\r\n0\r\n\r\n".to_vec()].concat()
    })
    .await;
    assert!(chunked.starts_with("HTTP/1.1 413") && chunked.contains("\"requestId\""), "{chunked}");
    let fits = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024 - 11));
    assert_eq!(post(&world, "application/json", fits).await.wrong_fields(), ["name"]);
    assert!(world.api.get("/api/projects").await.list().is_empty(), "nothing was made");
}

#[tokio::test]
async fn unknown_routes_and_methods_have_the_envelope() {
    let world = World::new().await;
    for path in
        ["/", "/api", "/api/", "/api/nothing", "/api/projects/", "//api/projects", "/api/projects/a/b/c", "/docs/x"]
    {
        world.api.get(path).await.not_found();
        world.stranger.post(path, json!({})).await.not_found();
    }
    let answer = world.api.patch("/api/projects", json!({})).await;
    let allowed = answer.header("allow").to_owned();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    answer.refused(405, "method_not_allowed");
    let trace = world.api.request(Method::TRACE, "/livez");
    Answer::of(trace).await.refused(405, "method_not_allowed");

    for (path, status) in
        [("/livez", 200), ("/api/projects", 200), ("/api/projects/nonsense", 404), ("/api/nothing", 404)]
    {
        let head = world.api.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status().as_u16(), status, "{path}");
        assert!(head.headers().contains_key("x-request-id"));
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_request_has_an_id_that_a_client_may_choose_and_not_abuse() {
    let world = World::new().await;
    let with_id = async |id: &[u8]| {
        let request = world.api.request(Method::GET, "/api/projects/x").header("x-request-id", id);
        Answer::of(request).await.header("x-request-id").to_owned()
    };
    assert_eq!(with_id(b"trace-1.2_3").await, "trace-1.2_3");
    for bad in [&b""[..], b"a b", b"<script>", "\u{e9}".as_bytes(), &[b'x'; 65]] {
        let made = with_id(bad).await;
        assert!(made.as_bytes() != bad && made.len() < 65, "{made}");
    }
    let (one, two) = (world.api.get("/livez").await, world.api.get("/livez").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_broken_path_is_answered() {
    let world = World::new().await;
    world.api.get("/api/deployments/%ff/status").await.refused(400, "malformed");
    let long = "x".repeat(10_000);
    let error = world.api.get(&format!("/api/deployments/{long}")).await.not_found();
    assert!(error.len() < 300, "what a caller sent is cut short");
    let error = world.api.get("/api/deployments/a%0d%0ab").await.not_found();
    assert!(!error.contains(['\r', '\n']));
    let garbage = raw(&world, |_| b"GARBAGE\r\n\r\n".to_vec()).await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    world.api.get("/livez").await.data(200);
}
