//! What goes on to an operator's own systems: Debian's `prometheus` takes remote write, and OpenTelemetry's own messages,
//! the package `opentelemetry-proto` of PyPI, read OTLP.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, Running, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const INSTALL_PROMETHEUS: &str = "apt-get install --no-install-recommends prometheus";
const INSTALL_PROTO: &str = "python3 -m venv target/otlp && target/otlp/bin/pip install opentelemetry-proto";

/// A Prometheus of the test's own that is written to. It can end and come back.
struct Prometheus {
    directory: PathBuf,
    port: u16,
    process: Option<Running>,
    http: reqwest::Client,
}

impl Prometheus {
    /// One that does not run yet.
    fn at(workplace: &Workplace) -> Result<Self> {
        // The address has to be known before it listens.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let directory = workplace.path().join("prometheus");
        std::fs::create_dir(&directory)?;
        std::fs::write(directory.join("prometheus.yml"), "global: {}\n")?;
        // The other tests of this process install it as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { directory, port, process: None, http: reqwest::Client::new() })
    }

    async fn start(&mut self) -> Result<()> {
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", self.directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.directory.join("log"))?);
        self.process = Some(Running::start_apart(command).context(INSTALL_PROMETHEUS)?);
        eventually("prometheus is ready", || async {
            let answer = self.http.get(self.url("/-/ready")).send().await;
            Ok(answer.ok().filter(|answer| answer.status().is_success()))
        })
        .await
        .map(drop)
    }

    async fn kill(&mut self) -> Result<()> {
        self.process.take().context("it runs")?.kill().await
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn destination(&self) -> Value {
        json!({
            "name": "prometheus",
            "type": "remote_write",
            "url": self.url("/api/v1/write"),
            "external_labels": { "cluster": "eu" },
            "flush_interval": "100ms",
        })
    }

    /// Each series of an instant query.
    async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let url = Url::parse_with_params(&self.url("/api/v1/query"), [("query", query)])?;
        let answer: Value = self.http.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a query has one series of which something holds.
    async fn one(&self, query: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(query, || async {
            let mut series = self.query(query).await?;
            let one = if series.len() == 1 { series.pop() } else { None };
            Ok(one.filter(|one| holds(one)))
        })
        .await
    }
}

/// The value of an instant query's series.
fn value(series: &Value) -> Option<f64> {
    series["value"][1].as_str()?.parse().ok()
}

fn exporting_to(destinations: &[Value]) -> ServerOptions {
    let list = Value::from(destinations).to_string();
    ServerOptions { arguments: vec!["--export".to_owned(), list], ..ServerOptions::default() }
}

/// A deployment that serves, and the address of its one instance.
async fn serving(api: &Api, project: &str) -> Result<(String, String)> {
    let changes = json!({
        "http": true,
        "sampleInterval": "100ms",
        "observe": { "scrape": {}, "metrics": ["mail.waiting=jobs{queue=\"mail\"}"] },
    });
    let deployment = api.deployment(project, &test_program(&["serve"]), changes).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let instances = format!("/api/deployments/{deployment}/instances");
    let endpoint = eventually("the instance is ready", || async {
        let answer = api.get(&instances).await?;
        Ok(answer[0]["endpoint"].as_str().filter(|_| answer[0]["ready"] == true).map(str::to_owned))
    })
    .await?;
    Ok((deployment, endpoint))
}

async fn request(endpoint: &str, times: usize) -> Result<()> {
    for _ in 0..times {
        reqwest::get(format!("http://{endpoint}/env/GREETING")).await?.error_for_status()?;
    }
    Ok(())
}

async fn stop(api: &Api, deployment: &str) -> Result<()> {
    api.post(&format!("/api/deployments/{deployment}/stop"), json!({})).await?;
    eventually("the deployment is stopped", || async {
        let status = api.get(&format!("/api/deployments/{deployment}/status")).await?;
        Ok((status["status"] == "STOPPED").then_some(()))
    })
    .await
}

fn variables() -> Value {
    json!([{ "key": "GREETING", "value": "hello" }, { "key": "JOBS", "value": "42" }])
}

#[tokio::test]
async fn series_have_their_values_and_labels_and_end_with_their_instance() -> Result<()> {
    let workplace = Workplace::new()?;
    let mut prometheus = Prometheus::at(&workplace)?;
    prometheus.start().await?;
    let server = Server::start(&workplace, &exporting_to(&[prometheus.destination()])).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(variables()).await?;
    let (deployment, endpoint) = serving(&api, &project).await?;
    request(&endpoint, 20).await?;

    let count = prometheus.one("outrigger_request_duration_seconds_count", |one| value(one) == Some(20.0)).await?;
    let instance = api.get(&format!("/api/deployments/{deployment}/instances")).await?[0]["id"].clone();
    let organization = api.get(&format!("/api/projects/{project}")).await?["organizationId"].clone();
    let mut labels = json!({
        "__name__": "outrigger_request_duration_seconds_count",
        "cluster": "eu",
        "deployment": "under-test",
        "deployment_id": deployment,
        "instance": instance,
        "organization": count["metric"]["organization"],
        "project": "test",
    });
    ensure!(organization.is_null() || organization == labels["organization"], "another organisation");
    assert_eq!(count["metric"], labels);
    let all = prometheus.one("outrigger_request_duration_seconds_bucket{le='+Inf'}", |_| true).await?;
    assert_eq!(value(&all), Some(20.0));
    let median = "histogram_quantile(0.5, outrigger_request_duration_seconds_bucket)";
    let median = value(&prometheus.one(median, |one| value(one).is_some()).await?);
    assert!(median.is_some_and(|seconds| seconds > 0.0 && seconds < 33.0), "{median:?}");

    let custom = prometheus.one("outrigger_custom_mail_waiting", |one| value(one) == Some(42.0)).await?;
    labels["__name__"] = "outrigger_custom_mail_waiting".into();
    labels["name"] = "mail.waiting".into();
    assert_eq!(custom["metric"], labels);
    // The program alone.
    prometheus.one("outrigger_processes", |one| value(one) == Some(1.0)).await?;
    prometheus.one("outrigger_memory_percent", |one| value(one).is_some_and(|all| all > 0.0 && all <= 100.0)).await?;

    stop(&api, &deployment).await?;
    eventually("every series has ended", || async {
        Ok(prometheus.query("{__name__=~'outrigger_.*'}").await?.is_empty().then_some(()))
    })
    .await?;
    prometheus.one("count_over_time(outrigger_processes[1h])", |one| value(one) > Some(1.0)).await?;
    server.terminate().await
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_everything_once_and_in_order() -> Result<()> {
    /// Long for a test, and hours shorter than what the queue holds.
    const OUTAGE: Duration = Duration::from_secs(3);

    let workplace = Workplace::new()?;
    let mut prometheus = Prometheus::at(&workplace)?;
    let server = Server::start(&workplace, &exporting_to(&[prometheus.destination()])).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(variables()).await?;
    let (deployment, endpoint) = serving(&api, &project).await?;
    request(&endpoint, 10).await?;
    prometheus.start().await?;
    prometheus.one("outrigger_request_duration_seconds_count", |one| value(one) == Some(10.0)).await?;

    prometheus.kill().await?;
    let gone = SystemTime::now();
    request(&endpoint, 7).await?;
    eventually("it was away for a while", || async {
        Ok((gone.elapsed()? >= OUTAGE && server.log().contains("an export has trouble")).then_some(()))
    })
    .await?;
    let back = SystemTime::now();
    prometheus.start().await?;
    request(&endpoint, 3).await?;
    prometheus.one("outrigger_request_duration_seconds_count", |one| value(one) == Some(20.0)).await?;

    let raw = prometheus.one("outrigger_processes[1h]", |_| true).await?;
    let times: Vec<f64> = raw["values"].as_array().into_iter().flatten().filter_map(|one| one[0].as_f64()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "ascending, and none twice");
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs_f64());
    let (gone, back) = (seconds(gone)?, seconds(back)?);
    let within = times.iter().filter(|time| (gone..back).contains(*time)).count();
    // Ten a second; half of them, because the machine may be busy.
    assert!(within as f64 >= (back - gone) * 5.0, "{within} samples of the {} s without a receiver", back - gone);
    assert!(server.log().contains("an export works again"));
    stop(&api, &deployment).await?;
    server.terminate().await
}

/// What the control plane counts of its one export.
async fn counted(api: &Api, family: &str) -> Result<u64> {
    let page = api.request(Method::GET, "/metrics").send().await?.error_for_status()?.text().await?;
    let line = page.lines().find(|line| line.starts_with(&format!("outrigger_export_{family}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no {family}"))?;
    Ok(value.parse()?)
}

#[tokio::test]
async fn a_queue_that_is_too_small_for_an_outage_loses_its_oldest_and_says_how_many() -> Result<()> {
    let workplace = Workplace::new()?;
    let mut prometheus = Prometheus::at(&workplace)?;
    let mut destination = prometheus.destination();
    destination["queue"] = "64KiB".into();
    let server = Server::start(&workplace, &exporting_to(&[destination])).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(variables()).await?;
    let (deployment, endpoint) = serving(&api, &project).await?;
    request(&endpoint, 10).await?;
    eventually("the queue overflows", || async { Ok((counted(&api, "dropped_total").await? > 0).then_some(())) })
        .await?;

    prometheus.start().await?;
    // What the total lost on the way does not matter: the next one has it.
    prometheus.one("outrigger_request_duration_seconds_count", |one| value(one) == Some(10.0)).await?;
    stop(&api, &deployment).await?;
    eventually("all is sent", || async { Ok((counted(&api, "queued").await? == 0).then_some(())) }).await?;

    let series = prometheus.query("{__name__=~'outrigger_.*'}[1h]").await?;
    let values: usize = series.iter().map(|one| list(&one["values"]).len()).sum();
    // Beside its values each series got its end, which a query does not show.
    assert_eq!(counted(&api, "sent_total").await?, (values + series.len()) as u64);
    assert_eq!(counted(&api, "failed_total").await?, 0);
    server.terminate().await
}

#[tokio::test]
async fn a_receiver_that_never_was_does_not_hold_up_the_end() -> Result<()> {
    let workplace = Workplace::new()?;
    let prometheus = Prometheus::at(&workplace)?;
    let server = Server::start(&workplace, &exporting_to(&[prometheus.destination()])).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(variables()).await?;
    let (deployment, endpoint) = serving(&api, &project).await?;
    request(&endpoint, 1).await?;
    eventually("there is trouble", || async { Ok(server.log().contains("an export has trouble").then_some(())) })
        .await?;
    stop(&api, &deployment).await?;
    server.terminate().await
}

/// OpenTelemetry's messages, which read what they are sent.
struct Otlp {
    _process: Running,
    port: u16,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Otlp {
    async fn start() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("OUTRIGGER_TEST_OTLP_PYTHON")
            .map_or_else(|| root.join("../target/otlp/bin/python"), PathBuf::from);
        let mut command = Command::new(python);
        command.arg(root.join("tests/export/otlp_receiver.py")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start_apart(command).context(INSTALL_PROTO)?;
        let mut lines = BufReader::new(process.stdout().context("standard output is piped")?).lines();
        let port = lines.next_line().await?.context(INSTALL_PROTO)?.parse()?;
        let requests: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let request = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "refused": line }));
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
        });
        Ok(Self { _process: process, port, requests })
    }

    fn requests(&self, path: &str) -> Result<Vec<Value>> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = requests.iter().find(|request| !request["refused"].is_null());
        ensure!(refused.is_none(), "refused: {refused:?}");
        Ok(requests.into_iter().filter(|request| request["path"] == path).collect())
    }

    /// All items of a signal with their resource: metrics, or lines.
    fn items(&self, path: &str, [resources, scopes, items]: [&str; 3]) -> Result<Vec<(Value, Value)>> {
        let mut found = Vec::new();
        for request in self.requests(path)? {
            for resource in list(&request["body"][resources]) {
                for scope in list(&resource[scopes]) {
                    assert_eq!(scope["scope"]["name"], "outrigger");
                    found.extend(list(&scope[items]).iter().map(|item| (resource["resource"].clone(), item.clone())));
                }
            }
        }
        Ok(found)
    }

    fn metrics(&self) -> Result<Vec<(Value, Value)>> {
        self.items("/v1/metrics", ["resourceMetrics", "scopeMetrics", "metrics"])
    }

    fn lines(&self) -> Result<Vec<(Value, Value)>> {
        self.items("/v1/logs", ["resourceLogs", "scopeLogs", "logRecords"])
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of an attribute.
fn attribute<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    list(&of["attributes"]).iter().find(|pair| pair["key"] == key)?["value"]["stringValue"].as_str()
}

#[tokio::test]
async fn opentelemetry_reads_metrics_and_masked_lines() -> Result<()> {
    let workplace = Workplace::new()?;
    let otlp = Otlp::start().await?;
    let token = workplace.path().join("token");
    std::fs::write(&token, "canary-of-the-receiver\n")?;
    let destination = json!({
        "name": "collector",
        "type": "otlp",
        "url": format!("http://127.0.0.1:{}", otlp.port),
        "external_labels": { "deployment.environment.name": "test" },
        "bearer_token_file": token,
        "flush_interval": "100ms",
    });
    let server = Server::start(&workplace, &exporting_to(&[destination])).await?;
    let api = server.api().clone();
    let secret = "canary-of-the-program-0123456789";
    let variables = json!([{ "key": "API_KEY", "value": secret, "isEncrypted": true }]);
    let (project, _) = api.project_with(variables).await?;
    let script = "echo \"level=warn msg=first key=$API_KEY\"; echo second >&2; sleep 600";
    let command = ["/bin/sh", "-c", script].map(str::to_owned);
    let deployment = api.deployment(&project, &command, json!({ "sampleInterval": "100ms" })).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;

    let said = |text: &'static str| {
        let otlp = &otlp;
        eventually(text, move || async move {
            let has =
                |(_, line): &(Value, Value)| line["body"]["stringValue"].as_str().is_some_and(|b| b.contains(text));
            Ok(otlp.lines()?.into_iter().find(has))
        })
    };
    let (resource, first) = said("msg=first").await?;
    assert_eq!(attribute(&resource, "service.name"), Some("under-test"));
    assert_eq!(attribute(&resource, "service.namespace"), Some("test"));
    assert_eq!(attribute(&resource, "outrigger.deployment.id"), Some(deployment.as_str()));
    assert_eq!(attribute(&resource, "deployment.environment.name"), Some("test"));
    let instance = api.get(&format!("/api/deployments/{deployment}/instances")).await?[0]["id"].clone();
    assert_eq!(attribute(&resource, "service.instance.id"), instance.as_str());
    assert_eq!((&first["severityNumber"], &first["severityText"]), (&json!("SEVERITY_NUMBER_WARN"), &json!("WARN")));
    assert_eq!(attribute(&first, "log.iostream"), Some("stdout"));
    let (_, second) = said("second").await?;
    assert_eq!(attribute(&second, "log.iostream"), Some("stderr"));

    let processes = eventually("metrics", || async {
        let is_wanted = |(_, metric): &(Value, Value)| metric["name"] == "outrigger.processes";
        Ok(otlp.metrics()?.into_iter().find(is_wanted))
    })
    .await?;
    assert_eq!(attribute(&processes.0, "service.instance.id"), instance.as_str());
    assert_eq!(processes.1["unit"], "{count}");
    let point = &processes.1["gauge"]["dataPoints"][0];
    assert!(point["asDouble"].as_f64() >= Some(1.0) && point["timeUnixNano"].is_string(), "{point}");

    stop(&api, &deployment).await?;
    eventually("the series end", || async {
        let ends = |(_, metric): &(Value, Value)| {
            metric["name"] == "outrigger.processes"
                && list(&metric["gauge"]["dataPoints"]).iter().any(|point| point["flags"] == 1)
        };
        Ok(otlp.metrics()?.iter().any(ends).then_some(()))
    })
    .await?;
    let requests = otlp.requests("/v1/logs")?;
    assert_eq!(requests[0]["headers"]["authorization"], "Bearer canary-of-the-receiver");
    assert_eq!(requests[0]["headers"]["content-encoding"], "gzip");
    let bodies = Value::from_iter(requests.iter().map(|request| request["body"].clone())).to_string();
    assert!(!bodies.contains(secret), "a line that was not masked");
    assert!(!server.log().contains("canary"), "{}", server.log());
    server.terminate().await
}
