use outrigger_protocol::id::{KeyId, ProjectId};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::client::Client;
use crate::world::{Shop, World};

const KEYS: &str = "/api/admin/keys";

/// Waits until a rotation is over.
async fn done(api: &Client, rotation: &Value) -> Value {
    let path = format!("{KEYS}/rotations/{}", rotation["id"].as_str().expect("an id"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = api.get(&path).await.data(200);
        if found["state"] == "done" {
            return found;
        }
        assert!(Instant::now() < deadline, "the rotation does not end: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_projects_key_is_replaced_in_the_background() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    for key in ["A", "B"] {
        world.api.put(&shop.variable(key), json!({ "value": "s3cret", "isEncrypted": true })).await.data(200);
    }
    let path = format!("{KEYS}?projectId={}", shop.project);
    let before = world.api.get(&path).await.list().remove(0);
    assert_eq!((&before["project"], &before["rotation"]), (&json!("shop"), &Value::Null));
    let old = &before["keys"][0];
    let shown = (&old["state"], &old["encryptions"], &old["rows"], &old["due"]);
    assert_eq!(shown, (&json!("active"), &json!(2), &json!(2), &json!(false)));

    let body = json!({ "kind": "data", "projectId": shop.project });
    let rotation = world.api.post(&format!("{KEYS}/rotate"), body).await.data(202);
    assert_eq!((&rotation["kind"], &rotation["projectId"]), (&json!("data"), &json!(shop.project)));
    let over = done(&world.api, &rotation).await;
    assert_eq!((&over["done"], &over["total"], &over["unreadable"]), (&json!(2), &json!(2), &json!(0)));
    assert!(over["finishedAt"].is_string());
    let after = world.api.get(KEYS).await.list().remove(0);
    assert_eq!(after["keys"].as_array().unwrap().len(), 1);
    assert_eq!(after["keys"][0]["id"], rotation["id"]);
    assert_eq!(after["rotation"]["state"], "done");
    let revealed = world.api.post(&format!("{}/reveal", shop.variable("A")), json!({})).await.data(200);
    assert_eq!(revealed["value"], "s3cret");
}

#[tokio::test]
async fn the_master_key_is_replaced_by_one_that_no_request_carries() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    world.api.put(&shop.variable("A"), json!({ "value": "s3cret", "isEncrypted": true })).await.data(200);
    let master = format!("{KEYS}/master");
    let before = world.api.get(&master).await.data(200);
    assert_eq!((before["name"].as_str().unwrap().len(), &before["retiring"]), (8, &Value::Null));
    let rotate = format!("{KEYS}/rotate");
    let rotation = world.api.post(&rotate, json!({ "kind": "master" })).await.data(202);
    done(&world.api, &rotation).await;
    let after = world.api.get(&master).await.data(200);
    assert_ne!(after["name"], before["name"]);
    assert_eq!((&after["retiring"], &after["rotation"]["id"]), (&Value::Null, &rotation["id"]));
    let revealed = world.api.post(&format!("{}/reveal", shop.variable("A")), json!({})).await.data(200);
    assert_eq!(revealed["value"], "s3cret");
    let error = world.api.post(&rotate, json!({ "kind": "master" })).await.refused(409, "conflict");
    assert!(error.contains("already"), "{error}");
    assert_eq!(world.api.get("/api/audit/verify").await.data(200)["valid"], true);
    let told = world.api.get("/api/audit?action=rotate").await.list();
    assert_eq!((told.len(), &told[0]["target"]), (2, &json!("master-key")));
}

#[tokio::test]
async fn keys_are_for_the_operator_and_requests_are_checked() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let owner = world.register("ada@example.org").await;
    let rotate = format!("{KEYS}/rotate");
    let of_shop = json!({ "kind": "data", "projectId": shop.project });
    for path in [KEYS.to_owned(), format!("{KEYS}/master"), format!("{KEYS}/rotations/{}", KeyId::generate())] {
        owner.get(&path).await.refused(403, "forbidden");
    }
    owner.post(&rotate, of_shop).await.refused(403, "forbidden");
    owner.post(&rotate, json!({ "kind": "master" })).await.refused(403, "forbidden");

    for (body, fields) in [
        (json!({ "kind": "data" }), vec!["projectId"]),
        (json!({ "kind": "data", "projectId": "x" }), vec!["projectId"]),
        (json!({ "kind": "master", "projectId": shop.project }), vec!["projectId"]),
        (json!({ "kind": "other" }), vec!["kind"]),
    ] {
        assert_eq!(world.api.post(&rotate, body).await.wrong_fields(), fields);
    }
    world
        .api
        .post(&rotate, json!({ "kind": "data", "projectId": ProjectId::generate().to_string() }))
        .await
        .not_found();
    world.api.get(&format!("{KEYS}/rotations/{}", KeyId::generate())).await.not_found();
    assert_eq!(world.api.get(&format!("{KEYS}?limit=0")).await.wrong_fields(), ["limit"]);
}
