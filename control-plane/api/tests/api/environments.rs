use serde_json::json;

use crate::world::{Shop, World};

#[tokio::test]
async fn an_environment_lives_and_is_gone() {
    let world = World::new().await;
    let api = &world.api;
    let project = api.post("/api/projects", json!({ "name": "shop" })).await.id(201);
    let list = format!("/api/config/projects/{project}/environments");
    let made = api.post(&list, json!({ "environment": "staging", "description": "before" })).await.data(201);
    assert_eq!((&made["environment"], &made["name"]), (&json!("staging"), &json!("staging")));
    assert_eq!(
        (&made["projectId"], &made["isActive"], &made["generation"]),
        (&json!(project), &json!(true), &json!(0))
    );
    let path = format!("/api/config/environments/{}", made["id"].as_str().unwrap());
    let shown = api.get(&path).await;
    assert_eq!(shown.header("etag"), "\"0\"");
    assert_eq!(shown.data(200), made);

    assert_eq!(api.put(&path, json!({})).await.data(200), made, "nothing is to be different");
    let changed = api.put(&path, json!({ "name": "blue", "isActive": false })).await.data(200);
    assert_eq!((&changed["name"], &changed["isActive"]), (&json!("blue"), &json!(false)));
    assert_eq!(changed["description"], "before");
    assert_eq!(api.get(&list).await.list(), [changed]);

    api.delete(&path).await.data(200);
    api.get(&path).await.not_found();
    assert!(api.get(&list).await.list().is_empty());
}

#[tokio::test]
async fn a_bad_environment_is_refused() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let list = format!("/api/config/projects/{}/environments", shop.project);
    let create = async |body| world.api.post(&list, body).await;
    assert_eq!(create(json!({})).await.wrong_fields(), ["environment"]);
    let refused = create(json!({ "environment": "qa" })).await.refused(400, "validation_failed");
    assert!(refused.contains("development, staging, production"), "{refused}");
    assert_eq!(create(json!({ "environment": "staging", "extends": "x" })).await.wrong_fields(), ["extends"]);
    assert_eq!(create(json!({ "environment": "staging", "name": "\n" })).await.wrong_fields()[0], "name");
    create(json!({ "environment": "production" })).await.refused(409, "conflict");
    create(json!({ "environment": "production", "name": "green" })).await.data(201);
    let path = format!("/api/config/environments/{}", shop.environment);
    world.api.put(&path, json!({ "name": "green" })).await.refused(409, "conflict");
    assert_eq!(world.api.put(&path, json!({ "environment": "staging" })).await.wrong_fields(), ["environment"]);
    let absent = "/api/config/projects/prj_01890000000070008000000000000000/environments";
    world.api.post(absent, json!({ "environment": "staging" })).await.not_found();
    world.api.get(absent).await.not_found();
    world.api.get("/api/config/environments/nonsense").await.not_found();
}

#[tokio::test]
async fn an_environment_in_use_stays() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let deployment = shop.deployment(&world.api, json!({})).await;
    let path = format!("/api/config/environments/{}", shop.environment);
    world.api.delete(&path).await.refused(409, "conflict");
    world.api.delete(&deployment).await.data(200);
    world.api.delete(&path).await.data(200);
}
