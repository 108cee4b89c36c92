use outrigger_builtin_policies::test_support::HOSTILE;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::policies::rules;
use crate::world::{Shop, World};

/// What an answer says, without what differs between any two.
async fn told(api: &Client, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    let request = api.request(method.clone(), path);
    let answer = Answer::of(if method == Method::GET { request } else { request.json(body) }).await;
    let mut body = answer.body;
    for field in ["requestId", "timestamp"] {
        body.as_object_mut().unwrap().remove(field);
    }
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn what_belongs_to_another_looks_like_what_is_not_there() {
    let world = World::new().await;
    let (ada, bob) = (world.register("ada@example.org").await, world.register("bob@example.org").await);
    let hers = Shop::new(&ada).await;
    ada.put(&hers.variable("TOKEN"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    let deployment = hers.running(&ada, json!({})).await;
    let policy = ada.upload(HOSTILE).await.id(201);
    let his = Shop::new(&bob).await;
    let spec = his.spec(json!({}));
    let absent = |id: &str| format!("{}_01890000000070008000000000000000", id.rsplit_once('_').expect("a prefix").0);
    let deployment_id = deployment.rsplit_once('/').unwrap().1;

    let (project, environment) = (hers.project.as_str(), hers.environment.as_str());
    let binding = json!({ "policyId": "threshold", "config": rules() });
    let none = json!({});
    for (id, method, path, body) in [
        (project, Method::GET, "/api/projects/ID", &none),
        (project, Method::PUT, "/api/projects/ID", &json!({ "name": "x" })),
        (project, Method::DELETE, "/api/projects/ID", &none),
        (project, Method::GET, "/api/config/projects/ID/environments", &none),
        (project, Method::POST, "/api/config/projects/ID/environments", &json!({ "environment": "staging" })),
        (project, Method::GET, "/api/deployments?projectId=ID", &none),
        (environment, Method::GET, "/api/config/environments/ID", &none),
        (environment, Method::PUT, "/api/config/environments/ID", &json!({ "name": "x" })),
        (environment, Method::DELETE, "/api/config/environments/ID", &none),
        (environment, Method::GET, "/api/config/environments/ID/variables", &none),
        (environment, Method::PATCH, "/api/config/environments/ID/variables", &json!({ "delete": ["TOKEN"] })),
        (environment, Method::PUT, "/api/config/environments/ID/variables/TOKEN", &json!({ "value": "x" })),
        (environment, Method::DELETE, "/api/config/environments/ID/variables/TOKEN", &none),
        (environment, Method::POST, "/api/config/environments/ID/variables/TOKEN/reveal", &none),
        (environment, Method::GET, "/api/config/environments/ID/versions", &none),
        (environment, Method::GET, "/api/config/environments/ID/changes", &none),
        (environment, Method::GET, "/api/config/environments/ID/versions/1", &none),
        (deployment_id, Method::GET, "/api/deployments/ID", &none),
        (deployment_id, Method::PUT, "/api/deployments/ID", &spec),
        (deployment_id, Method::DELETE, "/api/deployments/ID", &none),
        (deployment_id, Method::GET, "/api/deployments/ID/status", &none),
        (deployment_id, Method::POST, "/api/deployments/ID/start", &none),
        (deployment_id, Method::POST, "/api/deployments/ID/stop", &none),
        (deployment_id, Method::POST, "/api/deployments/ID/scale", &json!({ "replicas": 2 })),
        (deployment_id, Method::POST, "/api/deployments/ID/pause", &none),
        (deployment_id, Method::POST, "/api/deployments/ID/resume", &none),
        (deployment_id, Method::GET, "/api/deployments/ID/instances", &none),
        (deployment_id, Method::POST, "/api/deployments/ID/join-tokens", &none),
        (deployment_id, Method::GET, "/api/deployments/ID/metrics", &none),
        (deployment_id, Method::GET, "/api/deployments/ID/decisions", &none),
        (deployment_id, Method::GET, "/api/deployments/ID/events", &none),
        (deployment_id, Method::PUT, "/api/deployments/ID/policies/load", &binding),
        (deployment_id, Method::DELETE, "/api/deployments/ID/policies/load", &none),
        (deployment_id, Method::POST, "/api/config/deployments/ID/reload", &none),
        (&policy, Method::GET, "/api/policies/ID", &none),
        (&policy, Method::DELETE, "/api/policies/ID", &none),
        (&policy, Method::POST, "/api/policies/ID/evaluate", &json!({ "input": {} })),
    ] {
        let foreign = told(&bob, &method, &path.replace("ID", id), body).await;
        let nothing = told(&bob, &method, &path.replace("ID", &absent(id)), body).await;
        assert_eq!((foreign.0, &foreign.1["code"]), (404, &json!("not_found")), "{method} {path}: {}", foreign.1);
        assert_eq!(foreign, nothing, "{method} {path}");
    }
    // Ids inside of bodies.
    for more in [
        json!({ "projectId": hers.project }),
        json!({ "projectId": hers.project, "environment": hers.environment }),
        json!({ "environment": hers.environment }),
        json!({ "policies": [{ "name": "a", "policyId": policy }] }),
    ] {
        bob.post("/api/deployments", his.spec(more)).await.not_found();
    }
    assert_eq!(ada.get(&deployment).await.data(200)["status"], "RUNNING", "nothing was done to it");
    assert_eq!(ada.get(&hers.variables()).await.list().len(), 1);
}

#[tokio::test]
async fn lists_hold_ones_own_alone() {
    let world = World::new().await;
    let (ada, bob) = (world.register("ada@example.org").await, world.register("bob@example.org").await);
    let hers = Shop::new(&ada).await;
    hers.deployment(&ada, json!({})).await;
    ada.upload(HOSTILE).await.id(201);
    for stranger in [&bob, &world.api] {
        assert!(stranger.get("/api/projects").await.list().is_empty());
        assert!(stranger.get("/api/deployments").await.list().is_empty());
        assert!(stranger.get("/api/policies").await.list().iter().all(|policy| policy["builtin"] == true));
        assert!(!stranger.get("/api/audit").await.body.to_string().contains(&hers.project));
    }
}
