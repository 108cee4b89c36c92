//! New configuration in steps, with real agents: who is touched, what rolls back, what people and a restart do to it.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, binary, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// A deployment of the serving test program, whose first generation has been rolled out completely.
struct Fixture {
    server: Server,
    workplace: Workplace,
    /// The environment that the deployment runs with.
    environment: String,
    /// The one that it extends.
    base: String,
    deployment: String,
}

/// Of four instances, the first one takes the risk for an hour.
fn canary() -> Value {
    json!({
        "strategy": { "type": "canary", "percent": 25, "bake": "1h" }, "finalBake": "0s", "minReady": "0s",
    })
}

fn all_at_once() -> Value {
    json!({ "finalBake": "0s", "minReady": "0s" })
}

const REPLICAS: usize = 4;

impl Fixture {
    /// `bake_time` is the agent's own. The program serves unless `$FAILING` is `start`, and is ready unless it is
    /// `readiness`.
    async fn started(rollout: Value, bake_time: &str) -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let api = server.api().clone();
        let (project, base) = api.project_with(json!([{ "key": "FAILING", "value": "nothing" }])).await?;
        let path = format!("/api/config/projects/{project}/environments");
        let own = json!({ "environment": "production", "name": "dependent", "extends": base });
        let environment = text(&api.post(&path, own).await?, "id")?;
        let serve = test_program(&["serve"]).join(" ");
        let command = ["sh", "-c", &format!("test \"$FAILING\" != start && exec {serve}")].map(str::to_owned);
        let specification = json!({
            "environment": environment,
            "http": true,
            "replicas": { "min": REPLICAS, "max": REPLICAS },
            "applyStrategy": { "type": "restart", "jitter": "0s", "bakeTime": bake_time },
            "probes": [{
                "kind": "readiness", "level": "application", "period": "200ms", "timeout": "5s",
                "http": { "port": "$PORT", "path": "/health/readiness" },
            }],
            "rollout": rollout,
        });
        let deployment = api.deployment(&project, &command, specification).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let fixture = Self { server, workplace, environment, base, deployment };
        let everywhere = |rollout: &Value| rollout["state"] == "completed" && rollout["applied"] == REPLICAS;
        let first = fixture.rollout("the first generation is everywhere", everywhere).await?;
        fixture.everybody_runs(number(&first, "generation")?).await?;
        Ok(fixture)
    }

    fn api(&self) -> &Api {
        self.server.api()
    }

    async fn get(&self, rest: &str) -> Result<Value> {
        self.api().get(&format!("/api/deployments/{}{rest}", self.deployment)).await
    }

    /// The live instances by their ids.
    async fn instances(&self) -> Result<BTreeMap<String, Value>> {
        let instances = self.get("/instances").await?;
        let live = instances.as_array().into_iter().flatten().filter(|instance| instance["phase"] == "RUNNING");
        live.map(|instance| Ok((text(instance, "id")?, instance.clone()))).collect()
    }

    /// Every instance is ready and runs a generation of this number.
    async fn everybody_runs(&self, generation: u64) -> Result<BTreeMap<String, Value>> {
        eventually(&format!("everybody runs generation {generation}"), || async {
            let instances = self.instances().await?;
            let all = instances.len() == REPLICAS
                && instances.values().all(|one| one["ready"] == true && one["config"]["running"] == generation);
            Ok(all.then_some(instances))
        })
        .await
    }

    /// The newest rollout with its story, once something is so.
    async fn rollout(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(what, || async {
            let Some(newest) = self.get("/rollouts?limit=1").await?.get(0).cloned() else { return Ok(None) };
            let rollout = self.api().get(&format!("/api/rollouts/{}", text(&newest, "id")?)).await?;
            Ok(Some(rollout).filter(|rollout| is_so(rollout)))
        })
        .await
    }

    /// Sets a variable in the environment that the deployment runs with, and returns its generation.
    async fn set(&self, key: &str, value: &str) -> Result<u64> {
        self.set_in(&self.environment, key, value).await
    }

    async fn set_in(&self, environment: &str, key: &str, value: &str) -> Result<u64> {
        let path = format!("/api/config/environments/{environment}/variables/{key}");
        let changed = self.api().call(Method::PUT, &path, Some(json!({ "value": value }))).await?;
        changed["generation"].as_u64().context("no generation")
    }

    /// Publishes a value that does no harm, and waits until the canary bakes with it: its rollout, and the canary.
    async fn baking(&self, value: &str) -> Result<(Value, Value)> {
        let generation = self.set("GREETING", value).await?;
        let is_baking = |rollout: &Value| rollout["generation"] == generation && rollout["applied"] == 1;
        let rollout = self.rollout("the canary bakes", is_baking).await?;
        let instances = self.instances().await?.into_values();
        let mut with_it = instances.filter(|instance| instance["config"]["running"] == generation);
        let canary = with_it.next().context("an instance runs it")?;
        ensure!(with_it.next().is_none(), "only one instance runs it");
        Ok((rollout, canary))
    }

    /// What programs get.
    async fn effective(&self, environment: &str, key: &str) -> Result<Value> {
        let path = format!("/api/config/environments/{environment}/variables?effective=true");
        let variables = self.api().get(&path).await?;
        let found = variables.as_array().into_iter().flatten().find(|variable| variable["key"] == key);
        Ok(found.context("no such variable")?["value"].clone())
    }

    /// Runs the command line with the operator's token.
    async fn outrigger(&self, arguments: &[&str]) -> Result<Output> {
        let token = std::fs::read_to_string(self.workplace.data().join("operator-token"))?;
        let mut command = Command::new(binary("outrigger"));
        command.args(arguments).env("OUTRIGGER_URL", self.api().base()).env("OUTRIGGER_TOKEN", token.trim());
        // Nobody's own login takes part.
        command.env("HOME", self.workplace.path()).env_remove("XDG_CONFIG_HOME").kill_on_drop(true);
        Ok(command.output().await?)
    }

    async fn stop(self) -> Result<()> {
        self.api().post(&format!("/api/deployments/{}/stop", self.deployment), json!({})).await?;
        eventually("the deployment is stopped", || async {
            Ok((self.get("/status").await?["status"] == "STOPPED").then_some(()))
        })
        .await?;
        self.server.terminate().await
    }
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no `{field}` in {value}"))
}

fn number(value: &Value, field: &str) -> Result<u64> {
    value[field].as_u64().with_context(|| format!("no `{field}` in {value}"))
}

fn has_ended(rollout: &Value) -> bool {
    rollout["endedAt"].is_string()
}

/// `None` while the program behind the proxy is being replaced.
async fn fetch(instance: &Value, path: &str) -> Result<Option<String>> {
    let endpoint = instance["endpoint"].as_str().context("a serving instance has an endpoint")?;
    let answer = reqwest::get(format!("http://{endpoint}{path}")).await?;
    Ok(if answer.status().is_success() { Some(answer.text().await?) } else { None })
}

/// Instances whose program is another process than before.
fn restarted(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let same = |id: &str, now: &Value| before.get(id).is_some_and(|one| one["program"]["pid"] == now["program"]["pid"]);
    after.iter().filter(|(id, now)| !same(id, now)).map(|(id, _)| id.clone()).collect()
}

#[tokio::test]
async fn a_value_with_which_the_canary_is_not_ready_is_rolled_back_and_nobody_else_is_touched() -> Result<()> {
    let fixture = Fixture::started(canary(), "30s").await?;
    let before = fixture.instances().await?;
    let bad = fixture.set("FAILING", "readiness").await?;
    // At once: it is the rollout of what was just published that is watched.
    let watch = fixture.outrigger(&["rollout", "watch", "under-test"]).await?;
    let rollout =
        fixture.rollout("it is rolled back", |rollout| rollout["generation"] == bad && has_ended(rollout)).await?;
    assert_eq!(rollout["state"], "rolled-back", "{rollout:#}");
    assert_eq!((number(&rollout, "touched")?, number(&rollout, "applied")?), (1, 4), "{rollout:#}");
    let restored = number(&rollout, "restoredAs")?;
    assert!(restored > bad, "a generation never goes backwards");

    let after = fixture.everybody_runs(restored).await?;
    let canary = restarted(&before, &after);
    assert_eq!(canary.len(), 1, "only the canary was restarted: {canary:?}");
    let reason = text(&rollout, "reason")?;
    assert!(reason.contains(&canary[0]) && reason.contains("readiness-application"), "{reason}");
    for instance in after.values() {
        assert_eq!(fetch(instance, "/env/FAILING").await?.as_deref(), Some("nothing"));
    }
    assert_eq!(fixture.effective(&fixture.environment, "FAILING").await?, "nothing", "it is the newest generation too");

    // On a pipe, a line for each thing that happened; and the exit code says how it ended.
    let (told, error) = (String::from_utf8(watch.stdout)?, String::from_utf8(watch.stderr)?);
    assert_eq!(watch.status.code(), Some(1), "{told}{error}");
    assert!(error.contains(&format!("generation {bad} was rolled back, as generation {restored}: ")), "{error}");
    let timeline = rollout["timeline"].as_array().context("a timeline")?;
    assert_eq!(told.lines().count(), timeline.len(), "{told}");
    for (line, entry) in told.lines().zip(timeline) {
        assert!(line.contains(&text(entry, "message")?), "{line}");
    }
    fixture.stop().await
}

#[tokio::test]
async fn five_probe_failures_in_a_row_roll_back_at_once_in_the_middle_of_the_bake_time() -> Result<()> {
    let fixture = Fixture::started(canary(), "0s").await?;
    let (rollout, canary) = fixture.baking("hello").await?;
    fetch(&canary, "/fail/readiness").await?.context("the program answers")?;
    let rollout = fixture.rollout("it is rolled back", |now| now["id"] == rollout["id"] && has_ended(now)).await?;
    assert_eq!(rollout["state"], "rolled-back", "{rollout:#}");
    let reason = text(&rollout, "reason")?;
    let signal = format!("{}: probe `readiness-application` failed ", text(&canary, "id")?);
    assert!(
        reason.starts_with(&signal) && reason.contains("times in a row (5 allowed at most): status 503"),
        "{reason}"
    );
    assert_eq!(rollout["touched"], 1);
    // The program was started again without the failure, which was in its memory.
    fixture.everybody_runs(number(&rollout, "restoredAs")?).await?;
    fixture.stop().await
}

#[tokio::test]
async fn a_failed_start_rolls_back_at_once() -> Result<()> {
    let fixture = Fixture::started(canary(), "30s").await?;
    let before = fixture.instances().await?;
    let bad = fixture.set("FAILING", "start").await?;
    let rollout =
        fixture.rollout("it is rolled back", |rollout| rollout["generation"] == bad && has_ended(rollout)).await?;
    assert_eq!((&rollout["state"], &rollout["touched"]), (&json!("rolled-back"), &json!(1)), "{rollout:#}");
    let after = fixture.everybody_runs(number(&rollout, "restoredAs")?).await?;
    let canary = restarted(&before, &after);
    assert_eq!(canary.len(), 1, "{canary:?}");
    assert!(text(&rollout, "reason")?.contains(&canary[0]), "{rollout:#}");
    fixture.stop().await
}

#[tokio::test]
async fn people_decide_over_a_rollout_by_api_and_command_line_and_all_of_it_is_audited() -> Result<()> {
    let fixture = Fixture::started(canary(), "0s").await?;
    let (rollout, _) = fixture.baking("one").await?;
    let first = text(&rollout, "id")?;
    let path = format!("/api/rollouts/{first}");
    let paused = fixture.api().post(&format!("{path}/pause"), json!({})).await?;
    assert_eq!(paused["state"], "paused");
    let refusal = fixture.api().try_call(Method::POST, &format!("{path}/promote"), None).await?.unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.code()), (409, "conflict"), "{}", refusal.body);
    let refused = fixture.outrigger(&["rollout", "pause", "under-test"]).await?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("paused"), "{refused:?}");
    let resumed = fixture.outrigger(&["rollout", "resume", &first, "--output", "json"]).await?;
    assert_eq!(serde_json::from_slice::<Value>(&resumed.stdout)?["state"], "progressing", "{resumed:?}");
    let promoted = fixture.outrigger(&["rollout", "promote", "under-test", "--all"]).await?;
    assert!(promoted.status.success(), "{promoted:?}");
    let watch = fixture.outrigger(&["rollout", "watch", &first]).await?;
    assert!(watch.status.success(), "{watch:?}");
    let done = fixture.rollout("it is completed", has_ended).await?;
    assert_eq!((&done["state"], &done["applied"], &done["touched"]), (&json!("completed"), &json!(4), &json!(4)));

    let (rollout, canary) = fixture.baking("two").await?;
    let second = text(&rollout, "id")?;
    fixture.api().post(&format!("/api/rollouts/{second}/override"), json!({})).await?;
    fetch(&canary, "/fail/readiness").await?.context("the program answers")?;
    let overlooked = |rollout: &Value| rollout["timeline"].to_string().contains("overlooked");
    let rollout = fixture.rollout("a failure is overlooked", overlooked).await?;
    assert_eq!((&rollout["state"], rollout["overriddenBy"].is_string()), (&json!("progressing"), true), "{rollout:#}");
    fetch(&canary, "/pass/readiness").await?;
    let aborted = fixture.outrigger(&["rollout", "abort", &second]).await?;
    assert!(aborted.status.success(), "{aborted:?}");
    let rollout = fixture.rollout("it is rolled back", has_ended).await?;
    assert_eq!((&rollout["id"], &rollout["state"]), (&json!(second), &json!("rolled-back")));
    assert!(text(&rollout, "reason")?.starts_with("aborted by "), "{rollout:#}");
    fixture.everybody_runs(number(&rollout, "restoredAs")?).await?;
    assert_eq!(fixture.effective(&fixture.environment, "GREETING").await?, "one");

    let list = fixture.outrigger(&["rollout", "list", "under-test"]).await?;
    let list = String::from_utf8(list.stdout)?;
    assert!(list.contains("rolled-back") && list.contains("completed") && list.contains(&second), "{list}");
    let shown = fixture.outrigger(&["rollout", "show", &second]).await?;
    assert!(String::from_utf8(shown.stdout)?.contains("gates overridden by"));
    let audit = fixture.api().get("/api/audit?limit=200").await?;
    let entries: Vec<String> = audit.as_array().into_iter().flatten().map(Value::to_string).collect();
    for (command, rollout) in
        [("pause", &first), ("resume", &first), ("promote", &first), ("override", &second), ("abort", &second)]
    {
        let told = entries.iter().any(|entry| entry.contains(rollout.as_str()) && entry.contains(command));
        assert!(told, "{command} of {rollout}: {entries:#?}");
    }
    fixture.stop().await
}

#[tokio::test]
async fn a_control_plane_that_is_killed_in_mid_canary_goes_on_with_the_same_one() -> Result<()> {
    let mut fixture = Fixture::started(canary(), "0s").await?;
    let before = fixture.instances().await?;
    let (rollout, canary) = fixture.baking("hello").await?;
    fixture.server.kill().await?;
    fixture.server = fixture.server.restart().await?;

    let back = |now: &Value| now["applied"] == 1 && now["total"] == 4 && now["unhealthy"] == 0;
    let now = fixture.rollout("the agents are back", back).await?;
    for field in ["id", "state", "step", "touched", "generation", "from", "startedAt"] {
        assert_eq!(now[field], rollout[field], "{field}");
    }
    let generation = &rollout["generation"];
    let instances = fixture.instances().await?;
    let with_it: Vec<_> = instances.values().filter(|one| one["config"]["running"] == *generation).collect();
    assert_eq!(with_it.len(), 1);
    assert_eq!(with_it[0]["id"], canary["id"], "it is the same canary");
    assert_eq!(restarted(&before, &instances), [text(&canary, "id")?], "nobody else was touched");

    let id = text(&rollout, "id")?;
    fixture.api().post(&format!("/api/rollouts/{id}/promote"), json!({ "to": "all" })).await?;
    let done = fixture.rollout("it is completed", has_ended).await?;
    assert_eq!((&done["id"], &done["state"]), (&json!(id), &json!("completed")), "{done:#}");
    fixture.everybody_runs(number(&rollout, "generation")?).await?;
    fixture.stop().await
}

#[tokio::test]
async fn a_bad_value_of_a_base_is_rolled_back_in_the_environment_that_extends_it() -> Result<()> {
    let fixture = Fixture::started(canary(), "30s").await?;
    let before = fixture.instances().await?;
    fixture.set_in(&fixture.base, "FAILING", "readiness").await?;
    let rollout = fixture.rollout("it is rolled back", |rollout| rollout["state"] == "rolled-back").await?;
    assert_eq!((&rollout["environmentId"], &rollout["touched"]), (&json!(fixture.environment), &json!(1)));
    let after = fixture.everybody_runs(number(&rollout, "restoredAs")?).await?;
    assert_eq!(restarted(&before, &after).len(), 1, "only the canary was restarted");
    assert_eq!(fixture.effective(&fixture.environment, "FAILING").await?, "nothing");
    assert_eq!(fixture.effective(&fixture.base, "FAILING").await?, "readiness", "the base keeps its new value");
    fixture.stop().await
}

#[tokio::test]
async fn without_settings_everybody_gets_it_at_once_and_a_bad_value_goes_back_all_the_same() -> Result<()> {
    let fixture = Fixture::started(all_at_once(), "30s").await?;
    let good = fixture.set("GREETING", "hello").await?;
    fixture.everybody_runs(good).await?;
    let rollout =
        fixture.rollout("it is completed", |rollout| rollout["generation"] == good && has_ended(rollout)).await?;
    assert_eq!((&rollout["state"], &rollout["steps"]), (&json!("completed"), &json!(1)), "{rollout:#}");
    let reload = fixture.outrigger(&["deployment", "reload", "under-test", "--wait"]).await?;
    assert!(reload.status.success(), "{reload:?}");

    let bad = fixture.set("FAILING", "readiness").await?;
    let rollout =
        fixture.rollout("it is rolled back", |rollout| rollout["generation"] == bad && has_ended(rollout)).await?;
    assert_eq!((&rollout["state"], &rollout["touched"]), (&json!("rolled-back"), &json!(4)), "{rollout:#}");
    for instance in fixture.everybody_runs(number(&rollout, "restoredAs")?).await?.values() {
        assert_eq!(fetch(instance, "/env/FAILING").await?.as_deref(), Some("nothing"));
        assert_eq!(fetch(instance, "/env/GREETING").await?.as_deref(), Some("hello"));
    }
    fixture.stop().await
}
