//! How often agents sample: set on a deployment, heard by those that run.

use anyhow::{Context as _, Result};
use outrigger_tests::{Api, Refusal, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};

struct Fixture {
    api: Api,
    project: String,
    path: String,
}

/// A deployment of one instance.
fn sampled_every(interval: &str, project: &str) -> Value {
    json!({
        "name": "under-test",
        "projectId": project,
        "environment": "production",
        "driver": "process",
        "command": test_program(&["wait"]),
        "replicas": { "min": 1, "max": 1 },
        "sampleInterval": interval,
    })
}

impl Fixture {
    async fn sample_every(&self, interval: &str) -> Result<Result<Value, Refusal>> {
        self.api.try_call(Method::PUT, &self.path, Some(sampled_every(interval, &self.project))).await
    }

    /// Samples that have come since the control plane was started, those too that its window has no place for.
    async fn samples(&self) -> Result<f64> {
        let page = self.api.request(Method::GET, "/metrics").send().await?.text().await?;
        let counted = ["outrigger_ingest_samples_total ", "outrigger_ingest_samples_unused_total "].map(|name| {
            let value = page.lines().find_map(|line| line.strip_prefix(name)).context("samples are counted")?;
            Ok::<f64, anyhow::Error>(value.parse()?)
        });
        counted.into_iter().sum()
    }

    async fn program(&self) -> Result<Value> {
        let instances = self.api.get(&format!("{}/instances", self.path)).await?;
        Ok(instances[0]["program"].clone())
    }
}

#[tokio::test]
async fn the_pace_of_samples_is_changed_while_the_program_runs() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(json!([{ "key": "A", "value": "1" }])).await?;
    let made = api.post("/api/deployments", sampled_every("60s", &project)).await?;
    let deployment = made["id"].as_str().context("a deployment has an id")?;
    let path = format!("/api/deployments/{deployment}");
    let fixture = Fixture { api, project, path };
    fixture.api.post(&format!("{}/start", fixture.path), json!({})).await?;
    let program = eventually("the program runs", || async {
        let program = fixture.program().await?;
        Ok((program["state"] == "running").then_some(program))
    })
    .await?;

    // At once, not when the minute is over: that is longer than this test waits.
    let before = fixture.samples().await?;
    let changed = fixture.sample_every("100ms").await?;
    assert!(changed.is_ok(), "{changed:?}");
    let started = std::time::Instant::now();
    eventually("fifty samples", || async { Ok((fixture.samples().await? >= before + 50.0).then_some(())) }).await?;
    let took = started.elapsed();
    assert!(took.as_secs_f64() >= 4.5, "fifty samples in {took:?} are more often than every 100 ms");
    assert_eq!(fixture.program().await?, program, "the program was not started again");

    for refused in ["99ms", "61s"] {
        let refusal = fixture.sample_every(refused).await?.err().with_context(|| format!("{refused} is taken"))?;
        assert_eq!(refusal.status, 400, "{refused}: {}", refusal.body);
        let words = refusal.body.to_string();
        assert!(words.contains("sampleInterval") && words.contains("must be 100 to 60000 ms"), "{words}");
    }
    fixture.api.post(&format!("{}/stop", fixture.path), json!({})).await?;
    eventually("the deployment is stopped", || async {
        Ok((fixture.api.get(&format!("{}/status", fixture.path)).await?["status"] == "STOPPED").then_some(()))
    })
    .await?;
    server.terminate().await
}
