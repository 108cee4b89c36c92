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
