use serde_json::json;

use crate::world::{Shop, World};

#[tokio::test]
async fn the_audit_log_tells_who_did_what_from_where() {
    let world = World::new().await;
    let request = world.api.request(reqwest::Method::POST, "/api/projects").header("x-request-id", "req-1");
    let request = request.header("user-agent", "u".repeat(1_000)).json(&json!({ "name": "shop" }));
    let project = crate::client::Answer::of(request).await.id(201);
    let entries = world.api.get("/api/audit").await.list();
    let entry = &entries[0];
    assert_eq!((&entry["target"], &entry["action"]), (&json!(project), &json!("create")));
    assert_eq!((&entry["actor"], &entry["requestId"]), (&json!("operator"), &json!("req-1")));
    assert_eq!((&entry["address"], &entry["detail"]), (&json!("127.0.0.1"), &json!("project shop")));
    assert_eq!(entry["userAgent"].as_str().unwrap().len(), 256);

    let page = world.api.get("/api/audit?limit=1").await;
    let next = page.body["page"]["next"].as_str().expect("there is more").to_owned();
    assert_eq!(page.list(), entries[..1]);
    assert_eq!(world.api.get(&format!("/api/audit?cursor={next}")).await.list(), entries[1..]);
    assert_eq!(world.api.get("/api/audit?cursor=nonsense").await.wrong_fields(), ["cursor"]);
}

#[tokio::test]
async fn every_tenant_has_a_log_of_its_own_and_failures_are_in_it() {
    let world = World::new().await;
    let ada = world.register("ada@example.org").await;
    Shop::new(&world.api).await;
    let wrong = json!({ "email": "ada@example.org", "password": "not this one" });
    world.stranger.post("/api/auth/login", wrong).await.refused(401, "unauthorized");
    let actions: Vec<String> =
        ada.get("/api/audit").await.list().iter().map(|one| one["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["failure", "create"]);
}

#[tokio::test]
async fn the_log_is_filtered_and_a_filter_that_means_nothing_is_named() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let count = async |query: &str| world.api.get(&format!("/api/audit?{query}")).await.list().len();
    // All but the founding of the operator's organisation, which nobody asked for.
    let all = count("action=create").await;
    assert_eq!(count("actor=operator&action=create&from=2020-01-01T00:00:00Z").await, all - 1);
    assert_eq!(count("actor=nobody").await + count("action=login").await + count("to=0").await, 0);
    let of_project = world.api.get(&format!("/api/audit?projectId={}", shop.project)).await.list();
    assert!(!of_project.is_empty() && of_project.iter().all(|entry| entry["projectId"] == json!(shop.project)));
    let bad = "/api/audit?projectId=shop&action=steal&from=yesterday&format=csv";
    assert_eq!(world.api.get(bad).await.wrong_fields(), ["projectId", "action", "from", "format"]);
}

#[tokio::test]
async fn the_log_is_exported_a_line_an_entry() {
    let world = World::new().await;
    Shop::new(&world.api).await;
    let entries = world.api.get("/api/audit?limit=200").await.list();
    for (path, accept) in [("/api/audit", "application/x-ndjson"), ("/api/audit?format=ndjson", "*/*")] {
        let request = world.api.request(reqwest::Method::GET, path).header("accept", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let text = response.text().await.unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, entries);
    }
    assert_eq!(world.api.get("/api/audit?format=ndjson&limit=1").await.wrong_fields(), ["format"]);
}

#[tokio::test]
async fn the_log_is_verified() {
    let world = World::new().await;
    let entries = world.api.get("/api/audit").await.list().len();
    let found = world.api.get("/api/audit/verify").await.body["data"].clone();
    assert_eq!((&found["valid"], &found["entries"]), (&json!(true), &json!(entries)));
    assert_eq!((&found["beforeChain"], &found["fault"]), (&json!(0), &json!(null)));
    let head = found["head"].as_str().unwrap();
    assert_eq!(head.len(), 64);

    Shop::new(&world.api).await;
    let found = world.api.get(&format!("/api/audit/verify?expect={head}")).await.data(200);
    assert_eq!(found["valid"], true, "it was the head, and is in the log");
    let found = world.api.get(&format!("/api/audit/verify?expect={}", "ab".repeat(32))).await.data(200);
    assert_eq!(found["valid"], false);
    assert!(found["fault"]["problem"].as_str().unwrap().contains("older copy"), "{found}");
    assert_eq!(world.api.get("/api/audit/verify?expect=abc").await.wrong_fields(), ["expect"]);
}
