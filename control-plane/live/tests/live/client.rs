//! As little of a Socket.IO client as these tests need: polling, one namespace, no acknowledgements.

use std::collections::VecDeque;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::world::{PATIENCE, World};

const BETWEEN_PACKETS: char = '\u{1e}';

pub(crate) struct Client {
    router: Router,
    path: String,
    /// What came with an answer and was not looked at yet.
    packets: VecDeque<String>,
}

/// What the control plane said.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Event(String, Value),
    Refused(String),
    Connected,
    Disconnected,
    /// The transport is closed.
    Closed,
}

impl Client {
    /// A connection of somebody unknown.
    pub(crate) async fn open(world: &World) -> Result<Self, StatusCode> {
        let router = world.live.router();
        let mut client =
            Self { router, path: "/socket.io/?EIO=4&transport=polling".to_owned(), packets: VecDeque::new() };
        let (status, text) = client.ask(Body::empty(), "GET").await;
        if status != StatusCode::OK {
            return Err(status);
        }
        let handshake: Value = serde_json::from_str(text.strip_prefix('0').expect("a handshake")).unwrap();
        client.path = format!("{}&sid={}", client.path, handshake["sid"].as_str().unwrap());
        Ok(client)
    }

    pub(crate) async fn sign_in(&mut self, auth: Value) -> Heard {
        self.send(format!("40{auth}")).await;
        self.hear().await
    }

    pub(crate) async fn connect(world: &World, token: &str) -> Self {
        let mut client = Self::open(world).await.unwrap();
        assert_eq!(client.sign_in(json!({ "token": token })).await, Heard::Connected);
        client
    }

    pub(crate) async fn emit(&self, event: &str, data: Value) {
        self.send(format!("42{}", json!([event, data]))).await;
    }

    /// Subscribes to what there is, and waits for the confirmation.
    pub(crate) async fn subscribe(&mut self, topic: &str, deployment: impl ToString, filter: Value) {
        let deployment = deployment.to_string();
        let mut asked = json!({ "deploymentId": deployment });
        if !filter.is_null() {
            asked["filter"] = filter;
        }
        self.emit(&format!("subscribe_{topic}"), asked).await;
        let expected = json!({ "type": topic, "deploymentId": deployment });
        assert_eq!(self.hear().await, Heard::Event("subscription_confirmed".to_owned(), expected));
    }

    pub(crate) async fn send(&self, packet: String) {
        let (status, text) = self.ask(Body::from(packet), "POST").await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, "ok"));
    }

    pub(crate) async fn post_is_refused(&self, packet: &str) -> bool {
        !self.ask(Body::from(format!("4{packet}")), "POST").await.0.is_success()
    }

    /// The data of the next event, which has to be of this name.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        match self.hear().await {
            Heard::Event(name, data) if name == event => data,
            other => panic!("{event} was expected, not {other:?}"),
        }
    }

    /// The text of the next line.
    pub(crate) async fn line(&mut self) -> String {
        self.expect("log_update").await["message"].as_str().unwrap().to_owned()
    }

    /// Waits for the next thing that is said, and answers pings on the way.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            while let Some(packet) = self.packets.pop_front() {
                match packet.as_str() {
                    "2" => self.send("3".to_owned()).await,
                    "6" => {}
                    "1" => return Heard::Closed,
                    "41" => return Heard::Disconnected,
                    packet => return said(packet),
                }
            }
            let (status, text) = timeout(PATIENCE, self.ask(Body::empty(), "GET")).await.expect("something is said");
            if status != StatusCode::OK || text.is_empty() {
                return Heard::Closed;
            }
            self.packets.extend(text.split(BETWEEN_PACKETS).map(str::to_owned));
        }
    }

    async fn ask(&self, body: Body, method: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(&self.path).body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 16 * 1024 * 1024).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

fn said(packet: &str) -> Heard {
    if let Some(data) = packet.strip_prefix("42") {
        let event: Vec<Value> = serde_json::from_str(data).unwrap();
        return Heard::Event(event[0].as_str().unwrap().to_owned(), event[1].clone());
    }
    if let Some(data) = packet.strip_prefix("44") {
        let error: Value = serde_json::from_str(data).unwrap();
        return Heard::Refused(error["message"].as_str().unwrap().to_owned());
    }
    assert!(packet.starts_with("40"), "{packet}");
    Heard::Connected
}
