//! Probes from the specification to the program and back: what they gate, what they restart, what they take out of service.

use anyhow::{Context as _, Result};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};

/// A deployment of the serving test program, with probes.
struct Fixture {
    api: Api,
    environment: String,
    deployment: String,
    server: Server,
}

/// Asks the program itself, past the agent's proxy, as often as there may be.
fn http(kind: &str) -> Value {
    json!({
        "kind": kind, "level": "application", "period": "100ms", "timeout": "5s",
        "http": { "port": "$PORT", "path": format!("/health/{kind}") },
    })
}

impl Fixture {
    async fn started(replicas: u32, bake_time: &str, probes: Value) -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let api = server.api().clone();
        let (project, environment) = api.project_with(json!([{ "key": "FAILING", "value": "nothing" }])).await?;
        let specification = json!({
            "http": true,
            "replicas": { "min": replicas, "max": replicas },
            "applyStrategy": { "type": "restart", "jitter": "0s", "bakeTime": bake_time },
            "probes": probes,
        });
        let deployment = api.deployment(&project, &test_program(&["serve"]), specification).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let fixture = Self { api, environment, deployment, server };
        fixture.ready_replicas(replicas).await?;
        Ok(fixture)
    }

    async fn get(&self, rest: &str) -> Result<Value> {
        self.api.get(&format!("/api/deployments/{}{rest}", self.deployment)).await
    }

    async fn ready_replicas(&self, count: u32) -> Result<()> {
        eventually(&format!("{count} ready replicas"), || async {
            Ok((self.get("/status").await?["readyReplicas"] == count).then_some(()))
        })
        .await
    }

    async fn instances(&self) -> Result<Vec<Value>> {
        let instances = self.get("/instances").await?;
        Ok(instances.as_array().into_iter().flatten().filter(|one| one["phase"] == "RUNNING").cloned().collect())
    }

    async fn instance(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, || async { Ok(self.instances().await?.into_iter().find(|one| is_so(one))) }).await
    }

    /// Sets what is not well from the start, and returns the generation.
    async fn set_failing(&self, name: &str) -> Result<u64> {
        let path = format!("/api/config/environments/{}/variables/FAILING", self.environment);
        let changed = self.api.call(Method::PUT, &path, Some(json!({ "value": name }))).await?;
        changed["generation"].as_u64().context("no generation")
    }

    async fn stop(self) -> Result<()> {
        self.api.post(&format!("/api/deployments/{}/stop", self.deployment), json!({})).await?;
        eventually("the deployment is stopped", || async {
            Ok((self.get("/status").await?["status"] == "STOPPED").then_some(()))
        })
        .await?;
        self.server.terminate().await.map(drop)
    }
}

/// `None` while the program behind the proxy is being replaced.
async fn fetch(instance: &Value, path: &str) -> Result<Option<String>> {
    let endpoint = instance["endpoint"].as_str().context("a serving instance has an endpoint")?;
    let answer = reqwest::get(format!("http://{endpoint}{path}")).await?;
    Ok(if answer.status().is_success() { Some(answer.text().await?) } else { None })
}

fn probe<'a>(instance: &'a Value, kind: &str) -> &'a Value {
    instance["probes"].as_array().into_iter().flatten().find(|probe| probe["kind"] == kind).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_value_with_which_the_program_is_not_ready_is_rolled_back_by_the_agents_and_the_old_one_is_live() -> Result<()>
{
    let fixture = Fixture::started(2, "30s", json!([http("readiness")])).await?;
    let before = fixture.instances().await?;
    let bad = fixture.set_failing("readiness").await?;
    let status = eventually("everybody is back", || async {
        let status = fixture.get("/status").await?;
        let rollout = &status["rollout"];
        let done = rollout["generation"] == bad && rollout["state"] == "rolled-back" && status["readyReplicas"] == 2;
        Ok(done.then_some(status))
    })
    .await?;
    let (restored, reason) =
        (&status["rollout"]["restoredAs"], status["rollout"]["reason"].as_str().unwrap_or_default());
    assert_eq!(status["config"], json!({ "generation": restored, "running": 2, "total": 2, "failed": [] }));
    let signal = "readiness probe `readiness-application` failed 3 times in a row: status 503";
    assert!(reason.contains(signal), "{reason}");
    let instances = fixture.instances().await?;
    for instance in &instances {
        let config = &instance["config"];
        assert_eq!((&config["running"], &config["lastReceived"]), (restored, restored), "{instance}");
        assert_eq!(fetch(instance, "/env/FAILING").await?.as_deref(), Some("nothing"), "the old value is live");
    }
    let culprit = instances.iter().find(|one| one["id"].as_str().is_some_and(|id| reason.starts_with(id)));
    assert!(culprit.is_some(), "it is told who it was: {reason}");
    let ids = |instances: &[Value]| instances.iter().map(|one| one["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&instances), "nobody was replaced");

    // A push of what everybody has is answered, and changes nothing.
    let again = fixture.api.post(&format!("/api/config/deployments/{}/reload", fixture.deployment), json!({})).await?;
    assert_eq!((&again["id"], &again["applied"]), (&status["rollout"]["id"], &json!(2)));

    let good = fixture.set_failing("nobody").await?;
    eventually("a newer generation is applied by both", || async {
        let status = fixture.get("/status").await?;
        let config = &status["config"];
        let done = config["generation"] == good && config["running"] == 2 && status["readyReplicas"] == 2;
        Ok(done.then_some(()))
    })
    .await?;
    fixture.stop().await
}

#[tokio::test]
async fn a_program_that_is_not_alive_is_started_again() -> Result<()> {
    let fixture = Fixture::started(1, "0s", json!([http("liveness")])).await?;
    let well = |one: &Value| probe(one, "liveness")["healthy"] == true;
    let instance = fixture.instance("its probe passes", well).await?;
    fetch(&instance, "/fail/liveness").await?.context("the program answers")?;
    let again = |one: &Value| one["program"]["restarts"] == 1 && one["program"]["pid"] != instance["program"]["pid"];
    let instance = fixture.instance("it was started again, and is well", |one| again(one) && well(one)).await?;
    assert_eq!(fetch(&instance, "/health/liveness").await?.as_deref(), Some("ok"));
    assert_eq!(probe(&instance, "liveness")["consecutiveFailures"], 0);
    fixture.stop().await
}

#[tokio::test]
async fn readiness_takes_an_instance_out_of_service_and_puts_it_back() -> Result<()> {
    let probes = json!([
        { "kind": "startup", "period": "100ms", "failureThreshold": 100, "tcp": { "port": "$PORT" } },
        http("readiness"),
        { "kind": "liveness", "period": "100ms", "command": ["sh", "-c", "test -n \"$PORT\""], "timeout": "5s" },
    ]);
    let fixture = Fixture::started(2, "0s", probes).await?;
    let instances = fixture.instances().await?;
    let [first, _] = instances.as_slice() else { anyhow::bail!("two instances: {instances:?}") };
    fetch(first, "/fail/readiness").await?.context("the program answers")?;
    fixture.ready_replicas(1).await?;
    let failing =
        |one: &Value| one["id"] == first["id"] && probe(one, "readiness")["consecutiveFailures"].as_u64() >= Some(5);
    let instance = fixture.instance("it says how often it has failed", failing).await?;
    assert_eq!((&instance["ready"], &instance["program"]["restarts"]), (&json!(false), &json!(0)), "{instance}");
    let probed = probe(&instance, "readiness");
    assert_eq!((&probed["healthy"], &probed["level"]), (&json!(false), &json!("application")));
    assert_eq!(probed["lastError"], "status 503, expected 200 to 399");
    for kind in ["startup", "liveness"] {
        assert_eq!(probe(&instance, kind)["healthy"], true, "{instance}");
    }
    fetch(first, "/pass/readiness").await?.context("the program answers")?;
    fixture.ready_replicas(2).await?;
    fixture.stop().await
}
