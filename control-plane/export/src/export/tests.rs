use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::instances::tests::{sample, source};
use crate::naming::tests::Told;

const PATIENCE: Duration = Duration::from_secs(20);

/// A receiver on loopback that answers as it is told, and with 204 when it was told nothing more.
#[derive(Clone)]
struct Peer(Arc<Mutex<Script>>, SocketAddr);

#[derive(Default)]
struct Script {
    answers: VecDeque<Response>,
    requests: Vec<(Uri, HeaderMap, Bytes)>,
}

impl Peer {
    async fn start(answers: Vec<Response>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let script = Script { answers: answers.into(), requests: Vec::new() };
        let peer = Self(Arc::new(Mutex::new(script)), listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(peer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        peer
    }

    fn requests(&self) -> Vec<(Uri, HeaderMap, Bytes)> {
        self.0.lock().unwrap().requests.clone()
    }

    fn address(&self) -> String {
        format!("http://{}", self.1)
    }
}

async fn answer(State(peer): State<Peer>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut script = peer.0.lock().unwrap();
    script.requests.push((uri, headers, body));
    script.answers.pop_front().unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

async fn started(peer: &Peer, more: Value) -> Export {
    let mut written = json!({
        "name": "mine", "type": "remote_write", "url": format!("{}/write", peer.address()), "flush_interval": "10ms",
    });
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let directory = Told::default();
    directory.say(Some("web"));
    let destinations = Destination::from_settings(&json!([written])).unwrap();
    Export::with_directory(destinations, directory).await.unwrap()
}

fn tell(export: &Export, seconds: u64) {
    let samples = [sample(seconds, &[(Metric::Cpu, 1.0), (Metric::Memory, 2.0)])];
    export.sink().unwrap().samples(source(1), Duration::from_secs(1), &samples, UnixMillis::EPOCH);
}

fn say(export: &Export, message: &str) {
    let record = LogRecord {
        at: UnixMillis::EPOCH,
        stream: LogStream::Stdout,
        level: Level::Info,
        message: message.to_owned(),
        truncated: false,
    };
    export.sink().unwrap().logs(source(1), &[record], 0, UnixMillis::EPOCH);
}

async fn until(export: &Export, what: &str, holds: impl Fn(&DestinationStats) -> bool) -> DestinationStats {
    let wait = async {
        loop {
            let stats = export.stats().remove(0);
            if holds(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {what}: {:?}", export.stats()))
}

#[tokio::test]
async fn without_destinations_there_is_nothing() {
    let export = Export::with_directory(Vec::new(), Told::default()).await.unwrap();
    assert!(export.sink().is_none() && export.stats().is_empty());
    export.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn a_request_has_the_headers_of_the_protocol_and_of_the_operator() {
    let peer = Peer::start(Vec::new()).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "first\n").unwrap();
    let export =
        started(&peer, json!({ "bearer_token_file": token.path(), "headers": { "X-Scope-OrgID": "7" } })).await;
    tell(&export, 10);
    until(&export, "sent", |stats| stats.sent == 2).await;
    std::fs::write(token.path(), "second\n").unwrap();
    tell(&export, 11);
    let stats = until(&export, "sent again", |stats| stats.sent == 4).await;
    assert_eq!((stats.queued, stats.dropped, stats.failed, stats.retries), (0, 0, 0, 0));
    assert!(stats.last_success.is_some() && stats.last_error.is_none());
    let requests = peer.requests();
    let header = |at: usize, name: &str| requests[at].1[name].to_str().unwrap().to_owned();
    assert_eq!(requests[0].0.path(), "/write");
    assert_eq!(header(0, "content-type"), "application/x-protobuf");
    assert_eq!(header(0, "content-encoding"), "snappy");
    assert_eq!(header(0, "x-prometheus-remote-write-version"), "0.1.0");
    assert!(header(0, "user-agent").starts_with("outrigger/"));
    assert_eq!(header(0, "x-scope-orgid"), "7");
    assert_eq!(
        (header(0, "authorization"), header(1, "authorization")),
        ("Bearer first".into(), "Bearer second".into())
    );
}

#[tokio::test]
async fn what_is_unavailable_is_asked_again_and_nothing_is_doubled_or_overtaken() {
    let answers = vec![
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], "starting").into_response(),
        StatusCode::TOO_MANY_REQUESTS.into_response(),
    ];
    let peer = Peer::start(answers).await;
    let export = started(&peer, json!({ "batch": 2 })).await;
    (10..13).for_each(|at| tell(&export, at));
    let stats = until(&export, "all sent", |stats| stats.sent == 6).await;
    assert_eq!((stats.retries, stats.failed, stats.dropped), (2, 0, 0));
    let bodies: Vec<_> = peer.requests().into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(bodies.len(), 5);
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2], "the same batch until it is taken");
    assert!(bodies[2] != bodies[3] && bodies[3] != bodies[4]);
}

#[tokio::test]
async fn a_refusal_is_counted_and_no_secret_of_ours_is_repeated() {
    let peer = Peer::start(vec![(StatusCode::BAD_REQUEST, "bad token canary-1\nof canary-2").into_response()]).await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "canary-1").unwrap();
    let basic = json!({ "username": "me", "password_file": password.path() });
    let export = started(&peer, json!({ "basic_auth": basic, "headers": { "X-Key": "canary-2" } })).await;
    tell(&export, 10);
    let stats = until(&export, "refused", |stats| stats.failed == 2).await;
    assert_eq!((stats.sent, stats.retries), (0, 0));
    assert_eq!(stats.last_error.as_deref(), Some("answered 400 Bad Request: bad token (hidden) of (hidden)"));
    assert!(!format!("{export:?}").contains("canary"));
    tell(&export, 11);
    let stats = until(&export, "the next one is taken", |stats| stats.sent == 2).await;
    assert_eq!((stats.failed, stats.last_error), (2, None));
}

#[tokio::test]
async fn a_redirect_is_a_refusal_and_nobody_else_is_asked() {
    let other = Peer::start(Vec::new()).await;
    let redirect = (StatusCode::TEMPORARY_REDIRECT, [("location", other.address())]).into_response();
    let peer = Peer::start(vec![redirect]).await;
    let export = started(&peer, json!({})).await;
    tell(&export, 10);
    let stats = until(&export, "refused", |stats| stats.failed == 2).await;
    assert_eq!(stats.last_error.as_deref(), Some("answered 307 Temporary Redirect"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_read_up_to_its_bound() {
    let endless = Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096]))));
    let peer = Peer::start(vec![(StatusCode::OK, endless).into_response()]).await;
    let export = started(&peer, json!({})).await;
    tell(&export, 10);
    until(&export, "sent", |stats| stats.sent == 2).await;
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_time() {
    let peer = Peer::start(vec![StatusCode::BAD_GATEWAY.into_response()]).await;
    let export = started(&peer, json!({ "retry_for": "0s" })).await;
    tell(&export, 10);
    let stats = until(&export, "given up", |stats| stats.failed == 2).await;
    assert_eq!(stats.last_error.as_deref(), Some("given up on a batch: answered 502 Bad Gateway"));
    tell(&export, 11);
    until(&export, "the next one is taken", |stats| stats.sent == 2).await;
}

#[tokio::test]
async fn a_queue_that_is_too_small_for_an_outage_loses_its_oldest_and_counts_them() {
    let peer = Peer::start(vec![StatusCode::SERVICE_UNAVAILABLE.into_response()]).await;
    let export = started(&peer, json!({ "queue": "64KiB", "batch": 100 })).await;
    tell(&export, 10);
    until(&export, "away", |stats| stats.last_error.is_some()).await;
    (11..1_011).for_each(|at| tell(&export, at));
    let stats = until(&export, "all is over", |stats| stats.queued == 0).await;
    assert!(stats.dropped > 0 && stats.sent > 2, "{stats:?}");
    assert_eq!((stats.sent + stats.dropped, stats.failed), (2 * 1_001, 0));
    let last = peer.requests().pop().unwrap().2;
    let last = snap::raw::Decoder::new().decompress_vec(&last).unwrap();
    assert!(last.windows(4).any(|bytes| bytes == b"\x10\xd0\xd2\x3d"), "the newest, 1,010,000 ms");
}

#[tokio::test]
async fn otlp_counts_what_is_accepted_in_part_and_asks_again_only_where_it_may() {
    let partial = b"\x0a\x0b\x08\x02\x12\x07too old".to_vec();
    let peer = Peer::start(vec![partial.into_response(), StatusCode::INTERNAL_SERVER_ERROR.into_response()]).await;
    let more = json!({ "type": "otlp", "url": peer.address(), "signals": ["logs"], "batch": 3, "compression": "none" });
    let export = started(&peer, more).await;
    ["a", "b", "c"].into_iter().for_each(|message| say(&export, message));
    let stats = until(&export, "in part", |stats| stats.sent == 1).await;
    assert_eq!((stats.failed, stats.signal), (2, Signal::Logs));
    let stats = until(&export, "words", |stats| stats.last_error.is_some()).await;
    assert_eq!(stats.last_error.as_deref(), Some("accepted in part: too old"));
    say(&export, "d");
    let stats = until(&export, "refused", |stats| stats.failed == 3).await;
    assert_eq!(stats.retries, 0, "500 is not for trying again");
    assert_eq!(peer.requests()[0].0.path(), "/v1/logs");
    assert_eq!(peer.requests()[0].1["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn the_end_sends_what_is_queued_and_counts_what_nobody_takes_any_more() {
    let peer = Peer::start(Vec::new()).await;
    let export = started(&peer, json!({ "flush_interval": "1h" })).await;
    tell(&export, 10);
    export.drain(PATIENCE).await;
    assert_eq!(export.stats()[0].sent, 2);

    let away = Peer::start((0..1_000).map(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).collect()).await;
    let export = started(&away, json!({ "batch": 2 })).await;
    (10..14).for_each(|at| tell(&export, at));
    until(&export, "an attempt", |stats| stats.last_error.is_some()).await;
    export.drain(Duration::from_millis(20)).await;
    let stats = export.stats().remove(0);
    assert_eq!((stats.sent, stats.dropped, stats.queued), (0, 8, 0));
}

#[tokio::test]
async fn credentials_that_cannot_be_read_stop_the_start_with_the_name_of_the_destination() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (written, words) in [
        (json!({ "bearer_token_file": "/nowhere/token" }), "/nowhere/token"),
        (json!({ "ca_file": "/nowhere/ca.pem" }), "/nowhere/ca.pem"),
    ] {
        let mut one = json!({ "name": "mine", "type": "otlp", "url": "http://127.0.0.1:1" });
        one.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
        let destinations = Destination::from_settings(&json!([one])).unwrap();
        let error = Export::with_directory(destinations, Told::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot export to `mine`");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(words));
    }
}
