//! What the control plane says to a real Prometheus: Debian's `prometheus` scrapes it, and `promtool` reads the page.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, Running, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::{Method, StatusCode, Url, header};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

const INSTALL: &str = "apt-get install --no-install-recommends prometheus";

/// A Prometheus of the test's own, which scrapes one control plane every second.
struct Prometheus {
    _process: Running,
    http: reqwest::Client,
    base: String,
}

impl Prometheus {
    async fn scraping(api: &Api, token: &str, workplace: &Workplace) -> Result<Self> {
        let directory = workplace.path().join("prometheus");
        std::fs::create_dir(&directory)?;
        let (config, credentials) = (directory.join("prometheus.yml"), directory.join("token"));
        std::fs::write(&credentials, token)?;
        let target = api.base().trim_start_matches("http://");
        // JSON is YAML.
        let scrape = json!({
            "job_name": "outrigger",
            "scrape_interval": "1s",
            "authorization": { "credentials_file": credentials },
            "static_configs": [{ "targets": [target] }],
        });
        std::fs::write(&config, json!({ "scrape_configs": [scrape] }).to_string())?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Running::start_apart(command).context(INSTALL)?;
        let stderr = process.stderr().context("standard error is piped")?;
        let listening = tokio::time::timeout(outrigger_tests::PATIENCE, listening_on(stderr));
        let address = listening.await.context("prometheus does not listen in time")??;
        Ok(Self { _process: process, http: reqwest::Client::new(), base: format!("http://{address}") })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = Url::parse_with_params(&format!("{}{path}", self.base), query)?;
        let answer: Value = self.http.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// Each series of an instant query: its labels and its value.
    async fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let data = self.get("/api/v1/query", &[("query", query)]).await?;
        let series = data["result"].as_array().into_iter().flatten();
        series
            .map(|one| {
                let value = one["value"][1].as_str().and_then(|value| value.parse().ok());
                Ok((one["metric"].clone(), value.with_context(|| format!("no value in {one}"))?))
            })
            .collect()
    }

    /// Waits until a query has `count` series.
    async fn series(&self, query: &str, count: usize) -> Result<Vec<(Value, f64)>> {
        eventually(&format!("{count} series of {query}"), || async {
            Ok(Some(self.query(query).await?).filter(|series| series.len() == count))
        })
        .await
    }
}

/// Where it listens, as its log says.
async fn listening_on(stderr: tokio::process::ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
            let address = address.trim().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
        said.push_str(&line);
        said.push('\n');
    }
    anyhow::bail!("prometheus ended before it listened:\n{said}")
}

/// What `promtool check metrics` says of a page; nothing when all is well.
async fn promtool(page: &str) -> Result<String> {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().context(INSTALL)?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    stdin.write_all(page.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success() || !said.is_empty(), "promtool ended with {}", output.status);
    Ok(said)
}

/// Two deployments with an instance each, of which one serves requests: its address.
async fn two_deployments(api: &Api) -> Result<([String; 2], String)> {
    let (project, _) = api.project_with(json!([{ "key": "GREETING", "value": "hello" }])).await?;
    let mut ids = Vec::new();
    for (name, program, http) in [("web", "serve", true), ("worker", "wait", false)] {
        let changes = json!({ "name": name, "http": http, "sampleInterval": "200ms" });
        let id = api.deployment(&project, &test_program(&[program]), changes).await?;
        api.post(&format!("/api/deployments/{id}/start"), json!({})).await?;
        ids.push(id);
    }
    let [web, worker] = ids.try_into().ok().context("two of them")?;
    let mut endpoint = None;
    for id in [&worker, &web] {
        let instances = format!("/api/deployments/{id}/instances");
        endpoint = eventually("the instance is ready", || async {
            let answer = api.get(&instances).await?;
            let endpoint = answer[0]["endpoint"].as_str().map(str::to_owned);
            Ok((answer[0]["ready"] == true).then_some(endpoint))
        })
        .await?;
    }
    Ok(([web, worker], endpoint.context("what serves HTTP has an endpoint")?))
}

#[tokio::test]
async fn prometheus_has_series_of_the_control_plane_and_of_each_deployment() -> Result<()> {
    let workplace = Workplace::new()?;
    let token = "metrics-token-0123456789abcdefghij";
    let token_file = workplace.path().join("metrics-token");
    std::fs::write(&token_file, format!("{token}\n"))?;
    let arguments = ["--metrics-access", "token", "--metrics-token-file"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([token_file.display().to_string()]).collect();
    let server = Server::start(&workplace, &ServerOptions { arguments, ..ServerOptions::default() }).await?;
    let api = server.api();
    let (ids, endpoint) = two_deployments(api).await?;
    let prometheus = Prometheus::scraping(api, token, &workplace).await?;

    // The target is scraped without an error.
    prometheus.series("up{job=\"outrigger\"} == 1", 1).await?;
    let serving = prometheus.series("outrigger_deployment_replicas_ready == 1", 2).await?;
    for (labels, _) in &serving {
        assert_eq!(labels["project"], "test");
        assert!(labels["organization"].as_str().is_some_and(|id| id.starts_with("org_")), "{labels}");
        let id = labels["deployment_id"].as_str().context("an id")?;
        let name = if id == ids[0] { "web" } else { "worker" };
        assert_eq!((labels["deployment"].as_str(), ids.iter().any(|one| one == id)), (Some(name), true));
    }
    for query in [
        "outrigger_deployment_replicas_desired == 1",
        "outrigger_deployment_agents_connected == 1",
        "outrigger_deployment_memory_working_set_bytes > 0",
        "outrigger_deployment_cpu_ratio >= 0",
        "outrigger_deployment_generation >= 1",
        "outrigger_deployment_generation_oldest >= 1",
        "outrigger_deployment_status{status=\"running\"} == 1",
        "time() - outrigger_deployment_last_decision_timestamp_seconds < 600",
        "outrigger_deployment_decisions_total{direction=\"up\"} >= 1",
    ] {
        prometheus.series(query, 2).await.context("one of each deployment")?;
    }

    // What is served shows, in the deployment's metrics; and so do our own requests.
    let url = format!("http://{endpoint}/env/GREETING");
    eventually("response times of the deployment", || async {
        assert_eq!(reqwest::get(&url).await?.text().await?, "hello");
        let quantile = prometheus.query("outrigger_deployment_response_time_seconds{quantile=\"0.95\"} > 0").await?;
        let rate = prometheus.query("outrigger_deployment_requests_rate{deployment=\"web\"} > 0").await?;
        Ok((quantile.len() == 1 && rate.len() == 1).then_some(()))
    })
    .await?;
    let started = "outrigger_http_requests_total{route=\"/api/deployments/{id}/start\",method=\"POST\",status=\"2xx\"}";
    assert_eq!(prometheus.series(started, 1).await?[0].1, 2.0);
    prometheus.series("outrigger_ingest_sessions == 2", 1).await?;
    prometheus.series("rate(process_cpu_seconds_total[30s]) > 0", 1).await?;
    let latency =
        "histogram_quantile(0.9, sum by (le) (outrigger_http_request_duration_seconds_bucket)) < 60".to_owned();
    prometheus.series(&latency, 1).await?;

    // Every family has a type and a help text, and those with a unit say so.
    let families = prometheus.get("/api/v1/metadata", &[]).await?;
    let families = families.as_object().context("families by name")?;
    let own = families.iter().filter(|(name, _)| name.starts_with("outrigger_") || name.starts_with("process_"));
    for (name, told) in own.clone() {
        assert!(told[0]["type"] != "unknown" && told[0]["help"] != "", "{name}: {told}");
        let unit = ["seconds", "bytes", "ratio"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(told[0]["unit"], unit.unwrap_or_default(), "{name}");
    }
    assert!(own.count() >= 80, "{families:?}");
    for id in ids {
        api.post(&format!("/api/deployments/{id}/stop"), json!({})).await?;
    }
    prometheus.series("outrigger_deployment_status{status=\"stopped\"} == 1", 2).await?;
    server.terminate().await
}

#[tokio::test]
async fn the_page_passes_promtool_and_says_what_the_manual_says() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let api = server.api();
    two_deployments(api).await?;
    let page = api.with_token(None).request(Method::GET, "/metrics").send().await?;
    assert_eq!(page.status(), StatusCode::OK, "on this machine no token is needed");
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let page = page.text().await?;
    assert_eq!(promtool(&page).await?, "");
    let manual = include_str!("../../docs/operations/monitoring.md");
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' '));
    for (name, kind) in types {
        let row = format!("| `{name}` | {kind} |");
        assert!(manual.contains(&row), "docs/operations/monitoring.md has no row that begins with {row}");
    }
    assert!(!promtool(&page.replacen("# HELP outrigger_store_revision", "# ", 1)).await?.is_empty(), "promtool looks");

    // A proxy on this machine passes on what anybody asks.
    let passed_on = api.with_token(None).request(Method::GET, "/metrics").header("x-forwarded-for", "10.0.0.1");
    assert_eq!(passed_on.send().await?.status(), StatusCode::UNAUTHORIZED);
    server.terminate().await
}
