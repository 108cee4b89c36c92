//! The whole loop with instances that the control plane makes itself: push, scale, crash, heal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, eventually, is_running, parent_of, test_program};
use reqwest::Method;
use serde_json::{Value, json};

struct Fixture {
    server: Server,
    workplace: Workplace,
    environment: String,
    deployment: String,
}

impl Fixture {
    async fn started(options: ServerOptions, program: &[&str], changes: Value) -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &options).await?;
        let variables = json!([
            { "key": "GREETING", "value": "one" },
            { "key": "API_KEY", "value": "first-secret", "isEncrypted": true, "isRequired": true },
        ]);
        let (project, environment) = server.api().project_with(variables).await?;
        let deployment = server.api().deployment(&project, &test_program(program), changes).await?;
        server.api().post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        Ok(Self { server, workplace, environment, deployment })
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/deployments/{}{rest}", self.deployment)
    }

    /// The deployment is RUNNING with exactly `count` instances, all of them ready.
    async fn ready(&self, count: usize) -> Result<Vec<Value>> {
        let (api, path, status) = (self.server.api().clone(), self.path("/instances"), self.path("/status"));
        eventually(&format!("{count} ready instances"), || async {
            let running = api.get(&status).await?["status"] == "RUNNING";
            Ok(ready(&api, &path, count).await?.filter(|_| running))
        })
        .await
    }

    /// Stops everything that the deployment started, so that a test leaves nothing behind.
    async fn stop(self) -> Result<()> {
        self.server.api().post(&self.path("/stop"), json!({})).await?;
        let (api, path) = (self.server.api().clone(), self.path("/status"));
        let stopped = || async { Ok((api.get(&path).await?["status"] == "STOPPED").then_some(())) };
        eventually("the deployment is stopped", stopped).await?;
        let forgotten = || async {
            let status = api.get(&path).await?;
            Ok((status["config"].is_null() && status["rollout"].is_null()).then_some(()))
        };
        eventually("no instance is said to run its configuration", forgotten).await?;
        self.server.terminate().await?;
        let left = instance_processes(&self.workplace);
        assert!(left.is_empty(), "left running: {left:?}");
        Ok(())
    }
}

/// The live instances, once exactly `count` are there and all of them are ready.
async fn ready(api: &Api, path: &str, count: usize) -> Result<Option<Vec<Value>>> {
    let instances = api.get(path).await?;
    let live: Vec<Value> =
        instances.as_array().into_iter().flatten().filter(|i| i["phase"] != "GONE").cloned().collect();
    let all = live.len() == count && live.iter().all(|i| i["phase"] == "RUNNING" && i["ready"] == true);
    Ok(all.then_some(live))
}

fn ids(instances: &[Value]) -> BTreeSet<String> {
    instances.iter().filter_map(|instance| instance["id"].as_str().map(str::to_owned)).collect()
}

/// Processes whose command line names the test's own directory.
fn instance_processes(workplace: &Workplace) -> Vec<String> {
    let own = workplace.path().display().to_string();
    outrigger_tests::command_lines().into_iter().filter(|line| line.contains(&own)).collect()
}

async fn fetch(endpoint: &str, path: &str) -> Result<String> {
    Ok(reqwest::get(format!("http://{endpoint}{path}")).await?.error_for_status()?.text().await?)
}

fn endpoint(instance: &Value) -> Result<&str> {
    instance["endpoint"].as_str().context("a serving instance has an endpoint")
}

fn serving() -> Value {
    json!({ "http": true, "replicas": { "min": 1, "max": 3, "initial": 1 } })
}

#[tokio::test]
async fn a_changed_secret_is_pushed_acknowledged_and_effective() -> Result<()> {
    let fixture = Fixture::started(ServerOptions::default(), &["serve"], serving()).await?;
    let instances = fixture.ready(1).await?;
    assert_eq!(fetch(endpoint(&instances[0])?, "/env/API_KEY").await?, "first-secret");

    let path = format!("/api/config/environments/{}/variables/API_KEY", fixture.environment);
    let change = json!({ "value": "second-secret", "isEncrypted": true, "isRequired": true });
    let changed = fixture.server.api().call(Method::PUT, &path, Some(change)).await?;
    let generation = changed["generation"].as_u64().context("no generation")?;

    let (api, status) = (fixture.server.api().clone(), fixture.path("/status"));
    eventually("every instance runs the new generation", || async {
        let config = api.get(&status).await?["config"].clone();
        Ok((config["generation"] == generation && config["running"] == 1 && config["total"] == 1).then_some(()))
    })
    .await?;
    let address = endpoint(&instances[0])?.to_owned();
    eventually("the program answers with the new value", || async {
        // While the program restarts its proxy answers 502, which is not a failure of the test.
        Ok(fetch(&address, "/env/API_KEY").await.ok().filter(|value| value == "second-secret"))
    })
    .await?;
    let events = fixture.server.api().get(&fixture.path("/events")).await?.to_string();
    assert!(events.contains(&format!("config generation {generation} running on 1 of 1")), "{events}");
    fixture.stop().await
}

#[tokio::test]
async fn load_scales_up_and_its_end_scales_down() -> Result<()> {
    let mut changes = serving();
    changes["scaling"] = json!({ "cooldownUp": "1s", "cooldownDown": "2s" });
    changes["policies"] = json!([{
        "name": "load",
        "policyId": "threshold",
        "config": { "rules": [
            { "metric": "requests", "above": 20.0, "below": 5.0, "upFor": "1s", "downFor": "2s", "stepUp": 1, "stepDown": 1 },
        ]},
    }]);
    let fixture = Fixture::started(ServerOptions::default(), &["serve"], changes).await?;
    let first = fixture.ready(1).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(requests(endpoint(&first[0])?.to_owned(), Arc::clone(&stop)));
    let (api, path) = (fixture.server.api().clone(), fixture.path(""));
    let desired = async || -> Result<u64> { api.get(&path).await?["desiredReplicas"].as_u64().context("no replicas") };
    eventually("load scales up", || async { Ok((desired().await? > 1).then_some(())) }).await?;
    stop.store(true, Ordering::Relaxed);
    load.await?;
    eventually("quiet scales down to the minimum", || async { Ok((desired().await? == 1).then_some(())) }).await?;
    fixture.ready(1).await?;

    let decisions = fixture.server.api().get(&fixture.path("/decisions")).await?;
    let up = decisions.as_array().into_iter().flatten().find(|d| d["to"].as_u64() > d["from"].as_u64());
    let up = up.context("a decision to scale up is kept")?;
    assert!(up["reason"].as_str().is_some_and(|reason| reason.contains("requests")), "{up}");
    assert_eq!(up["proposals"][0]["policy"], "load");
    let events = fixture.server.api().get(&fixture.path("/events")).await?.to_string();
    assert!(events.contains("scaled up 1 -> 2") && events.contains("scaled down"), "{events}");
    fixture.stop().await
}

/// A bounded stream of requests: at most a minute of them.
async fn requests(address: String, stop: Arc<AtomicBool>) {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..6_000 {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Only the rate matters here; an answer that fails is still a request.
        let _ = client.get(format!("http://{address}/")).send().await;
    }
}

#[tokio::test]
async fn a_control_plane_that_is_killed_and_restarted_loses_nothing_and_duplicates_nothing() -> Result<()> {
    let mut changes = serving();
    changes["replicas"] = json!({ "min": 2, "max": 3, "initial": 2 });
    let mut fixture = Fixture::started(ServerOptions::default(), &["serve"], changes).await?;
    let before = ids(&fixture.ready(2).await?);

    // Acknowledged right before the kill.
    let path = format!("/api/config/environments/{}/variables/GREETING", fixture.environment);
    fixture.server.api().call(Method::PUT, &path, Some(json!({ "value": "two" }))).await?;
    fixture.server.api().post(&fixture.path("/scale"), json!({ "replicas": 3 })).await?;
    fixture.server.kill().await?;

    fixture.server = fixture.server.restart().await?;
    let after = fixture.ready(3).await?;
    assert!(ids(&after).is_superset(&before), "instances that ran go on running");
    for instance in &after {
        let address = endpoint(instance)?.to_owned();
        eventually("the acknowledged value is everywhere", || async {
            Ok(fetch(&address, "/env/GREETING").await.ok().filter(|value| value == "two"))
        })
        .await?;
    }
    let agents =
        instance_processes(&fixture.workplace).iter().filter(|line| line.contains("outrigger-agent run")).count();
    assert_eq!(agents, 3, "one agent for each instance");
    fixture.stop().await
}

#[tokio::test]
async fn a_killed_agent_is_replaced() -> Result<()> {
    let fixture = Fixture::started(ServerOptions::default(), &["serve"], serving()).await?;
    let before = fixture.ready(1).await?;
    let program = i32::try_from(before[0]["program"]["pid"].as_i64().context("no pid")?)?;
    let agent = parent_of(program).context("the program has a parent")?;
    let pid = rustix::process::Pid::from_raw(agent).context("a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;

    let (api, path) = (fixture.server.api().clone(), fixture.path("/instances"));
    let replaced = eventually("another instance takes its place", || async {
        let now = ready(&api, &path, 1).await?;
        Ok(now.filter(|now| ids(now) != ids(&before)))
    })
    .await?;
    assert_eq!(replaced.len(), 1);
    eventually("the program of the dead agent is gone too", || async { Ok((!is_running(program)).then_some(())) })
        .await?;
    fixture.stop().await
}

#[tokio::test]
async fn programs_that_misbehave_are_stopped_all_the_same() -> Result<()> {
    let fixture = Fixture::started(ServerOptions::default(), &["ignore-term"], json!({})).await?;
    let instances = fixture.ready(1).await?;
    let pid = i32::try_from(instances[0]["program"]["pid"].as_i64().context("no pid")?)?;
    assert!(is_running(pid));
    fixture.stop().await?;
    assert!(!is_running(pid), "a program that ignores TERM is killed");
    Ok(())
}
