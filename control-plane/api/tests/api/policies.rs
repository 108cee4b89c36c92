use outrigger_builtin_policies::test_support::{CORE_MODULE, FOREIGN, HOSTILE};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::world::{Shop, World};

/// In the order in which they are listed.
const BUILT_IN: [&str; 5] = ["threshold", "weighted", "target", "concurrency", "schedule"];

pub(crate) fn rules() -> Value {
    json!({ "rules": [{ "metric": "requests", "above": 60, "below": 20 }] })
}

#[tokio::test]
async fn a_component_is_uploaded_listed_and_deleted() {
    let world = World::new().await;
    let builtin = world.api.get("/api/policies").await.list();
    let names: Vec<&Value> = builtin.iter().map(|policy| &policy["name"]).collect();
    assert_eq!(names, BUILT_IN);
    assert!(builtin.iter().all(|policy| policy["builtin"] == true && policy["configSchema"].is_object()));

    let made = world.api.upload(HOSTILE).await.data(201);
    assert_eq!((&made["name"], &made["builtin"]), (&json!("hostile"), &json!(false)));
    assert_eq!(made["sizeBytes"], HOSTILE.len());
    assert_eq!(made["digest"].as_str().unwrap().len(), 64);
    assert_eq!(world.api.upload(HOSTILE).await.data(201), made, "the same content is the same policy");
    let path = format!("/api/policies/{}", made["id"].as_str().unwrap());
    assert_eq!(world.api.get(&path).await.data(200), made);
    assert_eq!(world.api.get("/api/policies").await.list().len(), builtin.len() + 1);
    world.api.delete(&path).await.data(200);
    world.api.get(&path).await.not_found();
    world.api.delete(&path).await.not_found();

    let threshold = format!("/api/policies/{}", builtin[0]["id"].as_str().unwrap());
    assert!(world.api.delete(&threshold).await.refused(409, "conflict").contains("built-in"));
    assert_eq!(world.api.get("/api/policies?limit=1").await.wrong_fields(), ["limit"]);
}

#[tokio::test]
async fn what_is_no_policy_is_refused_in_words() {
    let world = World::new().await;
    for (bytes, words) in [
        (&b""[..], "component"),
        (b"hello", "not WebAssembly"),
        (b"\0asm\x0d\0\x01\0garbage", "component"),
        (CORE_MODULE, "core WebAssembly module"),
        (FOREIGN, "imports"),
    ] {
        let error = world.api.upload(bytes).await.refused(400, "validation_failed");
        assert!(error.contains(words), "{error}");
    }
    for content_type in ["application/json", "text/plain", ""] {
        let request = world.api.request(Method::POST, "/api/policies").header("content-type", content_type);
        let error = Answer::of(request.body(HOSTILE)).await.refused(415, "unsupported_media_type");
        assert!(error.contains("application/wasm"), "{error}");
    }
    assert_eq!(world.api.get("/api/policies").await.list().len(), BUILT_IN.len(), "nothing was kept");
}

#[tokio::test]
async fn a_component_may_be_larger_than_json_and_has_a_limit() {
    let world = World::new().await;
    let mut large = vec![0; 2 * 1024 * 1024];
    large[..5].copy_from_slice(b"hello");
    world.api.upload(&large).await.refused(400, "validation_failed");
    large.resize(32 * 1024 * 1024 + 1, 0);
    // A client may still be writing when the answer comes, so this one announces and waits.
    let announced = crate::hostile::raw(&world, |token| {
        format!(
            "POST /api/policies HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/wasm\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            large.len()
        )
        .into_bytes()
    })
    .await;
    assert!(announced.starts_with("HTTP/1.1 413") && announced.contains("\"too_large\""), "{announced}");
}

#[tokio::test]
async fn a_policy_is_bound_changed_and_unbound() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let deployment = shop.deployment(api, json!({})).await;
    let path = format!("{deployment}/policies/load");
    let bound = api.put(&path, json!({ "policyId": "threshold", "config": rules() })).await.data(200);
    let binding = &bound["policies"][0];
    assert_eq!((&binding["name"], &binding["mode"], &binding["config"]), (&json!("load"), &json!("active"), &rules()));
    let shadow = json!({ "policyId": binding["policyId"], "config": rules(), "mode": "shadow" });
    let changed = api.put(&path, shadow).await.data(200);
    assert_eq!((changed["policies"].as_array().unwrap().len(), &changed["policies"][0]["mode"]), (1, &json!("shadow")));

    for (body, field) in [
        (json!({}), "policyId"),
        (json!({ "policyId": "tresholt" }), "policyId"),
        (json!({ "policyId": "threshold" }), "config"),
        (json!({ "policyId": "threshold", "config": [] }), "config"),
        (
            json!({ "policyId": "threshold", "config": { "rules": [{ "metric": 5, "above": 1 }] } }),
            "config.rules.0.metric",
        ),
        (json!({ "policyId": "threshold", "config": rules(), "mode": "on" }), "mode"),
        (json!({ "policyId": "threshold", "config": rules(), "name": "x" }), "name"),
    ] {
        assert_eq!(api.put(&path, body.clone()).await.wrong_fields()[0], field, "{body}");
    }
    let long = json!({ "policyId": "threshold", "config": { "rules": "x".repeat(60_000) } });
    let error = api.put(&path, long).await.refused(400, "validation_failed");
    assert!(error.len() < 300 && error.contains("config.rules") && error.contains("of type \"array\""), "{error}");
    let bad_name = format!("{deployment}/policies/%00");
    api.put(&bad_name, json!({ "policyId": "threshold", "config": rules() })).await.refused(400, "validation_failed");
    api.delete(&bad_name).await.not_found();
    let (prefix, _) = binding["policyId"].as_str().unwrap().split_once('_').unwrap();
    let absent = json!({ "policyId": format!("{prefix}_01890000000070008000000000000000"), "config": rules() });
    api.put(&path, absent).await.not_found();

    let left = api.delete(&path).await.data(200);
    assert_eq!(left["policies"], json!([]));
    api.delete(&path).await.not_found();
}

#[tokio::test]
async fn a_policy_in_use_stays() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let policy = world.api.upload(HOSTILE).await.id(201);
    let binding = json!({ "policies": [{ "name": "mine", "policyId": policy, "mode": "disabled" }] });
    let deployment = shop.deployment(&world.api, binding).await;
    let path = format!("/api/policies/{policy}");
    world.api.delete(&path).await.refused(409, "conflict");
    world.api.delete(&format!("{deployment}/policies/mine")).await.data(200);
    world.api.delete(&path).await.data(200);
}
