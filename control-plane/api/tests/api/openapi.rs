use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::world::World;

async fn document(client: &Client) -> Value {
    let response = client.request(Method::GET, "/api/openapi.json").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    response.json().await.unwrap()
}

/// Method, path and what the document says of it.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((method.to_uppercase().parse().unwrap(), path.clone(), operation.clone()));
        }
    }
    all
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    let filled = path.split('/').map(|part| if part.starts_with('{') { "nonsense" } else { part });
    filled.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_is_described_completely() {
    let world = World::new().await;
    let document = document(&world.stranger).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    let operations = operations(&document);
    assert!(operations.len() >= 40, "{} operations", operations.len());
    let mut ids = HashSet::new();
    for (method, path, operation) in operations {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{name}: a second of its id");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no summary");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name}");
        let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        assert!(statuses.iter().any(|status| status.starts_with('2')), "{name}: {statuses:?}");
        assert!(statuses.iter().any(|status| !status.starts_with('2')), "{name}: {statuses:?}");
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let of = |place: &str| {
            parameters
                .iter()
                .filter(|one| one["in"] == place)
                .map(|one| one["name"].as_str().unwrap())
                .collect::<Vec<_>>()
        };
        let in_path: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(of("path"), in_path, "{name}");
        let is_public = operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
        if !is_public {
            assert!(operation["responses"]["401"].is_object(), "{name}");
            assert_eq!(of("header").contains(&"Idempotency-Key"), method != Method::GET, "{name}");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut HashSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let world = World::new().await;
    let document = document(&world.stranger).await;
    let mut found = HashSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    assert!(found.contains("#/components/schemas/Failure"));
}

#[tokio::test]
async fn the_described_routes_are_there_and_guarded() {
    const PUBLIC: [&str; 5] = ["/api/auth/register", "/api/auth/login", "/livez", "/readyz", "/metrics"];
    let world = World::new().await;
    for (method, path, operation) in operations(&document(&world.stranger).await) {
        let is_public = operation["security"].as_array().is_some_and(|ways| ways.contains(&json!({})));
        assert_eq!(is_public, PUBLIC.contains(&path.as_str()), "{method} {path}");
        if path == "/metrics" {
            continue;
        }
        let route = filled(&path);
        let stranger = Answer::of(world.stranger.request(method.clone(), &route)).await;
        if is_public {
            assert_ne!(stranger.status, 401, "{method} {path}");
        } else {
            stranger.refused(401, "unauthorized");
        }
        let answer = Answer::of(world.api.request(method.clone(), &route)).await;
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert!(answer.status != 405 && answer.status.as_u16() < 500, "{method} {path}: {}", answer.body);
        assert!(!error.contains("no such route"), "{method} {path}: {error}");
    }
}
