use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::client::Client;
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

/// A page of metrics.
async fn page(client: &Client, accept: &str) -> (String, String) {
    let response = client.request(Method::GET, "/metrics").header("accept", accept).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let format = response.headers()["content-type"].to_str().unwrap().to_owned();
    (format, response.text().await.unwrap())
}

/// The names of the families of a page in the text format.
fn families(page: &str) -> HashSet<String> {
    let mut families = HashSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().unwrap().to_owned()), "{line} twice");
        } else if !line.starts_with('#') {
            let value = line.rsplit_once(' ').expect("a name and a value").1;
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        }
    }
    families
}

#[tokio::test]
async fn metrics_are_prometheus_text_or_open_metrics() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    shop.running(&world.api, json!({})).await;
    let (format, text) = page(&world.stranger, "text/plain").await;
    assert_eq!(format, "text/plain; version=0.0.4; charset=utf-8");
    let families = families(&text);
    let is_ours = |name: &String| name.starts_with("outrigger_") || name.starts_with("process_");
    assert!(families.iter().all(is_ours) && families.len() > 80, "{families:?}");
    let labels = "project=\"shop\",deployment=\"web\",deployment_id=\"";
    let desired = text.lines().find(|line| line.starts_with("outrigger_deployment_replicas_desired{")).unwrap();
    assert!(desired.contains(labels) && desired.ends_with(" 1"), "{desired}");

    let (format, open) = page(&world.stranger, "application/openmetrics-text; version=1.0.0").await;
    assert_eq!(format, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n") && open.contains("# UNIT outrigger_store_write_seconds seconds\n"));
}

#[tokio::test]
async fn a_member_reads_the_metrics_of_the_own_deployments_alone() {
    let world = World::new().await;
    let (ada, eve) = (world.register("ada@example.org").await, world.register("eve@example.org").await);
    let shop = Shop::new(&ada).await;
    shop.running(&ada, json!({ "name": "adas" })).await;
    let (_, everything) = page(&world.api, "*/*").await;
    assert!(everything.contains("deployment=\"adas\"") && everything.contains("\nprocess_open_fds "));
    let (_, own) = page(&ada, "*/*").await;
    assert!(own.contains("deployment=\"adas\""), "{own}");
    assert!(families(&own).iter().all(|name| name.starts_with("outrigger_deployment")), "{own}");
    let (_, others) = page(&eve, "*/*").await;
    assert!(!others.contains("adas"), "{others}");
    assert!(others.contains("\noutrigger_deployments_left_out 0\n"), "{others}");
    let forged = world.stranger.with_token("ogr_00000000000000000000000000000000_forged");
    let refused = forged.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 401, "a token that is none is no way to be let in without");
}

#[tokio::test]
async fn the_operator_changes_how_much_is_logged() {
    let world = World::new().await;
    let path = "/api/admin/log-level";
    assert_eq!(world.api.get(path).await.data(200)["level"], "info");
    assert_eq!(world.api.put(path, json!({ "level": "debug" })).await.data(200)["level"], "debug");
    assert_eq!(world.api.put(path, json!({ "level": "loud" })).await.wrong_fields(), ["level"]);
    assert_eq!(world.api.get(path).await.data(200)["level"], "debug");
    let member = world.register("ada@example.org").await;
    member.get(path).await.refused(403, "forbidden");
    member.put(path, json!({ "level": "info" })).await.refused(403, "forbidden");
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
