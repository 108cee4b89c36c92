use std::time::Duration;

use axum::http::StatusCode;
use outrigger_live::{LiveConfig, Topic};
use outrigger_protocol::log::Level;
use serde_json::{Value, json};

use crate::client::{Client, Heard};
use crate::world::World;

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_with_a_notice_and_others_miss_nothing() {
    let config = LiveConfig { queue: 64, patience: Duration::from_millis(200), ..LiveConfig::default() };
    let world = World::with(config).await;
    let id = world.deployment.id;
    let mut slow = Client::connect(&world, &world.token).await;
    let mut quick = Client::connect(&world, &world.token).await;
    slow.subscribe("logs", id, Value::Null).await;
    quick.subscribe("logs", id, Value::Null).await;
    let lines = 1_000;
    for number in 0..lines {
        world.log(Level::Info, &number.to_string()).await;
        assert_eq!(quick.line().await, number.to_string());
    }
    quick.emit("unsubscribe_logs", json!({ "deploymentId": id.to_string() })).await;
    quick.expect("unsubscription_confirmed").await;
    world.source.nobody_listens(Topic::Logs, id).await;
    let mut got = 0;
    let notice = loop {
        match slow.hear().await {
            Heard::Event(event, data) if event == "log_update" => {
                assert_eq!(data["message"], got.to_string(), "what comes first comes in order");
                got += 1;
            }
            other => break other,
        }
    };
    let expected = format!("too slow: 0 s behind, dropped; {} updates missed", lines - got);
    let Heard::Event(event, data) = notice else { panic!("a notice was expected, not {notice:?}") };
    assert_eq!(event, "error");
    // One of them may have been on its way when the client was dropped.
    let less = format!("too slow: 0 s behind, dropped; {} updates missed", lines - got - 1);
    assert!(data == json!({ "message": expected }) || data == json!({ "message": less }), "{data}, {expected}");
    assert_eq!(slow.hear().await, Heard::Disconnected);
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_bounded() {
    let world = World::with(LiveConfig { subscriptions: 2, ..LiveConfig::default() }).await;
    let id = world.deployment.id;
    let mut client = Client::connect(&world, &world.token).await;
    client.subscribe("logs", id, Value::Null).await;
    client.subscribe("status", id, Value::Null).await;
    client.emit("subscribe_metrics", json!({ "deploymentId": id.to_string() })).await;
    let error = client.expect("subscription_error").await;
    assert_eq!(error["message"], "too many subscriptions: this connection has 2, which is all one may have");
    client.subscribe("logs", id, json!({ "level": "warn" })).await;
    client.emit("unsubscribe_status", json!({ "deploymentId": id.to_string() })).await;
    client.expect("unsubscription_confirmed").await;
    client.subscribe("metrics", id, Value::Null).await;
}

#[tokio::test]
async fn connections_of_a_user_are_bounded() {
    let world = World::with(LiveConfig { sockets_per_user: 1, ..LiveConfig::default() }).await;
    let tenant = world.tenant().await;
    let first = Client::connect(&world, &world.token).await;
    let mut second = Client::open(&world).await.unwrap();
    let refused = "Too many connections: this user has 1, which is all one may have";
    assert_eq!(second.sign_in(json!({ "token": world.token })).await, Heard::Refused(refused.to_owned()));
    Client::connect(&world, &tenant.token).await;
    // Its place is free once all of it is gone, which is a moment after it was asked to go.
    first.send("1".to_owned()).await;
    loop {
        match second.sign_in(json!({ "token": world.token })).await {
            Heard::Connected => break,
            Heard::Refused(again) => assert_eq!(again, refused),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn strangers_are_bounded() {
    let world = World::with(LiveConfig { waiting: 1, ..LiveConfig::default() }).await;
    let mut first = Client::open(&world).await.unwrap();
    assert_eq!(Client::open(&world).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(first.sign_in(json!({ "token": world.token })).await, Heard::Connected);
    assert!(Client::open(&world).await.is_ok());
}

#[tokio::test]
async fn who_asks_without_end_is_sent_away() {
    let world = World::with(LiveConfig { requests: 8, ..LiveConfig::default() }).await;
    let mut client = Client::connect(&world, &world.token).await;
    let many: Vec<_> = (0..2_000).map(|_| format!("42{}", json!(["no_such_thing", {}]))).collect();
    client.send(many.join("\u{1e}")).await;
    let last = loop {
        match client.hear().await {
            Heard::Event(_, data) if data["message"].as_str().unwrap().starts_with("unknown event") => {}
            other => break other,
        }
    };
    let message = "too many requests: at most 8 may be under way";
    assert_eq!(last, Heard::Event("error".to_owned(), json!({ "message": message })));
    assert_eq!(client.hear().await, Heard::Disconnected);
}

#[tokio::test]
async fn a_request_longer_than_anybody_needs_ends_the_connection() {
    let world = World::new().await;
    let client = Client::connect(&world, &world.token).await;
    assert!(client.post_is_refused(&"x".repeat(512 * 1024)).await);
}
