use std::time::Duration;

use outrigger_live::LiveConfig;
use outrigger_protocol::log::Level;
use serde_json::{Value, json};

use crate::client::{Client, Heard};
use crate::world::World;

#[tokio::test]
async fn only_who_shows_a_valid_token_is_let_in() {
    let world = World::new().await;
    for auth in [json!({ "token": "ogr_wrong" }), json!({}), json!({ "token": 7 }), json!({ "token": "" }), json!([])] {
        let mut client = Client::open(&world).await.unwrap();
        assert_eq!(client.sign_in(auth).await, Heard::Refused("Authentication failed".to_owned()));
        assert_eq!(
            client.sign_in(json!({ "token": world.token })).await,
            Heard::Connected,
            "a second try may be right"
        );
    }
}

#[tokio::test]
async fn who_has_shown_no_token_is_told_nothing() {
    let world = World::new().await;
    let mut client = Client::open(&world).await.unwrap();
    client.emit("subscribe_logs", json!({ "deploymentId": world.deployment.id.to_string() })).await;
    assert_eq!(client.hear().await, Heard::Closed);
    assert_eq!(world.source.begun(), 0);
}

#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let world = World::with(LiveConfig { recheck: Duration::from_millis(20), ..LiveConfig::default() }).await;
    let tenant = world.tenant().await;
    let mut client = Client::connect(&world, &tenant.token).await;
    let mut operator = Client::connect(&world, &world.token).await;
    client.subscribe("logs", tenant.deployment.id, Value::Null).await;
    operator.subscribe("logs", world.deployment.id, Value::Null).await;
    world.pass(Duration::from_secs(25 * 60 * 60));
    let message = "Authentication failed: The token has expired";
    assert_eq!(client.expect("error").await, json!({ "message": message }));
    assert_eq!(client.hear().await, Heard::Disconnected);
    world.source.nobody_listens(outrigger_live::Topic::Logs, tenant.deployment.id).await;
    world.log(Level::Info, "still here").await;
    assert_eq!(operator.line().await, "still here");
}
