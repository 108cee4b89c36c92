use serde_json::json;

use crate::world::{Shop, World};

#[tokio::test]
async fn a_project_lives_and_is_gone() {
    let world = World::new().await;
    let api = &world.api;
    let made = api.post("/api/projects", json!({ "name": "shop", "description": "sells" })).await.data(201);
    let path = format!("/api/projects/{}", made["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.data(200), made);
    let changed = api.put(&path, json!({ "name": "store" })).await.data(200);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("store"), &json!("")));
    assert_eq!(changed["createdAt"], made["createdAt"]);
    assert_eq!(api.get("/api/projects").await.list(), [changed]);
    api.delete(&path).await.data(200);
    api.get(&path).await.not_found();
    api.put(&path, json!({ "name": "store" })).await.not_found();
    api.delete(&path).await.not_found();
    assert!(api.get("/api/projects").await.list().is_empty());
}

#[tokio::test]
async fn a_list_comes_in_pages_that_miss_nothing() {
    let world = World::new().await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(world.api.post("/api/projects", json!({ "name": format!("p{number}") })).await.data(201));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = world.api.get(&format!("/api/projects?limit=2{cursor}")).await;
        let next = answer.body["page"]["next"].clone();
        seen.extend(answer.list());
        let Some(next) = next.as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("page=2", "page"),
    ] {
        assert_eq!(world.api.get(&format!("/api/projects?{query}")).await.wrong_fields(), [field], "{query}");
    }
    assert_eq!(world.api.get("/api/projects?limit=100000").await.list().len(), 5);
}

#[tokio::test]
async fn a_bad_project_is_refused_with_its_fields() {
    let world = World::new().await;
    let create = async |body| world.api.post("/api/projects", body).await;
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!({ "name": "" }), vec!["name"]),
        (json!({ "name": null }), vec!["name"]),
        (json!({ "name": "a\u{0}b" }), vec!["name"]),
        (json!({ "name": "x".repeat(101), "description": "y".repeat(3_000) }), vec!["name", "description"]),
        (json!({ "name": "shop", "owner": "me" }), vec!["owner"]),
        (json!({ "name": ["shop"] }), vec!["name"]),
    ] {
        assert_eq!(create(body).await.wrong_fields(), fields);
    }
    assert!(create(json!({})).await.refused(400, "validation_failed").contains("name is required"));
    assert!(world.api.get("/api/projects").await.list().is_empty(), "nothing was made");
    for path in ["/api/projects/nonsense", "/api/projects/%00", "/api/projects/prj_00000000000000000000000000000000"] {
        world.api.get(path).await.not_found();
    }
    world.api.get("/api/projects/%ff").await.refused(400, "malformed");
}

#[tokio::test]
async fn a_project_with_deployments_stays() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let deployment = shop.deployment(&world.api, json!({})).await;
    let path = format!("/api/projects/{}", shop.project);
    assert!(world.api.delete(&path).await.refused(409, "conflict").contains("deployments"));
    world.api.delete(&deployment).await.data(200);
    world.api.delete(&path).await.data(200);
    world.api.get(&shop.variables()).await.not_found();
}
