//! How often agents sample: set on a deployment, heard by those that run.

use anyhow::{Context as _, Result};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};

struct Fixture {
    api: Api,
    path: String,
}

impl Fixture {
    async fn sample_every(&self, interval: &str) -> Result<Value> {
        self.api.call(Method::PATCH, &self.path, Some(json!({ "sampleInterval": interval }))).await
    }

    /// Samples that the control plane has taken since it was started.
    async fn samples(&self) -> Result<u64> {
        let page = self.api.request(Method::GET, "/metrics").send().await?.text().await?;
        let mut lines = page.lines().filter(|line| !line.starts_with('#'));
        let line = lines.find(|line| line.starts_with("outrigger_ingest_samples_total")).context("samples are counted")?;
        Ok(line.rsplit(' ').next().context("a sample has a value")?.parse::<f64>()? as u64)
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
    let specification = json!({ "replicas": { "min": 1, "max": 1 }, "sampleInterval": "60s" });
    let deployment = api.deployment(&project, &test_program(&["wait"]), specification).await?;
    let fixture = Fixture { api, path: format!("/api/deployments/{deployment}") };
    fixture.api.post(&format!("{}/start", fixture.path), json!({})).await?;
    let program = eventually("the program runs", || async {
        let program = fixture.program().await?;
        Ok((program["state"] == "running").then_some(program))
    })
    .await?;

    // At once, not when the minute is over: that is longer than this test waits.
    let before = fixture.samples().await?;
    fixture.sample_every("100ms").await?;
    let started = std::time::Instant::now();
    eventually("fifty samples", || async { Ok((fixture.samples().await? >= before + 50).then_some(())) }).await?;
    let took = started.elapsed();
    assert!(took.as_secs_f64() >= 4.5, "fifty samples in {took:?} are more often than every 100 ms");
    assert_eq!(fixture.program().await?, program, "the program was not started again");

    for refused in ["99ms", "61s"] {
        let change = json!({ "sampleInterval": refused });
        let answer = fixture.api.try_call(Method::PATCH, &fixture.path, Some(change)).await?;
        let refusal = answer.err().with_context(|| format!("{refused} is taken"))?;
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
