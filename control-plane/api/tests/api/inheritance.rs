use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::world::{Shop, World};

async fn environment(api: &Client, shop: &Shop, stage: &str, name: &str, extends: Option<&str>) -> String {
    let path = format!("/api/config/projects/{}/environments", shop.project);
    api.post(&path, json!({ "environment": stage, "name": name, "extends": extends })).await.id(201)
}

fn path(environment: &str, rest: &str) -> String {
    format!("/api/config/environments/{environment}{rest}")
}

#[tokio::test]
async fn effective_variables_tell_where_they_come_from() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("HOST"), json!({ "value": "db" })).await.data(200);
    api.put(&shop.variable("PASSWORD"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    let eu = environment(api, &shop, "staging", "eu", Some(&shop.environment)).await;
    let shown = api.get(&path(&eu, "")).await.data(200);
    assert_eq!((&shown["extends"], &shown["generation"]), (&json!(shop.environment), &json!(1)));
    api.put(&path(&eu, "/variables/HOST"), json!({ "value": "db.eu" })).await.data(200);
    let url = json!({ "value": "postgres://app:${PASSWORD}@${HOST}" });
    api.put(&path(&eu, "/variables/URL"), url).await.data(200);
    let literal = api.put(&path(&eu, "/variables/RAW"), json!({ "value": "${HOST}", "expand": false })).await.data(200);
    assert_eq!(literal["expand"], json!(false));

    let answer = api.get(&path(&eu, "/variables?effective=true")).await;
    assert_eq!(answer.header("etag"), "\"4\"");
    let list = answer.list();
    let base = json!({ "id": shop.environment, "name": "production/production" });
    let own = json!({ "id": eu, "name": "staging/eu" });
    let keys: Vec<&Value> = list.iter().map(|variable| &variable["key"]).collect();
    assert_eq!(keys, ["HOST", "PASSWORD", "RAW", "URL"]);
    assert_eq!((&list[0]["value"], &list[0]["origin"], &list[0]["overrides"]), (&json!("db.eu"), &own, &json!([base])));
    assert_eq!((&list[1]["inherited"], &list[1]["origin"], &list[1]["masked"]), (&json!(true), &base, &json!(true)));
    assert_eq!(list[2]["value"], "${HOST}");
    assert_eq!((&list[3]["value"], &list[3]["masked"]), (&Value::Null, &json!(true)), "a part of it is secret");
    let reference = json!({ "key": "PASSWORD", "environment": own, "origin": base });
    assert_eq!(list[3]["references"][0], reference);
    let before = api.get(&path(&eu, "/variables?effective=true&generation=1")).await.list();
    assert_eq!(before[0]["value"], "db");
    assert!(api.get(&path(&eu, "/variables?generation=1")).await.list().is_empty(), "it wrote nothing itself then");
    assert_eq!(api.get(&path(&eu, "/variables?at=soon")).await.wrong_fields(), ["at"]);
    api.get(&path(&eu, "/variables?generation=77")).await.not_found();
}

#[tokio::test]
async fn a_base_is_chosen_checked_and_kept_while_it_is_needed() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let eu = environment(api, &shop, "staging", "eu", Some(&shop.environment)).await;
    let extend = async |id: &str, base: Value| api.put(&path(id, ""), json!({ "extends": base })).await;
    assert_eq!(extend(&shop.environment, json!(eu)).await.wrong_fields(), ["extends"]);
    assert_eq!(extend(&shop.environment, json!("nonsense")).await.wrong_fields(), ["extends"]);
    let conflict = api.delete(&path(&shop.environment, "")).await.refused(409, "conflict");
    assert!(conflict.contains("staging/eu"), "{conflict}");
    let renamed = api.put(&path(&eu, ""), json!({ "description": "of the EU" })).await.data(200);
    assert_eq!(renamed["extends"], json!(shop.environment), "what is not said stays");
    assert_eq!(extend(&eu, Value::Null).await.data(200)["extends"], Value::Null);
    api.delete(&path(&shop.environment, "")).await.data(200);
}

#[tokio::test]
async fn a_change_that_breaks_another_environment_names_it() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("HOST"), json!({ "value": "db" })).await.data(200);
    let eu = environment(api, &shop, "staging", "eu", Some(&shop.environment)).await;
    api.put(&path(&eu, "/variables/URL"), json!({ "value": "http://${HOST}" })).await.data(200);
    assert_eq!(api.delete(&shop.variable("HOST")).await.wrong_fields(), ["staging/eu/URL"]);
    assert_eq!(api.put(&shop.variable("A"), json!({ "value": "${NOTHING}" })).await.wrong_fields(), ["A"]);
}

#[tokio::test]
async fn generations_and_environments_are_compared_without_secrets() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("HOST"), json!({ "value": "one" })).await.data(200);
    api.put(&shop.variable("TOKEN"), json!({ "value": "hunter1", "isEncrypted": true })).await.data(200);
    api.put(&shop.variable("HOST"), json!({ "value": "two" })).await.data(200);
    api.put(&shop.variable("TOKEN"), json!({ "value": "hunter2" })).await.data(200);
    let diff = api.get(&path(&shop.environment, "/diff?from=2&to=4")).await;
    assert!(!diff.body.to_string().contains("hunter"));
    let diff = diff.list();
    assert_eq!((&diff[0]["key"], &diff[0]["change"]), (&json!("HOST"), &json!("changed")));
    assert_eq!((&diff[0]["before"]["value"], &diff[0]["after"]["value"]), (&json!("one"), &json!("two")));
    assert_eq!((&diff[1]["aspects"], &diff[1]["after"]["masked"]), (&json!(["value"]), &json!(true)));
    let latest = api.get(&path(&shop.environment, "/diff")).await.list();
    assert_eq!((latest.len(), &latest[0]["key"]), (1, &json!("TOKEN")), "the newest change");

    let eu = environment(api, &shop, "staging", "eu", Some(&shop.environment)).await;
    let against = format!("/diff?environment={eu}");
    assert!(api.get(&path(&shop.environment, &against)).await.list().is_empty(), "it gets the same");
    let written = format!("/diff?environment={eu}&effective=false");
    assert_eq!(api.get(&path(&shop.environment, &written)).await.list().len(), 2, "and writes nothing");
    assert_eq!(api.get(&path(&eu, "/diff?environment=eu")).await.wrong_fields(), ["environment"]);
}

#[tokio::test]
async fn going_back_makes_a_new_generation_unless_somebody_was_faster() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
    api.put(&shop.variable("A"), json!({ "value": "2" })).await.data(200);
    let rollback = path(&shop.environment, "/rollback");
    let request = api.request(Method::POST, &rollback).header("if-match", "\"1\"").json(&json!({ "generation": 1 }));
    Answer::of(request).await.refused(409, "conflict");
    let answer = api.post(&rollback, json!({ "generation": 1, "message": "2 was wrong" })).await;
    assert_eq!(answer.header("etag"), "\"3\"");
    assert_eq!(answer.data(200)["message"], "2 was wrong");
    assert_eq!(api.get(&shop.variables()).await.list()[0]["value"], "1");
    api.post(&rollback, json!({ "generation": 9 })).await.not_found();
    let audit = api.get("/api/audit").await.list();
    assert!(audit.iter().any(|entry| entry["action"] == "rollback"));
}
