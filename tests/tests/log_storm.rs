//! A program that writes as fast as it can, between a real agent and a real control plane: what else goes on, goes on.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, Running, Server, ServerOptions, Workplace, binary, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const PUSHES: u32 = 10;
/// How much longer a push may take in the storm, on a machine with nothing to spare: the median of them.
const MOST_DELAY: Duration = Duration::from_millis(500);
const MOST_GROWTH_KIB: u64 = 8 * 1024;

struct Fixture {
    api: Api,
    environment: String,
    deployment: String,
    agent: Running,
}

impl Fixture {
    /// An agent beside a program that waits for the file `go` and then writes without end.
    async fn start(server: &Server, directory: &Path) -> Result<Self> {
        let api = server.api().clone();
        let (project, environment) = api.project_with(json!([{ "key": "A", "value": "0" }])).await?;
        let specification = json!({
            "driver": "dry-run",
            "replicas": { "min": 0, "max": 2, "initial": 0 },
            "applyStrategy": { "type": "file", "bakeTime": "0s" },
        });
        let deployment = api.deployment(&project, &["unused".to_owned()], specification).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let token = api.post(&format!("/api/deployments/{deployment}/join-tokens"), json!({})).await?;
        let go = directory.join("go");
        let script = format!("while [ ! -e {} ]; do sleep 0.02; done; exec yes 'a line that never ends'", go.display());
        let mut command = Command::new(binary("outrigger-agent"));
        command
            .args(["run", "--log-level", "off", "--control-plane", &server.agents_address()])
            .arg("--state-dir")
            .arg(directory.join("state"))
            .arg("--env-file")
            .arg(directory.join("env"))
            .args(["--", "sh", "-c", &script])
            .env("OUTRIGGER_JOIN_TOKEN", token["token"].as_str().context("a token")?)
            // Nobody reads as fast as that.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let agent = Running::start_apart(command)?;
        Ok(Self { api, environment, deployment, agent })
    }

    async fn get(&self, rest: &str) -> Result<Value> {
        self.api.get(&format!("/api/deployments/{}{rest}", self.deployment)).await
    }

    /// From a change of a variable to the moment at which the agent has it.
    async fn push(&self, value: &str) -> Result<Duration> {
        let started = Instant::now();
        let path = format!("/api/config/environments/{}/variables/A", self.environment);
        let changed = self.api.call(Method::PUT, &path, Some(json!({ "value": value }))).await?;
        let generation = changed["generation"].as_u64().context("a generation")?;
        eventually("the agent has it", || async {
            let instances = self.get("/instances").await?;
            let running = |one: &Value| one["config"]["running"] == generation;
            Ok(instances.as_array().into_iter().flatten().any(running).then_some(()))
        })
        .await?;
        Ok(started.elapsed())
    }

    async fn pushes(&self, name: &str) -> Result<Duration> {
        let mut taken = Vec::new();
        for number in 0..PUSHES {
            taken.push(self.push(&format!("{name} {number}")).await?);
        }
        taken.sort_unstable();
        Ok(taken[taken.len() / 2])
    }

    fn field(&self, file: &str, label: &str) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.agent.pid()?))?;
        let value = text.lines().find_map(|line| line.strip_prefix(label)?.split_whitespace().next());
        value.with_context(|| format!("no {label}"))?.parse().context("a number")
    }
}

#[tokio::test]
async fn a_storm_of_lines_delays_no_configuration_loses_no_agent_and_is_counted() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let directory = tempfile::tempdir()?;
    let fixture = Fixture::start(&server, directory.path()).await?;
    eventually("the program runs", || async {
        let instances = fixture.get("/instances").await?;
        Ok(instances.as_array().into_iter().flatten().any(|one| one["ready"] == true).then_some(()))
    })
    .await?;
    let calm = fixture.pushes("calm").await?;
    let resident = fixture.field("status", "VmRSS:")?;

    std::fs::write(directory.path().join("go"), "")?;
    let before = fixture.field("io", "rchar:")?;
    let read = |bytes: u64| {
        let fixture = &fixture;
        eventually("the storm is read", move || async move {
            Ok((fixture.field("io", "rchar:")? > before + bytes).then_some(()))
        })
    };
    read(64 << 20).await?;
    let stormy = fixture.pushes("storm").await?;
    read(128 << 20).await?;
    let grown = fixture.field("status", "VmRSS:")?.saturating_sub(resident);
    ensure!(stormy < calm + MOST_DELAY, "a push took {calm:?} before the storm and {stormy:?} in it");
    ensure!(grown < MOST_GROWTH_KIB, "{grown} KiB more than the {resident} before the storm");

    let dropped = eventually("what was dropped is told", || async {
        let metrics = fixture.api.request(Method::GET, "/metrics").send().await?.text().await?;
        let name = "outrigger_ingest_log_lines_dropped_by_agents_total ";
        let told = metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
        Ok(told.filter(|told| *told > 100_000.0))
    })
    .await?;
    let instances = fixture.get("/instances").await?;
    ensure!(
        instances.as_array().is_some_and(|all| all.len() == 1 && all[0]["ready"] == true),
        "{dropped}: {instances}"
    );
    fixture.agent.stop().await?;
    server.terminate().await
}
