use outrigger_builtin_policies::test_support::HOSTILE;
use serde_json::{Value, json};

use crate::policies::rules;
use crate::world::World;

fn input(requests: u32) -> Value {
    json!({
        "now": 1_700_000_000_000_u64, "deployment": { "replicas": 2, "min": 1, "max": 9 },
        "series": [{ "name": "requests", "points": vec![requests; 60] }],
    })
}

#[tokio::test]
async fn a_policy_is_asked_and_nothing_follows() {
    let world = World::new().await;
    let id = world.api.get("/api/policies").await.list()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/policies/{id}/evaluate");
    let evaluation = world.api.post(&path, json!({ "config": rules(), "input": input(80) })).await.data(200);
    assert!(evaluation["proposal"]["replicas"].as_u64().unwrap() > 2, "{evaluation}");
    assert_eq!(evaluation["fault"], Value::Null);
    assert!(evaluation["fuel"].as_u64().unwrap() > 0 && evaluation["log"].is_array());

    for (body, field) in [
        (json!({ "config": rules() }), "input"),
        (json!({ "config": rules(), "input": {} }), "input"),
        (json!({ "config": rules(), "input": null }), "input"),
        (json!({ "config": [], "input": input(1) }), "config"),
        (json!({ "input": input(1) }), "config"),
        (json!({ "config": { "rules": [] }, "input": input(1) }), "config.rules"),
        (json!({ "config": rules(), "input": input(1), "seed": 1 }), "seed"),
    ] {
        assert_eq!(world.api.post(&path, body.clone()).await.wrong_fields()[0], field, "{body}");
    }
    world.api.post("/api/policies/nonsense/evaluate", json!({ "input": {} })).await.not_found();
}

#[tokio::test]
async fn a_policy_that_misbehaves_ends_as_a_fault_in_words() {
    let world = World::new().await;
    let id = world.api.upload(HOSTILE).await.id(201);
    let path = format!("/api/policies/{id}/evaluate");
    for (misbehave, words) in [("spin", "fuel"), ("nan", ""), ("trap", "")] {
        let body = json!({ "config": { "misbehave": misbehave }, "input": input(1) });
        let evaluation = world.api.post(&path, body).await.data(200);
        assert_eq!(evaluation["proposal"], Value::Null);
        assert!(evaluation["fault"].as_str().unwrap().contains(words), "{evaluation}");
    }
}
