//! A bad value on its way to fifty real agents: how soon everybody is back, and whom it ever reached.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use outrigger_protocol::time::UnixMillis;
use outrigger_tests::Running;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::figure::{Figure, Reference};
use crate::history;
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};
use crate::statistics::Measurements;

const AGENTS: usize = 50;
const PERCENT: u32 = 10;
const ROUNDS: usize = 5;
/// Agents that are started at a time.
const STARTS: usize = 8;
/// Of the readiness probe, which fails for good after three failures, as by default.
const PERIOD: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;
/// Restarts are spread over this, as by default.
const JITTER: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

const GOAL_SECONDS: f64 = 30.0;
const GOAL_TOUCHED: f64 = 5.0;
const _: () = assert!(AGENTS * PERCENT as usize / 100 == 5, "the goal is the share");

/// One bad value, and what became of it.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// From the request that published it until everybody runs the old content as a new generation.
    back: Duration,
    /// From that request until the rollback was published.
    decided: Duration,
    /// Instances whose program was ever started with it, by the programs' own account.
    ran: usize,
    /// Instances that were ever offered it, as the control plane says.
    touched: u64,
}

/// # Errors
/// An agent does not start, or a bad value does not go back.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let scene = Scene::set(programs, &directory.join("canary")).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        rounds.push(scene.round(&format!("bad-{number}")).await?);
    }
    scene.clear().await?;
    let back = rounds.iter().map(|round| round.back.as_secs_f64());
    let back = Measurements::new(back).context("nothing was published")?;
    let decided = rounds.iter().map(|round| round.decided.as_secs_f64());
    let decided = Measurements::new(decided).context("nothing was published")?;
    let ran = rounds.iter().map(|round| round.ran).max().unwrap_or_default();
    let touched = rounds.iter().map(|round| round.touched).max().unwrap_or_default();
    let slowest = (JITTER + PERIOD * FAILURES).as_secs_f64();
    Ok(vec![
        Figure::new(
            format!("canary: bad value to {PERCENT} % of {AGENTS} agents until everybody is back, longest of {ROUNDS}"),
            "s",
            back.max(),
        )
        .at_most(GOAL_SECONDS)
        .beside(Reference::new("jitter and three probes, at most", slowest)),
        Figure::new("canary: the same, median", "s", back.median()),
        Figure::new("canary: bad value to its rollback published, median", "s", decided.median()),
        Figure::new("canary: instances that ever ran it, most", "instances", ran as f64)
            .at_most(GOAL_TOUCHED)
            .beside(Reference::new("the control plane counts", touched as f64)),
    ])
}

/// A deployment with fifty agents, and their programs' account of what they were started with.
struct Scene {
    sandbox: Sandbox,
    agents: Vec<Running>,
    /// A file for each agent, with a line for each start of its program.
    account: PathBuf,
}

impl Scene {
    async fn set(programs: &Programs, directory: &Path) -> Result<Self> {
        let account = directory.join("account");
        std::fs::create_dir_all(&account).context("cannot make a directory")?;
        let probe = json!({
            "kind": "readiness", "period": format!("{}s", PERIOD.as_secs()), "failureThreshold": FAILURES,
            "command": ["sh", "-c", "test \"$HEALTH\" = good"],
        });
        let sandbox = Sandbox::deploying(
            programs,
            &directory.join("data"),
            json!({
                "replicas": { "min": 0, "max": AGENTS, "initial": 0 },
                "applyStrategy": { "type": "restart", "jitter": format!("{}s", JITTER.as_secs()) },
                "probes": [probe],
                "rollout": {
                    "strategy": { "type": "canary", "percent": PERCENT, "bake": "60s" }, "finalBake": "0s",
                },
            }),
        )
        .await?;
        sandbox.set("HEALTH", "good").await?;
        let script = format!("echo \"$HEALTH\" >> '{}'/$PPID; exec sleep 3600", account.display());
        let starts = (0..AGENTS).map(|number| {
            let (sandbox, script) = (&sandbox, &script);
            async move {
                let mut command = sandbox.agent(programs, &directory.join(format!("agent-{number}")));
                command.args(["--", "sh", "-c", script]).env(JOIN_TOKEN, sandbox.join_token().await?);
                Running::start_apart(command)
            }
        });
        let agents = stream::iter(starts).buffered(STARTS).try_collect().await.context("cannot start the agents")?;
        let scene = Self { sandbox, agents, account };
        scene
            .until("all agents are ready", |instances, rollout| {
                all(instances, |instance| instance["ready"] == true) && rollout["state"] == "completed"
            })
            .await?;
        Ok(scene)
    }

    /// Publishes a value with which no program is ready, and waits until everybody is back.
    async fn round(&self, value: &str) -> Result<Round> {
        let (started, at) = (Instant::now(), i64::try_from(UnixMillis::now().as_millis())?);
        let bad = self.sandbox.set("HEALTH", value).await?;
        let rollout = self
            .until("everybody is back", |instances, rollout| {
                rollout["generation"] == bad
                    && rollout["state"] == "rolled-back"
                    && all(instances, |one| one["ready"] == true && one["config"]["running"] == rollout["restoredAs"])
            })
            .await?;
        let back = started.elapsed();
        let id = rollout["id"].as_str().context("a rollout without an id")?;
        let story = self.sandbox.api().get(&format!("/api/rollouts/{id}")).await?;
        let entries = story["timeline"].as_array().into_iter().flatten();
        let mut published = entries.filter(|entry| {
            entry["message"].as_str().is_some_and(|message| message.starts_with("the rollback is generation"))
        });
        let published = history::moment(&published.next().context("no rollback in the timeline")?["at"])?;
        Ok(Round {
            back,
            decided: Duration::from_millis(u64::try_from(published - at).unwrap_or_default()),
            ran: self.started_with(value)?.len(),
            touched: rollout["touched"].as_u64().context("a rollout that does not count")?,
        })
    }

    /// Agents whose program was ever started with a value.
    fn started_with(&self, value: &str) -> Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(&self.account).context("no account was kept")? {
            let path = entry?.path();
            if std::fs::read_to_string(&path)?.lines().any(|line| line == value) {
                found.insert(path);
            }
        }
        Ok(found)
    }

    /// The newest rollout, once something is so of it and of the instances.
    async fn until(&self, what: &str, is_so: impl Fn(&[Value], &Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            // First the instances: what is said of the rollout later holds for them too.
            let instances = self.sandbox.get("/instances").await?;
            let rollout = self.sandbox.get("/rollouts?limit=1").await?[0].clone();
            if is_so(instances.as_array().map_or(&[], Vec::as_slice), &rollout) {
                return Ok(rollout);
            }
            ensure!(Instant::now() < deadline, "not in {} s: {what}; the rollout is {rollout}", LIMIT.as_secs());
            sleep(LOOK).await;
        }
    }

    /// Ends the agents, all at the same time.
    async fn clear(self) -> Result<()> {
        stream::iter(self.agents).map(Running::stop).buffer_unordered(AGENTS).try_collect::<Vec<_>>().await?;
        Ok(())
    }
}

/// Whether it is so of every agent's instance, and none is missing.
fn all(instances: &[Value], is_so: impl Fn(&Value) -> bool) -> bool {
    instances.len() == AGENTS && instances.iter().all(is_so)
}
