//! What a program says of itself, from a deployment's specification to a decision: its metrics page, StatsD over UDP and over a
//! Unix socket.

use anyhow::{Context as _, Result};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};

/// Variables of the program, each with the metric that it becomes. The first is scraped, the second comes by UDP, the
/// third by the Unix socket.
const SOURCES: [(&str, &str); 3] = [("JOBS", "mail.waiting"), ("ORDERS", "orders"), ("CARTS", "carts")];

struct Fixture {
    api: Api,
    environment: String,
    deployment: String,
}

impl Fixture {
    async fn get(&self, rest: &str) -> Result<Value> {
        self.api.get(&format!("/api/deployments/{}{rest}", self.deployment)).await
    }

    async fn ready_replicas(&self, count: u32) -> Result<()> {
        eventually(&format!("{count} ready replicas"), || async {
            let status = self.get("/status").await?;
            Ok((status["readyReplicas"] == count && status["desiredReplicas"] == count).then_some(()))
        })
        .await
    }

    async fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/api/config/environments/{}/variables/{name}", self.environment);
        self.api.call(Method::PUT, &path, Some(json!({ "value": value }))).await.map(drop)
    }

    /// Why there was the newest increase.
    async fn reason_of_increase(&self) -> Result<String> {
        let decisions = self.get("/decisions").await?;
        let up = decisions.as_array().into_iter().flatten().find(|one| one["to"].as_u64() > one["from"].as_u64());
        up.and_then(|up| up["reason"].as_str()).map(str::to_owned).context("a decision to scale up is kept")
    }
}

#[tokio::test]
async fn what_instances_say_of_themselves_scales_them() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let api = server.api().clone();
    let variables = SOURCES.map(|(name, _)| json!({ "key": name, "value": "0" }));
    let (project, environment) = api.project_with(json!(variables)).await?;
    let rules = SOURCES.map(|(_, metric)| {
        json!({ "metric": metric, "above": 20.0, "below": 5.0, "upFor": "1s", "downFor": "1s", "stepUp": 1, "stepDown": 1 })
    });
    // It serves no requests: its port is for its metrics alone.
    let specification = json!({
        "replicas": { "min": 1, "max": 2 },
        "observe": {
            "scrape": { "interval": "200ms" },
            "statsd": true,
            "metrics": ["mail.waiting=jobs{queue=\"mail\"}", "orders", "carts"],
        },
        "sampleInterval": "200ms",
        "applyStrategy": { "type": "restart", "jitter": "0s", "bakeTime": "0s" },
        "scaling": { "cooldownUp": "1s", "cooldownDown": "1s" },
        "policies": [{ "name": "load", "policyId": "threshold", "config": { "rules": rules } }],
    });
    let deployment = api.deployment(&project, &test_program(&["serve"]), specification).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let fixture = Fixture { api, environment, deployment };
    fixture.ready_replicas(1).await?;
    for (variable, metric) in SOURCES {
        fixture.set(variable, "50").await?;
        fixture.ready_replicas(2).await?;
        let reason = fixture.reason_of_increase().await?;
        assert!(reason.contains(metric), "{reason}");
        fixture.set(variable, "0").await?;
        fixture.ready_replicas(1).await?;
    }
    fixture.api.post(&format!("/api/deployments/{}/stop", fixture.deployment), json!({})).await?;
    eventually("the deployment is stopped", || async {
        Ok((fixture.get("/status").await?["status"] == "STOPPED").then_some(()))
    })
    .await?;
    server.terminate().await
}
