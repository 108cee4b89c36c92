use serde_json::json;

use crate::world::{Shop, World, eventually, reaches};

#[tokio::test]
async fn a_deployment_starts_scales_pauses_and_stops() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let path = shop.deployment(api, json!({ "replicas": { "min": 1, "max": 5, "initial": 2 } })).await;
    let call = async |what: &str, body| api.post(&format!("{path}/{what}"), body).await;
    call("scale", json!({ "replicas": 3 })).await.refused(409, "conflict");
    call("stop", json!({})).await.data(200);

    let started = call("start", json!({})).await.data(200);
    assert_eq!(started["desiredReplicas"], 2);
    reaches(api, &path, "RUNNING").await;
    assert_eq!(api.get(&path).await.data(200)["readyReplicas"], 2);
    assert_eq!(api.get("/api/deployments").await.list()[0]["readyReplicas"], 2);
    assert_eq!(call("start", json!({})).await.data(200)["status"], "RUNNING", "it runs already");

    assert_eq!(call("scale", json!({ "replicas": 6 })).await.wrong_fields(), ["replicas"]);
    assert_eq!(call("scale", json!({})).await.wrong_fields(), ["replicas"]);
    assert_eq!(call("scale", json!({ "replicas": -1 })).await.wrong_fields(), ["replicas"]);
    let scaled = call("scale", json!({ "replicas": 4, "reason": "sale" })).await.data(200);
    assert_eq!(scaled["desiredReplicas"], 4);
    eventually("four instances", async || api.get(&format!("{path}/status")).await.data(200)["readyReplicas"] == 4)
        .await;
    assert!(api.get(&path).await.data(200)["lastScaleUp"].is_string());
    let status = api.get(&format!("{path}/status")).await.data(200);
    assert_eq!((&status["desiredReplicas"], &status["lastDecision"]["to"]), (&json!(4), &json!(4)));

    assert_eq!(call("pause", json!({})).await.data(200)["paused"], true);
    assert_eq!(call("pause", json!({})).await.data(200)["paused"], true);
    assert_eq!(call("resume", json!({})).await.data(200)["paused"], false);

    assert!(api.delete(&path).await.refused(409, "conflict").contains("stop it first"));
    call("stop", json!({})).await.data(200);
    reaches(api, &path, "STOPPED").await;
    assert!(api.get(&format!("{path}/instances")).await.list().is_empty());
    api.delete(&path).await.data(200);
}

#[tokio::test]
async fn decisions_and_events_tell_the_story_newest_first() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let path = shop.running(api, json!({})).await;
    api.post(&format!("{path}/scale"), json!({ "replicas": 3, "reason": "sale" })).await.data(200);
    let decisions = api.get(&format!("{path}/decisions")).await.list();
    let scaled = decisions.iter().find(|one| one["to"] == 3).expect("it was decided");
    assert_eq!((&scaled["from"], &scaled["verdict"], &scaled["repeats"]), (&json!(1), &json!("approve"), &json!(0)));
    assert!(scaled["reason"].as_str().unwrap().ends_with(": sale"), "{scaled}");
    eventually("three instances", async || api.get(&path).await.data(200)["readyReplicas"] == 3).await;
    let events = api.get(&format!("{path}/events?limit=200")).await.list();
    let of_kind = |kind: &str| events.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!((of_kind("scaled_up"), of_kind("instance_created")), (2, 3));
    assert!(of_kind("status_changed") >= 2);
    let up = events.iter().find(|one| one["kind"] == "scaled_up").unwrap();
    assert_eq!(up["decisionId"], scaled["id"]);
    assert!(up["message"].as_str().unwrap().starts_with("scaled up 1 -> 3: "));

    let page = api.get(&format!("{path}/events?limit=1")).await;
    let next = page.body["page"]["next"].as_str().expect("there is more").to_owned();
    assert_eq!(page.list(), events[..1]);
    assert_eq!(api.get(&format!("{path}/events?limit=1&cursor={next}")).await.list(), events[1..2]);
    assert_eq!(api.get(&format!("{path}/events?kind=x")).await.wrong_fields(), ["kind"]);
    assert_eq!(api.get(&format!("{path}/decisions?limit=0")).await.wrong_fields(), ["limit"]);
}

#[tokio::test]
async fn what_is_required_and_missing_is_named_before_anything_starts() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let missing = json!({ "variables": [
        { "key": "DATABASE_URL", "isRequired": true }, { "key": "API_KEY", "isRequired": true, "isEncrypted": true },
    ] });
    world.api.patch(&shop.variables(), missing).await.data(200);
    let path = shop.deployment(&world.api, json!({})).await;
    let start = async || world.api.post(&format!("{path}/start"), json!({})).await;
    assert_eq!(start().await.wrong_fields(), ["API_KEY", "DATABASE_URL"]);
    assert_eq!(world.api.get(&path).await.data(200)["status"], "PENDING");
    for key in ["DATABASE_URL", "API_KEY"] {
        world.api.put(&shop.variable(key), json!({ "value": "x" })).await.data(200);
    }
    start().await.data(200);
    reaches(&world.api, &path, "RUNNING").await;
}

#[tokio::test]
async fn only_a_running_deployment_is_reloaded() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    world.api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
    let path = shop.deployment(&world.api, json!({})).await;
    let reload = path.replace("/api/", "/api/config/") + "/reload";
    assert!(world.api.post(&reload, json!({})).await.refused(409, "conflict").contains("RUNNING"));
    world.api.post(&format!("{path}/start"), json!({})).await.data(200);
    reaches(&world.api, &path, "RUNNING").await;
    let rollout = world.api.post(&reload, json!({})).await.data(200);
    assert_eq!((&rollout["generation"], &rollout["total"], &rollout["failed"]), (&json!(1), &json!(0), &json!([])));
    world.api.post("/api/config/deployments/nonsense/reload", json!({})).await.not_found();
}

#[tokio::test]
async fn calls_without_a_body_take_none() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.deployment(&world.api, json!({})).await;
    for call in ["start", "stop", "pause", "resume"] {
        let path = format!("{path}/{call}");
        assert_eq!(world.api.post(&path, json!({ "force": true })).await.wrong_fields(), ["force"]);
        assert_eq!(world.api.post(&format!("{path}?force=true"), json!({})).await.wrong_fields(), ["force"]);
        let empty = world.api.request(reqwest::Method::POST, &path);
        crate::client::Answer::of(empty).await.data(200);
    }
}
