//! What the demo asks of the control plane, through its public API and nothing else.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::client::{Body, Client};

const SECRET: &str = "API_KEY";

/// The deployment that the demo plays with.
#[derive(Debug)]
pub(crate) struct Scenario {
    client: Client,
    environment: String,
    pub(crate) deployment: String,
}

fn id_of(value: &Value) -> anyhow::Result<String> {
    value["id"].as_str().map(str::to_owned).context("the answer has no id")
}

impl Scenario {
    /// Creates a project, its production environment and the deployment, and starts it.
    pub(crate) async fn create(client: Client, service: &[String], secret: &str) -> anyhow::Result<Self> {
        let project = client
            .post("/api/projects", json!({ "name": "demo", "description": "A service that scales with its load" }))
            .await?;
        let project = id_of(&project)?;
        let environment = client
            .post(
                &format!("/api/config/projects/{project}/environments"),
                json!({ "environment": "production", "name": "main" }),
            )
            .await?;
        let environment = id_of(&environment)?;
        let variables = json!({
            "message": "first configuration",
            "variables": [
                { "key": "GREETING", "value": "hello from the demo", "isRequired": true },
                { "key": "WORKERS", "value": "2", "variableType": "number" },
                { "key": SECRET, "value": secret, "isEncrypted": true, "isRequired": true, "variableType": "secret" },
            ],
        });
        let path = format!("/api/config/environments/{environment}/variables");
        client.call(reqwest::Method::PATCH, &path, Body::Json(variables)).await?;
        let deployment = client.post("/api/deployments", deployment(&project, &environment, service)).await?;
        let deployment = id_of(&deployment)?;
        client.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        Ok(Self { client, environment, deployment })
    }

    /// Gives the secret another value; the control plane pushes it by itself.
    pub(crate) async fn change_secret(&self, secret: &str) -> anyhow::Result<u64> {
        let path = format!("/api/config/environments/{}/variables/{SECRET}", self.environment);
        let body = json!({ "value": secret, "isEncrypted": true, "isRequired": true, "variableType": "secret" });
        let answer = self.client.call(reqwest::Method::PUT, &path, Body::Json(body)).await?;
        answer["generation"].as_u64().context("the answer has no generation")
    }

    pub(crate) async fn status(&self) -> anyhow::Result<Value> {
        Ok(self.client.get(&format!("/api/deployments/{}/status", self.deployment)).await?)
    }

    pub(crate) async fn instances(&self) -> anyhow::Result<Vec<Value>> {
        Ok(self.client.list(&format!("/api/deployments/{}/instances", self.deployment)).await?)
    }

    /// The newest events, oldest first.
    pub(crate) async fn events(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.client.get(&format!("/api/deployments/{}/events?limit=50", self.deployment)).await?;
        let mut events = answer.as_array().cloned().unwrap_or_default();
        events.reverse();
        Ok(events)
    }

    /// Asks for the end of all instances.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.client.post(&format!("/api/deployments/{}/stop", self.deployment), json!({})).await?;
        Ok(())
    }
}

fn deployment(project: &str, environment: &str, service: &[String]) -> Value {
    json!({
        "name": "greeter",
        "projectId": project,
        "environment": environment,
        "driver": "process",
        "command": service,
        "http": true,
        "resources": { "cpu": 0.5, "memory": "128MiB" },
        "replicas": { "min": 1, "max": 4, "initial": 1 },
        "applyStrategy": { "type": "restart", "jitter": "1s" },
        "sampleInterval": "1s",
        // Short, so that a minute shows both directions; the defaults of a real deployment are minutes.
        "scaling": { "cooldownUp": "3s", "cooldownDown": "6s", "maxStepUp": 2, "maxStepDown": 1 },
        "policies": [{
            "name": "load",
            "policyId": "threshold",
            "config": POLICY_CONFIG.clone(),
        }],
    })
}

static POLICY_CONFIG: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
    json!({
        "rules": [
            { "metric": "requests", "above": 60.0, "below": 20.0, "upFor": "2s", "downFor": "5s", "stepUp": 2, "stepDown": 1 },
        ],
    })
});
