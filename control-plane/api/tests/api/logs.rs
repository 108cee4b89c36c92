use std::time::Duration;

use outrigger_ingest::test_support::{Fleet, TestSession};
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::message::ConfigStatus;
use outrigger_protocol::time::UnixMillis;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{SERVER_NAME, Shop, World, eventually};

/// A deployment with one agent, that says what it is told to.
struct Spoken {
    world: World,
    shop: Shop,
    path: String,
    session: TestSession,
    _fleet: Fleet,
}

fn record(level: Level, message: &str) -> LogRecord {
    let (at, stream) = (UnixMillis::now(), LogStream::Stderr);
    LogRecord { at, stream, level, message: message.to_owned(), truncated: false }
}

impl Spoken {
    async fn new() -> Self {
        let world = World::new().await;
        let shop = Shop::new(&world.api).await;
        let path = shop.running(&world.api, json!({})).await;
        let token = world.api.post(&format!("{path}/join-tokens"), json!({})).await.data(201);
        let fleet = Fleet::new(world.ingest.local_addr(), SERVER_NAME, 1).unwrap();
        let agent = fleet.enroll(token["token"].as_str().unwrap()).await.unwrap();
        let session = fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
        Self { world, shop, path, session, _fleet: fleet }
    }

    fn logs(&self, query: &str) -> String {
        format!("{}/logs?{query}", self.path)
    }

    async fn say(&mut self, level: Level, messages: &[&str]) {
        let records = messages.iter().map(|message| record(level, message)).collect();
        self.session.send_logs(records).await.unwrap();
        let last = messages.last().unwrap();
        eventually("the lines are there", async || {
            let page = self.world.api.get(&self.logs("")).await.list();
            page.first().is_some_and(|line| line["message"] == *last)
        })
        .await;
    }

    async fn follow(&self, client: &Client, query: &str, last_event: Option<u64>) -> Events {
        let mut request = client.request(Method::GET, &self.logs(&format!("follow=true&{query}")));
        if let Some(last) = last_event {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }
}

/// A stream of server-sent events, read to the letter.
struct Events {
    response: Response,
    text: String,
}

#[derive(Debug, PartialEq)]
enum Event {
    Line(u64, Value),
    End(String),
}

impl Events {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let Some(data) = field("data") else { continue };
                let data: Value = serde_json::from_str(data).unwrap();
                return Some(match field("event") {
                    None => Event::Line(field("id").unwrap().parse().unwrap(), data),
                    Some("end") => Event::End(data["reason"].as_str().unwrap().to_owned()),
                    Some(other) => panic!("an event {other}"),
                });
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    async fn line(&mut self) -> (u64, String) {
        match self.next().await {
            Some(Event::Line(number, data)) => {
                assert_eq!(data["number"], number);
                (number, data["message"].as_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_answered_by_level_text_time_instance_and_page() {
    let mut spoken = Spoken::new().await;
    spoken.say(Level::Info, &["starting", "ready"]).await;
    spoken.say(Level::Error, &["disk \u{1b}[31mfull\u{0}", "giving up"]).await;
    let api = spoken.world.api.clone();
    let all = api.get(&spoken.logs("")).await.list();
    assert_eq!(messages(&all), ["giving up", "disk \u{1b}[31mfull\u{0}", "ready", "starting"]);
    assert_eq!((&all[0]["level"], &all[0]["stream"]), (&json!("error"), &json!("stderr")));
    assert!(all[0]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok() && all[0]["dropped"].is_null());
    let instance = all[0]["instanceId"].as_str().unwrap();
    for (query, expected) in [
        ("level=warn", vec!["giving up", "disk \u{1b}[31mfull\u{0}"]),
        ("contains=ready", vec!["ready"]),
        ("order=asc&limit=1", vec!["starting"]),
        ("since=1h&until=2100-01-01T00:00:00Z&level=error&contains=up", vec!["giving up"]),
        ("until=1000", vec![]),
        (&format!("instance={instance}&limit=1"), vec!["giving up"]),
        ("instance=ins_00000000000000000000000000000000", vec![]),
    ] {
        assert_eq!(messages(&api.get(&spoken.logs(query)).await.list()), expected, "{query}");
    }
    let first = api.get(&spoken.logs("limit=3")).await;
    let cursor = first.body["page"]["next"].as_str().unwrap().to_owned();
    assert!(first.body["page"]["searchedTo"].is_string());
    let rest = api.get(&spoken.logs(&format!("cursor={cursor}"))).await;
    assert_eq!(rest.body["page"], json!({ "next": null }));
    assert_eq!(messages(&rest.list()), ["starting"]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let spoken = Spoken::new().await;
    let api = &spoken.world.api;
    for (query, fields) in [
        ("level=loud&since=soon", vec!["level", "since"]),
        ("limit=0", vec!["limit"]),
        ("follow=true&download=true", vec!["download"]),
        ("colour=red", vec!["colour"]),
    ] {
        assert_eq!(api.get(&spoken.logs(query)).await.wrong_fields(), fields, "{query}");
    }
    spoken.world.stranger.get(&spoken.logs("")).await.refused(401, "unauthorized");
    let other = spoken.world.register("other@example.org").await;
    other.get(&spoken.logs("follow=true")).await.not_found();
}

#[tokio::test]
async fn a_stream_has_the_past_that_is_asked_for_and_goes_on_after_the_last_event() {
    let mut spoken = Spoken::new().await;
    spoken.say(Level::Info, &["one", "two", "three"]).await;
    let api = spoken.world.api.clone();
    let mut events = spoken.follow(&api, "limit=2", None).await;
    assert_eq!(events.line().await.1, "two");
    let (number, text) = events.line().await;
    assert_eq!(text, "three");
    spoken.say(Level::Warn, &["four"]).await;
    assert_eq!(events.line().await.1, "four");
    drop(events);
    spoken.say(Level::Warn, &["five"]).await;
    let mut again = spoken.follow(&api, "", Some(number)).await;
    assert_eq!((again.line().await.1, again.line().await.1), ("four".to_owned(), "five".to_owned()));
    let mut since = spoken.follow(&api, "since=1h&level=warn", None).await;
    assert_eq!(since.line().await.1, "four");
    let mut new = spoken.follow(&api, "contains=x", None).await;
    spoken.say(Level::Info, &["six", "seven"]).await;
    assert_eq!(new.line().await.1, "six");
}

#[tokio::test]
async fn a_stream_ends_when_its_deployment_is_deleted() {
    let spoken = Spoken::new().await;
    let api = spoken.world.api.clone();
    let mut events = spoken.follow(&api, "", None).await;
    api.post(&format!("{}/stop", spoken.path), json!({})).await.data(200);
    crate::world::reaches(&api, &spoken.path, "STOPPED").await;
    api.delete(&spoken.path).await.data(200);
    assert_eq!(events.next().await, Some(Event::End("deleted".to_owned())));
    assert_eq!(events.next().await, None);
    assert!(!spoken.shop.project.is_empty());
}

#[tokio::test]
async fn a_download_is_a_file_that_a_terminal_can_show() {
    let mut spoken = Spoken::new().await;
    let many: Vec<String> = (0..4_000).map(|n| format!("line {n}")).collect();
    for some in many.chunks(1_000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        spoken.say(Level::Info, &some).await;
    }
    spoken.say(Level::Warn, &["\u{1b}[31mred"]).await;
    let response = spoken.world.api.request(Method::GET, &spoken.logs("download=true")).send().await.unwrap();
    let id = spoken.path.rsplit('/').next().unwrap();
    let expected = format!("attachment; filename=\"deployment-{id}-logs.txt\"");
    assert_eq!(response.headers()["content-disposition"], expected.as_str());
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let text = response.text().await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4_001);
    assert!(lines[3_999].ends_with(" stderr line 3999"), "{}", lines[3_999]);
    assert!(lines[4_000].ends_with("\\u{1b}[31mred") && lines[4_000].contains(" warn  ins_"), "{}", lines[4_000]);
}
