//! Changes that somebody else has to approve.

use outrigger_catalog::NewAccount;
use outrigger_catalog::model::Role;
use outrigger_secrets::SecretString;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::world::{PASSWORD, Shop, World};

/// Somebody else in the operator's organisation.
async fn colleague(world: &World, name: &str, role: Role) -> Client {
    let operator = world.catalog.authenticate(world.api.token()).await.unwrap();
    let email = format!("{name}@example.org");
    let new = NewAccount { email: email.clone(), password: SecretString::from(PASSWORD), name: name.to_owned() };
    world.catalog.add_user(&operator, new, role).await.unwrap();
    let data = world.stranger.post("/api/auth/login", json!({ "email": email, "password": PASSWORD })).await.data(200);
    world.stranger.with_token(data["token"].as_str().unwrap())
}

/// A production environment whose changes have to be approved, from a risk on.
async fn protected(world: &World, from: &str) -> Shop {
    let shop = Shop::new(&world.api).await;
    world.api.put(&shop.variable("TOKEN"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    let path = format!("/api/config/environments/{}", shop.environment);
    let shown = world.api.put(&path, json!({ "approval": { "from": from } })).await.data(200);
    assert_eq!(shown["approval"], json!({ "from": from }));
    shop
}

fn id(change: &Value) -> String {
    change["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_way_to_write_answers_202_with_the_change() {
    let world = World::new().await;
    let (api, shop) = (&world.api, protected(&world, "low").await);
    let environment = format!("/api/config/environments/{}", shop.environment);
    let import = api.request(Method::POST, &format!("{environment}/import?format=dotenv"));
    let import = import.header("content-type", "text/plain").body("HOST=db");
    let apply = json!({ "templateId": "sentry", "environment": "production", "overrides": { "SENTRY_DSN": "https://a@b.example/1" } });
    let answers = [
        ("variables", api.put(&shop.variable("HOST"), json!({ "value": "db" })).await),
        ("variables", api.patch(&shop.variables(), json!({ "variables": [{ "key": "HOST", "value": "db" }] })).await),
        ("variables", api.delete(&shop.variable("TOKEN")).await),
        ("rollback", api.post(&format!("{environment}/rollback"), json!({ "generation": 0 })).await),
        ("import", Answer::of(import).await),
        ("import", api.post(&format!("/api/config/projects/{}/apply-template", shop.project), apply).await),
        ("environment", api.put(&environment, json!({ "approval": null })).await),
    ];
    let mut ids = Vec::new();
    for (kind, answer) in answers {
        let change = answer.data(202);
        assert_eq!(
            (&change["status"], &change["kind"], &change["baseGeneration"]),
            (&json!("open"), &json!(kind), &json!(1))
        );
        assert!(change["review"].is_object() && !change["reasons"].as_array().unwrap().is_empty(), "{change}");
        assert!(!change.to_string().contains("hunter2"), "{change}");
        ids.push(id(&change));
    }
    let listed: Vec<String> = api.get(&format!("{environment}/changes")).await.list().iter().map(id).collect();
    assert_eq!(listed, ids);
    assert_eq!(api.get(&environment).await.data(200)["generation"], 1);
    api.delete(&environment).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_second_person_approves_and_the_history_has_both() {
    let world = World::new().await;
    let (api, shop) = (&world.api, protected(&world, "high").await);
    let environment = format!("/api/config/environments/{}", shop.environment);
    api.put(&shop.variable("HOST"), json!({ "value": "db" })).await.data(200);
    let change = api.put(&shop.variable("TOKEN"), json!({ "value": "hunter3" })).await.data(202);
    assert_eq!((&change["risk"], &change["approverRole"]), (&json!("high"), &json!("admin")));
    assert_eq!(change["reasons"][0], json!({ "risk": "high", "reason": "sets secrets: TOKEN" }));
    let difference = &change["review"]["differences"][0];
    assert_eq!(
        (&difference["key"], &difference["after"]["value"], &difference["after"]["masked"]),
        (&json!("TOKEN"), &json!(null), &json!(true))
    );

    let path = format!("/api/config/changes/{}", id(&change));
    let approve = format!("{path}/approve");
    assert!(api.post(&approve, json!({})).await.refused(409, "conflict").contains("somebody else"));
    let developer = colleague(&world, "dev", Role::Developer).await;
    developer.post(&approve, json!({})).await.refused(403, "forbidden");
    let stranger = world.register("eve@example.org").await;
    stranger.get(&path).await.not_found();
    stranger.post(&approve, json!({})).await.not_found();

    let admin = colleague(&world, "bob", Role::Admin).await;
    let shown = admin.get(&path).await.data(200);
    assert_eq!(shown["review"]["outdated"], json!([]));
    let approved = admin.keyed("k", Method::POST, &approve, json!({ "reason": "looked at it" })).await.data(200);
    assert_eq!((&approved["status"], &approved["decision"]["generation"]), (&json!("approved"), &json!(3)));
    assert_eq!(admin.keyed("k", Method::POST, &approve, json!({ "reason": "looked at it" })).await.data(200), approved);
    let newest = api.get(&format!("{environment}/versions?limit=1")).await.list().remove(0);
    assert_eq!(newest["author"], "operator");
    assert_eq!(newest["approvedBy"], approved["decision"]["by"]);
    let revealed = api.post(&format!("{}/reveal", shop.variable("TOKEN")), json!({})).await.data(200);
    assert_eq!(revealed["value"], "hunter3");
    let told = api.get("/api/audit?action=approve").await.list();
    assert_eq!((told.len(), &told[0]["target"], &told[0]["projectId"]), (1, &approved["id"], &json!(shop.project)));
    assert_eq!(api.get(&path).await.data(200)["review"], Value::Null);
    admin.post(&approve, json!({})).await.refused(409, "conflict");
}

#[tokio::test]
async fn what_was_changed_since_is_named_and_no_is_an_answer() {
    let world = World::new().await;
    let (api, shop) = (&world.api, protected(&world, "high").await);
    let admin = colleague(&world, "bob", Role::Admin).await;
    let (one, other) = (
        api.put(&shop.variable("TOKEN"), json!({ "value": "one" })).await.data(202),
        api.put(&shop.variable("TOKEN"), json!({ "value": "other" })).await.data(202),
    );
    let path = |change: &Value, verb: &str| format!("/api/config/changes/{}{verb}", id(change));
    admin.post(&path(&other, "/approve"), json!({})).await.data(200);
    assert!(admin.post(&path(&one, "/approve"), json!({})).await.refused(409, "conflict").contains("TOKEN"));
    assert_eq!(api.get(&path(&one, "")).await.data(200)["review"]["outdated"], json!(["TOKEN"]));
    let rejected = admin.post(&path(&one, "/reject"), json!({ "reason": "too late" })).await.data(200);
    assert_eq!((&rejected["status"], &rejected["decision"]["reason"]), (&json!("rejected"), &json!("too late")));
    let own = api.put(&shop.variable("TOKEN"), json!({ "value": "x" })).await.data(202);
    assert_eq!(api.post(&path(&own, "/reject"), json!({})).await.data(200)["status"], "withdrawn");
}

#[tokio::test]
async fn an_owner_overrides_it_with_a_reason() {
    let world = World::new().await;
    let (api, shop) = (&world.api, protected(&world, "high").await);
    let change = api.put(&shop.variable("TOKEN"), json!({ "value": "now" })).await.data(202);
    let approve = format!("/api/config/changes/{}/approve", id(&change));
    assert_eq!(api.post(&approve, json!({ "override": true })).await.wrong_fields(), ["reason"]);
    let admin = colleague(&world, "bob", Role::Admin).await;
    admin.post(&approve, json!({ "override": true, "reason": "me too" })).await.refused(403, "forbidden");
    let done = api.post(&approve, json!({ "override": true, "reason": "it burns" })).await.data(200);
    assert_eq!((&done["status"], &done["decision"]["generation"]), (&json!("overridden"), &json!(2)));
    let told = api.get("/api/audit?action=override").await.list();
    assert!(told[0]["detail"].as_str().unwrap().ends_with("it burns"), "{told:?}");
}

#[tokio::test]
async fn a_protection_that_is_none_is_refused() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = format!("/api/config/environments/{}", shop.environment);
    let bad = world.api.put(&path, json!({ "approval": { "from": "extreme" } })).await;
    assert_eq!(bad.wrong_fields(), ["approval.from"]);
    world.api.get("/api/config/changes/env_1").await.not_found();
    assert!(world.api.get(&format!("{path}/changes")).await.list().is_empty());
}
