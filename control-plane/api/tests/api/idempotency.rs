use outrigger_builtin_policies::test_support::HOSTILE;
use reqwest::Method;
use serde_json::json;

use crate::client::Answer;
use crate::world::{Shop, World, reaches};

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    let world = World::new().await;
    let create = async || world.api.keyed("k1", Method::POST, "/api/projects", json!({ "name": "shop" })).await;
    let first = create().await.data(201);
    assert_eq!(create().await.data(201), first);
    assert_eq!(world.api.get("/api/projects").await.list().len(), 1);
    let path = format!("/api/projects/{}", first["id"].as_str().unwrap());
    for _ in 0..2 {
        world.api.keyed("k2", Method::DELETE, &path, json!({})).await.data(200);
    }
    world.api.delete(&path).await.not_found();
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let world = World::new().await;
    let ada = world.register("ada@example.org").await;
    let shop = json!({ "name": "shop" });
    world.api.keyed("k", Method::POST, "/api/projects", shop.clone()).await.data(201);
    let other = world.api.keyed("k", Method::POST, "/api/projects", json!({ "name": "store" })).await;
    assert!(other.refused(409, "idempotency_mismatch").contains("Idempotency-Key"));
    ada.keyed("k", Method::POST, "/api/projects", shop.clone()).await.data(201);
    assert_eq!(world.api.get("/api/projects").await.list().len(), 1);

    for key in [&b""[..], &[b'k'; 129], "\u{e9}".as_bytes()] {
        let request = world.api.request(Method::POST, "/api/projects").header("idempotency-key", key).json(&shop);
        Answer::of(request).await.refused(400, "malformed");
    }
    let longest = world.api.keyed(&"k".repeat(128), Method::POST, "/api/projects", shop).await;
    longest.data(201);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let world = World::new().await;
    world.api.keyed("k", Method::POST, "/api/projects", json!({ "name": "" })).await.refused(400, "validation_failed");
    world.api.keyed("k", Method::POST, "/api/projects", json!({ "name": "shop" })).await.data(201);
}

#[tokio::test]
async fn variables_tokens_and_deployments_are_made_once_too() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let twice = async |key: &str, method: Method, path: &str, body: serde_json::Value, status: u16| {
        let first = world.api.keyed(key, method.clone(), path, body.clone()).await.data(status);
        let again = world.api.keyed(key, method, path, body).await.data(status);
        assert_eq!(first, again, "{path}");
        first
    };
    twice("a", Method::PUT, &shop.variable("A"), json!({ "value": "1" }), 200).await;
    world.api.put(&shop.variable("B"), json!({ "value": "2" })).await.data(200);
    let patch = json!({ "variables": [{ "key": "A", "value": "3" }] });
    twice("b", Method::PATCH, &shop.variables(), patch, 200).await;
    twice("c", Method::DELETE, &shop.variable("B"), json!({}), 200).await;
    assert_eq!(world.api.get(&shop.variables()).await.header("etag"), "\"4\"");
    let made = twice("d", Method::POST, "/api/deployments", shop.spec(json!({})), 201).await;
    let tokens = format!("/api/deployments/{}/join-tokens", made["id"].as_str().unwrap());
    twice("e", Method::POST, &tokens, json!({}), 201).await;
    assert_eq!(world.api.get("/api/deployments").await.list().len(), 1);
}

#[tokio::test]
async fn what_is_done_to_a_deployment_is_done_once() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let path = shop.deployment(api, json!({})).await;
    let call = async |key: &str, what: &str, body| api.keyed(key, Method::POST, &format!("{path}/{what}"), body).await;

    let started = call("start", "start", json!({})).await.data(200);
    reaches(api, &path, "RUNNING").await;
    assert_eq!(call("start", "start", json!({})).await.data(200), started, "the first answer, though it runs now");
    let scaled = call("scale", "scale", json!({ "replicas": 3 })).await.data(200);
    api.post(&format!("{path}/scale"), json!({ "replicas": 2 })).await.data(200);
    assert_eq!(call("scale", "scale", json!({ "replicas": 3 })).await.data(200), scaled);
    assert_eq!(api.get(&path).await.data(200)["desiredReplicas"], 2, "nothing was scaled again");

    let stopped = call("stop", "stop", json!({})).await.data(200);
    reaches(api, &path, "STOPPED").await;
    assert_eq!(call("stop", "stop", json!({})).await.data(200), stopped);
    assert_eq!(call("start", "start", json!({})).await.data(200), started);
    assert_eq!(api.get(&path).await.data(200)["status"], "STOPPED", "it was not started again");
    call("again", "start", json!({})).await.data(200);
    reaches(api, &path, "RUNNING").await;

    for (key, what) in [("start", "stop"), ("stop", "start"), ("scale", "pause")] {
        call(key, what, json!({})).await.refused(409, "idempotency_mismatch");
    }
    call("scale", "scale", json!({ "replicas": 4 })).await.refused(409, "idempotency_mismatch");
    let status = api.get(&path).await.data(200);
    assert_eq!((&status["status"], &status["paused"]), (&json!("RUNNING"), &json!(false)));
}

#[tokio::test]
async fn a_reload_is_pushed_once_and_a_refused_one_leaves_its_key_free() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    world.api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
    let path = shop.deployment(&world.api, json!({})).await;
    let reload = path.replace("/api/", "/api/config/") + "/reload";
    world.api.keyed("k", Method::POST, &reload, json!({})).await.refused(409, "conflict");
    world.api.keyed("k", Method::POST, &format!("{path}/start"), json!({})).await.data(200);
    reaches(&world.api, &path, "RUNNING").await;
    let first = world.api.keyed("r", Method::POST, &reload, json!({})).await.data(200);
    world.api.put(&shop.variable("A"), json!({ "value": "2" })).await.data(200);
    assert_eq!(world.api.keyed("r", Method::POST, &reload, json!({})).await.data(200), first);
}

#[tokio::test]
async fn an_upload_of_what_is_there_takes_its_key_too() {
    let world = World::new().await;
    let made = world.api.upload(HOSTILE).await.data(201);
    let upload = async |component: &'static [u8]| {
        let request = world.api.request(Method::POST, "/api/policies").header("content-type", "application/wasm");
        Answer::of(request.header("idempotency-key", "k").body(component)).await
    };
    assert_eq!(upload(HOSTILE).await.data(201), made);
    let other = world.api.keyed("k", Method::POST, "/api/projects", json!({ "name": "shop" })).await;
    other.refused(409, "idempotency_mismatch");
    assert_eq!(upload(HOSTILE).await.data(201), made);
}
