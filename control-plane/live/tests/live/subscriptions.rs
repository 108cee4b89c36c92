use outrigger_live::{Feed, Metrics, MetricsUpdate, StatusUpdate, Topic, Update};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::log::Level;
use outrigger_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::client::{Client, Heard};
use crate::world::World;

fn status(deployment_id: DeploymentId, status: &'static str) -> Feed {
    Feed::Update(Update::Status(StatusUpdate {
        deployment_id,
        status,
        reason: None,
        desired_replicas: 2,
        ready_replicas: 1,
        paused: false,
        timestamp: UnixMillis::from_millis(1_700_000_000_000),
    }))
}

#[tokio::test]
async fn every_topic_is_confirmed_and_told_in_its_shape() {
    let world = World::new().await;
    let id = world.deployment.id;
    let mut client = Client::connect(&world, &world.token).await;
    for topic in ["logs", "status", "metrics"] {
        client.subscribe(topic, id, Value::Null).await;
    }
    world.log(Level::Error, "oh").await;
    let log = client.expect("log_update").await;
    for (field, value) in [
        ("deploymentId", json!(id.to_string())),
        ("timestamp", json!("2023-11-14T22:13:20Z")),
        ("level", json!("error")),
        ("message", json!("oh")),
    ] {
        assert_eq!(log[field], value, "{log}");
    }
    world.source.say(Topic::Status, id, status(id, "RUNNING")).await;
    let expected = json!({
        "deploymentId": id.to_string(), "status": "RUNNING", "reason": null, "desiredReplicas": 2, "readyReplicas": 1,
        "paused": false, "timestamp": "2023-11-14T22:13:20Z",
    });
    assert_eq!(client.expect("status_update").await, expected);
    let metrics = Metrics { cpu: Some(50.0), memory: Some(25.5), requests: Some(7.0), response_time: None };
    let timestamp = UnixMillis::from_millis(1_700_000_000_500);
    let update = Update::Metrics(MetricsUpdate { deployment_id: id, timestamp, metrics });
    world.source.say(Topic::Metrics, id, Feed::Update(update)).await;
    let expected = json!({
        "deploymentId": id.to_string(), "timestamp": "2023-11-14T22:13:20.5Z",
        "metrics": { "cpu": 50.0, "memory": 25.5, "requests": 7.0, "responseTime": null },
    });
    assert_eq!(client.expect("metrics_update").await, expected);
}

#[tokio::test]
async fn all_who_listen_to_a_deployment_share_one_feed_which_ends_with_the_last() {
    let world = World::new().await;
    let id = world.deployment.id;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(&world, &world.token).await;
        client.subscribe("logs", id, Value::Null).await;
        clients.push(client);
    }
    world.log(Level::Info, "one").await;
    world.log(Level::Info, "two").await;
    for client in &mut clients {
        assert_eq!((client.line().await, client.line().await), ("one".to_owned(), "two".to_owned()));
    }
    assert_eq!(world.source.begun(), 1);
    let last = clients.pop().unwrap();
    for mut client in clients {
        client.emit("unsubscribe_logs", json!({ "deploymentId": id.to_string() })).await;
        let expected = json!({ "type": "logs", "deploymentId": id.to_string() });
        assert_eq!(client.expect("unsubscription_confirmed").await, expected);
    }
    world.log(Level::Info, "three").await;
    // Leaves without a word but the transport's.
    last.send("1".to_owned()).await;
    world.source.nobody_listens(Topic::Logs, id).await;
}

#[tokio::test]
async fn a_filter_picks_lines_and_subscribing_again_replaces_it() {
    let world = World::new().await;
    let id = world.deployment.id;
    let mut client = Client::connect(&world, &world.token).await;
    client.subscribe("logs", id, json!({ "level": "warn" })).await;
    world.log(Level::Info, "fine").await;
    world.log(Level::Error, "not fine").await;
    assert_eq!(client.line().await, "not fine");
    client.subscribe("logs", id, json!({ "contains": "needle" })).await;
    world.log(Level::Error, "hay").await;
    world.log(Level::Debug, "a needle in it").await;
    assert_eq!(client.line().await, "a needle in it");
    assert_eq!(world.source.begun(), 1);
}

#[tokio::test]
async fn another_tenants_deployment_looks_like_one_that_does_not_exist() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut client = Client::connect(&world, &tenant.token).await;
    let (foreign, unknown) = (world.deployment.id.to_string(), DeploymentId::generate().to_string());
    for topic in ["logs", "status", "metrics"] {
        for id in [foreign.as_str(), &unknown, "x"] {
            client.emit(&format!("subscribe_{topic}"), json!({ "deploymentId": id })).await;
            let expected = json!({ "type": topic, "deploymentId": id, "message": "deployment not found" });
            assert_eq!(client.expect("subscription_error").await, expected);
        }
    }
    assert_eq!(world.source.begun(), 0);
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let world = World::new().await;
    let mut client = Client::connect(&world, &world.token).await;
    client.emit("subscribe_everything", json!({})).await;
    let message = client.expect("error").await["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("unknown event `subscribe_everything`; known: subscribe_logs"), "{message}");
    client.send("42[\"subscribe_logs\"]".to_owned()).await;
    let error = client.expect("subscription_error").await;
    assert!(error["message"].as_str().unwrap().starts_with("validation: "), "{error}");
    client.emit("subscribe_logs", json!({ "deploymentId": world.deployment.id.to_string(), "since": 1 })).await;
    let error = client.expect("subscription_error").await;
    assert!(error["message"].as_str().unwrap().contains("since"), "{error}");
}

#[tokio::test]
async fn who_comes_later_is_told_the_newest_status() {
    let world = World::new().await;
    let id = world.deployment.id;
    let mut first = Client::connect(&world, &world.token).await;
    first.subscribe("status", id, Value::Null).await;
    world.source.say(Topic::Status, id, status(id, "PROVISIONING")).await;
    world.source.say(Topic::Status, id, status(id, "RUNNING")).await;
    assert_eq!(first.expect("status_update").await["status"], "PROVISIONING");
    assert_eq!(first.expect("status_update").await["status"], "RUNNING");
    let mut second = Client::connect(&world, &world.token).await;
    second.subscribe("status", id, Value::Null).await;
    assert_eq!(second.expect("status_update").await["status"], "RUNNING");
}

#[tokio::test]
async fn what_was_missed_and_the_end_are_told() {
    let world = World::new().await;
    let id = world.deployment.id;
    let mut client = Client::connect(&world, &world.token).await;
    client.subscribe("logs", id, Value::Null).await;
    world.log(Level::Info, "before").await;
    world.source.say(Topic::Logs, id, Feed::Missed(12)).await;
    world.log(Level::Info, "after").await;
    assert_eq!(client.line().await, "before");
    assert_eq!(client.expect("error").await, json!({ "message": "too slow: 12 updates missed here" }));
    assert_eq!(client.line().await, "after");
    world.source.end(Topic::Logs, id);
    let message = format!("there is no more of the logs of {id}");
    assert_eq!(client.expect("error").await, json!({ "message": message }));
    client.subscribe("logs", id, Value::Null).await;
    world.log(Level::Info, "again").await;
    assert_eq!(client.line().await, "again");
}

#[tokio::test]
async fn closing_ends_all_connections_and_lets_nobody_in() {
    let world = World::new().await;
    let mut client = Client::connect(&world, &world.token).await;
    client.subscribe("logs", world.deployment.id, Value::Null).await;
    world.live.close().await;
    assert_eq!(client.hear().await, Heard::Closed);
    assert_eq!(Client::open(&world).await.err(), Some(axum::http::StatusCode::SERVICE_UNAVAILABLE));
    world.source.nobody_listens(Topic::Logs, world.deployment.id).await;
}
