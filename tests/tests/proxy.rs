//! The agent's reverse proxy in front of a real program, with clients that others wrote. Needs curl with HTTP/2.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Agent, Api, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// A control plane and one agent with a proxy in front of its program, which serves.
struct Fixture {
    api: Api,
    environment: String,
    deployment: String,
    /// Of the proxy.
    port: u16,
    agent: Agent,
    _server: Server,
    _workplace: Workplace,
}

impl Fixture {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let api = server.api().clone();
        let (project, environment) = api.project_with(json!([{ "key": "GREETING", "value": "before" }])).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 1, "initial": 0 } });
        let deployment = api.deployment(&project, &["unused".to_owned()], external).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let token = api.post(&format!("/api/deployments/{deployment}/join-tokens"), json!({})).await?;
        let token = token["token"].as_str().context("no token")?;
        let (port, program_port) = (free_port()?, free_port()?);
        let route = format!("127.0.0.1:{port}=127.0.0.1:{program_port}");
        let assignment = format!("PORT={program_port}");
        let control_plane = server.agents_address();
        let own =
            ["--control-plane", &control_plane, "--proxy", &route, "--env", &assignment, "--sample-interval", "200ms"];
        let program = test_program(&["serve"]);
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let directory = workplace.path().join("agent");
        let agent = Agent::run(&directory, Some(token), &[&own, arguments].concat(), &program)?;
        let fixture = Self { api, environment, deployment, port, agent, _server: server, _workplace: workplace };
        eventually("the program serves", || async { Ok(fixture.agent.stdout().contains("serving").then_some(())) })
            .await?;
        Ok(fixture)
    }

    /// What curl says about a request to the proxy: the body, and on a line of its own the status and the version.
    async fn curl(&self, options: &[&str], path: &str) -> Result<String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code} %{http_version}"])
            .args(options)
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run curl")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "curl {options:?} {path}: {stderr}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The newest values that the control plane has of a metric.
    async fn points(&self, metric: &str) -> Result<Vec<f64>> {
        let answer = self.api.get(&format!("/api/deployments/{}/metrics?metric={metric}", self.deployment)).await?;
        let mut values = Vec::new();
        numbers(&answer, &mut values);
        Ok(values)
    }
}

/// All numbers that are not times.
fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64().filter(|number| *number < 1e9)),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| numbers(field, found)),
        _ => {}
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[tokio::test]
async fn curl_is_answered_in_either_version_on_one_port_and_everything_is_counted() -> Result<()> {
    let fixture = Fixture::start(&[]).await?;
    for (options, version) in [
        ("--http1.1", "1.1"),
        ("--http1.0", "1"),
        ("--http2-prior-knowledge", "2"),
        // Asks to switch, which would not be counted: it is answered in the version that it came in.
        ("--http2", "1.1"),
    ] {
        let answer = fixture.curl(&[options], "/env/GREETING").await?;
        assert_eq!(answer, format!("before\n200 {version}"), "{options}");
    }
    for options in [&["--http1.1"][..], &["--http2-prior-knowledge"]] {
        let both = ["--head", "--output", "/dev/null"];
        let answer = fixture.curl(&[options, &both].concat(), "/env/NOTHING").await?;
        assert!(answer.trim().starts_with("404"), "{options:?}: {answer}");
    }
    eventually("the control plane knows of the 404s", || async {
        Ok(fixture.points("requests_4xx").await?.iter().any(|rate| *rate > 0.0).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn while_the_program_is_restarted_requests_wait_for_it() -> Result<()> {
    let fixture = Fixture::start(&["--proxy-limit", "restart-wait=30s"]).await?;
    let path = format!("/api/config/environments/{}/variables/GREETING", fixture.environment);
    fixture.api.call(Method::PUT, &path, Some(json!({ "value": "after" }))).await?;
    let client = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{}/env/GREETING", fixture.port);
    eventually("the new value is served, and nobody was turned away", || async {
        let response = client.get(&url).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{status}: {text}");
        Ok((text == "after").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_limit_that_is_none_stops_the_agent_with_the_ones_there_are() -> Result<()> {
    let workplace = Workplace::new()?;
    let arguments =
        ["--control-plane", "127.0.0.1:1", "--proxy", "127.0.0.1:0=127.0.0.1:1", "--proxy-limit", "request=5"];
    let mut agent = Agent::run(&workplace.path().join("agent"), None, &arguments, &["/bin/true"])?;
    assert_ne!(agent.exit_code().await?, 0);
    let stderr = agent.stderr();
    assert!(stderr.contains("--proxy-limit request=5") && stderr.contains("connections, requests"), "{stderr}");
    Ok(())
}
