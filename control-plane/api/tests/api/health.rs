use reqwest::Method;
use serde_json::json;

use crate::world::{Shop, World};

#[tokio::test]
async fn probes_need_no_token_and_say_what_is_wrong() {
    let world = World::new().await;
    world.stranger.get("/livez").await.data(200);
    assert_eq!(world.stranger.get("/readyz").await.data(200)["checks"], json!([]));
    let checks = world.stranger.get("/readyz?verbose").await.data(200)["checks"].clone();
    let names: Vec<&serde_json::Value> = checks.as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["store", "serving"]);
    assert_eq!(world.stranger.get("/readyz?verbos").await.wrong_fields(), ["verbos"]);
    world.readiness.set_draining();
    assert!(world.stranger.get("/readyz").await.refused(503, "not_ready").contains("draining"));
    world.stranger.get("/livez").await.data(200);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let world = World::new().await;
    let response = world.stranger.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = response.text().await.unwrap();
    assert!(text.contains("\noutrigger_store_commits_total "));
    let mut families = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().unwrap().to_owned()), "{line} twice");
        } else if !line.starts_with('#') {
            let value = line.rsplit_once(' ').expect("a name and a value").1;
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        }
    }
    assert!(families.iter().all(|name| name.starts_with("outrigger_")), "{families:?}");
}

#[tokio::test]
async fn a_draining_control_plane_reads_and_changes_nothing() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    world.readiness.set_draining();
    let refused = world.api.post("/api/projects", json!({ "name": "late" })).await;
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.refused(503, "unavailable").contains("shutting down"));
    let account = json!({ "email": "ada@example.org", "password": "long enough" });
    world.stranger.post("/api/auth/register", account.clone()).await.refused(503, "unavailable");
    world.stranger.post("/api/auth/login", account).await.refused(503, "unavailable");
    world.api.put(&shop.variable("A"), json!({ "value": "1" })).await.refused(503, "unavailable");
    world.api.upload(b"component").await.refused(503, "unavailable");
    world.api.delete(&format!("/api/projects/{}", shop.project)).await.refused(503, "unavailable");
    assert_eq!(world.api.get("/api/projects").await.list().len(), 1);
}
