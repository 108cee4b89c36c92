//! Live streams, end to end: the control plane, real agents and programs, and the Socket.IO client from npm that people
//! have. Needs Node.js and npm.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, PATIENCE, Running, Server, ServerOptions, Workplace, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Subscribers at once.
const CROWD: usize = 500;
/// Lines that all of the crowd have to get.
const LINES: usize = 50;
/// The age of a line at its reader, in a debug build beside all other tests. In peace it is a tenth of that.
const LATE_MS: u64 = 2_000;

/// Installs the client once, from its lock file, unless it is there.
static CLIENT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("live-streams");
    for program in ["node", "npm"] {
        let version = std::process::Command::new(program).arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err(format!(
                "`{program}` is missing: these tests drive the Socket.IO client from npm, install Node.js and npm"
            ));
        }
    }
    if !directory.join("node_modules/socket.io-client").is_dir() {
        let mut install = std::process::Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
        let output = install.output().map_err(|error| format!("npm cannot be run: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "npm ci failed in {}: {}",
                directory.display(),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    Ok(directory)
});

/// The clients, all of them in one process.
struct Clients {
    _process: Running,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What happened and was not asked for yet.
    happened: Vec<Value>,
}

impl Clients {
    fn start(api: &Api) -> Result<Self> {
        let directory = CLIENT.as_ref().map_err(|problem| anyhow::anyhow!(problem.clone()))?;
        let mut command = Command::new("node");
        command.arg("driver.mjs").arg(api.base()).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running::start(command)?;
        let commands = process.stdin().context("standard input is piped")?;
        let lines = BufReader::new(process.stdout().context("standard output is piped")?).lines();
        Ok(Self { _process: process, commands, lines, happened: Vec::new() })
    }

    async fn command(&mut self, command: Value) -> Result<()> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.context("the clients have ended")
    }

    async fn emit(&mut self, id: &str, event: &str, data: Value) -> Result<()> {
        self.command(json!({ "op": "emit", "id": id, "event": event, "data": data })).await
    }

    async fn connect(&mut self, id: &str, token: &str, transport: &str) -> Result<()> {
        self.command(json!({ "op": "connect", "id": id, "token": token, "transports": [transport] })).await?;
        let connected = self.heard(id, "connect").await?;
        ensure!(connected["transport"] == transport, "{connected}");
        Ok(())
    }

    /// Waits for an event of a client.
    async fn heard(&mut self, id: &str, event: &str) -> Result<Value> {
        let is_it = |told: &Value| told["id"] == id && told["event"] == event;
        if let Some(at) = self.happened.iter().position(is_it) {
            return Ok(self.happened.remove(at)["data"].take());
        }
        let waiting = async {
            loop {
                let line = self.lines.next_line().await?.context("the clients have ended")?;
                let mut told: Value = serde_json::from_str(&line)?;
                if is_it(&told) {
                    return Ok(told["data"].take());
                }
                self.happened.push(told);
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(heard) => heard,
            Err(_) => anyhow::bail!("{id} heard no {event}; there was: {:#}", json!(self.happened)),
        }
    }

    /// Waits for an event of which something holds. Those before it are dropped.
    async fn heard_that(&mut self, id: &str, event: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let data = self.heard(id, event).await?;
            if holds(&data) {
                return Ok(data);
            }
        }
    }

    async fn subscribe(&mut self, id: &str, topic: &str, deployment: &str) -> Result<()> {
        self.emit(id, &format!("subscribe_{topic}"), json!({ "deploymentId": deployment })).await?;
        let confirmed = self.heard(id, "subscription_confirmed").await?;
        ensure!(confirmed == json!({ "type": topic, "deploymentId": deployment }), "{confirmed}");
        Ok(())
    }
}

/// A control plane with a deployment whose program writes what is written into a file.
struct Stage {
    workplace: Workplace,
    server: Server,
    api: Api,
    token: String,
    project: String,
    deployment: String,
}

impl Stage {
    async fn new() -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let api = server.api().clone();
        let token = std::fs::read_to_string(workplace.data().join("operator-token"))?.trim().to_owned();
        let (project, _) = api.project_with(json!([])).await?;
        let script = workplace.path().join("script");
        std::fs::write(&script, "")?;
        let command = ["tail", "-n", "+1", "-f"].map(str::to_owned);
        let command: Vec<String> = command.into_iter().chain([script.display().to_string()]).collect();
        let deployment = api.deployment(&project, &command, json!({ "replicas": { "min": 1, "max": 1 } })).await?;
        Ok(Self { workplace, server, api, token, project, deployment })
    }

    async fn start(&self, deployment: &str, replicas: u32) -> Result<()> {
        self.api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        eventually("it runs", || async {
            let status = self.api.get(&format!("/api/deployments/{deployment}/status")).await?;
            Ok((status["readyReplicas"] == replicas && status["status"] == "RUNNING").then_some(()))
        })
        .await
    }

    /// Has the program write lines.
    fn write(&self, lines: &[String]) -> Result<()> {
        let mut script = OpenOptions::new().append(true).open(self.workplace.path().join("script"))?;
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Ok(script.write_all(text.as_bytes())?)
    }

    async fn stop(self, deployments: &[&str]) -> Result<()> {
        for deployment in deployments {
            self.api.post(&format!("/api/deployments/{deployment}/stop"), json!({})).await?;
            eventually("it is stopped", || async {
                let status = self.api.get(&format!("/api/deployments/{deployment}/status")).await?;
                Ok((status["status"] == "STOPPED").then_some(()))
            })
            .await?;
        }
        self.server.terminate().await
    }
}

fn tick() -> Result<String> {
    Ok(format!("tick {}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis()))
}

#[tokio::test]
async fn every_stream_comes_by_polling_and_by_websocket() -> Result<()> {
    let stage = Stage::new().await?;
    let deployment = stage.deployment.clone();
    let tenant = json!({ "email": "somebody@example.org", "password": "correct horse battery staple" });
    let tenant = stage.api.with_token(None).post("/api/auth/register", tenant).await?;
    let tenant = tenant["token"].as_str().context("a token")?.to_owned();
    let mut clients = Clients::start(&stage.api)?;
    let transports = ["polling", "websocket"];
    for id in transports {
        let wrong = json!({ "op": "connect", "id": "wrong", "token": "ogr_wrong", "transports": [id] });
        clients.command(wrong).await?;
        assert_eq!(clients.heard("wrong", "connect_error").await?, json!({ "message": "Authentication failed" }));
        clients.connect(id, &stage.token, id).await?;
        for topic in ["logs", "status", "metrics"] {
            clients.subscribe(id, topic, &deployment).await?;
        }
        let pending = clients.heard(id, "status_update").await?;
        assert_eq!((&pending["deploymentId"], &pending["status"]), (&json!(deployment), &json!("PENDING")));

        let other = format!("tenant-{id}");
        clients.connect(&other, &tenant, id).await?;
        for foreign in [deployment.as_str(), "deployment_that_is_not"] {
            clients.emit(&other, "subscribe_logs", json!({ "deploymentId": foreign })).await?;
            let refused = clients.heard(&other, "subscription_error").await?;
            assert_eq!(refused["message"], "deployment not found");
        }
        clients.emit(&other, "subscribe_weather", json!({})).await?;
        let message = clients.heard(&other, "error").await?["message"].to_string();
        assert!(message.contains("unknown event `subscribe_weather`"), "{message}");
    }

    stage.start(&deployment, 1).await?;
    stage.write(&["hello".to_owned(), "ERROR: oh".to_owned()])?;
    for id in transports {
        clients.heard_that(id, "status_update", |update| update["status"] == "RUNNING").await?;
        let hello = clients.heard_that(id, "log_update", |update| update["message"] == "hello").await?;
        assert_eq!((&hello["deploymentId"], &hello["stream"]), (&json!(deployment), &json!("stdout")));
        assert!(hello["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{hello}");
        let error = clients.heard_that(id, "log_update", |update| update["message"] == "ERROR: oh").await?;
        assert_eq!(error["level"], "error");
        let used = |update: &Value| {
            let metrics = &update["metrics"];
            let fields: Vec<&str> = metrics.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            assert_eq!(fields, ["cpu", "memory", "requests", "responseTime"]);
            metrics["cpu"].is_number() && metrics["memory"].is_number()
        };
        clients.heard_that(id, "metrics_update", used).await?;
    }

    // Of what was unsubscribed nothing comes after the confirmation; the other filter shows that lines do come.
    clients.emit("polling", "unsubscribe_logs", json!({ "deploymentId": deployment })).await?;
    clients.heard("polling", "unsubscription_confirmed").await?;
    let filtered = json!({ "deploymentId": deployment, "filter": { "contains": "needle", "level": "info" } });
    clients.emit("websocket", "subscribe_logs", filtered).await?;
    clients.heard("websocket", "subscription_confirmed").await?;
    stage.write(&["hay".to_owned(), "a needle".to_owned()])?;
    let line = clients.heard("websocket", "log_update").await?;
    assert_eq!(line["message"], "a needle");
    let unheard = |told: &Value| told["id"] == "polling" && told["event"] == "log_update";
    assert!(!clients.happened.iter().any(unheard), "{:?}", clients.happened);

    stage.stop(&[&deployment]).await?;
    for id in transports {
        clients.heard_that(id, "status_update", |update| update["status"] == "STOPPED").await?;
        clients.heard(id, "disconnect").await?;
    }
    Ok(())
}

#[tokio::test]
async fn five_hundred_subscribers_get_the_same_lines() -> Result<()> {
    let stage = Stage::new().await?;
    let deployment = stage.deployment.clone();
    stage.start(&deployment, 1).await?;
    let mut clients = Clients::start(&stage.api)?;
    clients
        .command(json!({
            "op": "crowd", "id": "crowd", "token": stage.token, "transports": ["websocket"], "count": CROWD,
            "deploymentId": deployment,
        }))
        .await?;
    clients.heard("crowd", "ready").await?;
    let mut written = Vec::new();
    for _ in 0..LINES {
        written.push(tick()?);
        stage.write(&written[written.len() - 1..])?;
    }
    stage.write(&["end".to_owned()])?;
    let ended = clients.heard("crowd", "ended").await?;
    assert_eq!((&ended["different"], &ended["lines"]), (&json!(0), &json!(written)));
    assert!(clients.happened.is_empty(), "{:?}", clients.happened);
    stage.stop(&[&deployment]).await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_holds_up_nobody() -> Result<()> {
    let stage = Stage::new().await?;
    // Four thousand lines a second, each of the four instances within what an agent sends.
    let script = "while :; do \
        echo tick $(date +%s%3N); seq -f 'line %g of many that are written by this program' 90; sleep 0.1; \
        done";
    let command = ["sh", "-c", script].map(str::to_owned);
    let replicas = json!({ "name": "storm", "replicas": { "min": 4, "max": 4, "initial": 4 } });
    let storm = stage.api.deployment(&stage.project, &command, replicas).await?;
    stage.start(&storm, 4).await?;
    let mut clients = Clients::start(&stage.api)?;
    for id in ["slow", "quick"] {
        let connect =
            json!({ "op": "connect", "id": id, "token": stage.token, "transports": ["websocket"], "quiet": true });
        clients.command(connect).await?;
        clients.heard(id, "connect").await?;
    }
    clients.command(json!({ "op": "pause", "id": "slow" })).await?;
    clients.heard("slow", "paused").await?;
    for id in ["slow", "quick"] {
        clients.emit(id, "subscribe_logs", json!({ "deploymentId": storm })).await?;
    }
    clients.heard("quick", "subscription_confirmed").await?;
    eventually("the slow one is dropped", || async {
        Ok(stage.server.log().contains("a live client was sent away").then_some(()))
    })
    .await?;
    clients.command(json!({ "op": "count", "id": "quick" })).await?;
    let counted = clients.heard("quick", "counted").await?;
    assert!(counted["lines"].as_u64() > Some(10_000), "{counted}");
    assert!(counted["ages"]["p99"].as_u64().is_some_and(|late| late < LATE_MS), "{counted}");
    clients.command(json!({ "op": "resume", "id": "slow" })).await?;
    let notice = clients.heard_that("slow", "error", |error| {
        error["message"].as_str().is_some_and(|message| {
            message.starts_with("too slow: 10 s behind, dropped; ") && message.ends_with(" updates missed")
        })
    });
    notice.await?;
    clients.heard("slow", "disconnect").await?;
    assert!(!clients.happened.iter().any(|told| told["id"] == "quick"), "{:?}", clients.happened);
    stage.stop(&[&storm]).await
}
