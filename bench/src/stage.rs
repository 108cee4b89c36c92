//! The stage for measurements at scale: a control plane with thousands of enrolled agents on it.
//!
//! Agents are enrolled first and the control plane is started anew then, so that what enrolment left behind in memory
//! is not counted for, or hidden behind, what a connected agent costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use outrigger_ingest::test_support::Fleet;
use outrigger_tests::Api;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::agents::{self, Agents, Load, Member};
use crate::control_plane::{ControlPlane, SERVER_NAME};
use crate::process::usage;
use crate::programs::Programs;

/// Agents of one deployment.
pub const AGENTS_PER_DEPLOYMENT: usize = 20;
/// What agents report while nothing happens: neither above nor below a threshold.
pub const CALM: f64 = 40.0;
/// What they report under load: just above the threshold of their policy, so that the mean of a deployment crosses it
/// only when the last of its agents has sampled the load.
pub const LOADED: f64 = 90.0;
const THRESHOLD: f64 = 89.0;
const _: () = assert!(
    (LOADED * (AGENTS_PER_DEPLOYMENT - 1) as f64 + CALM) / (AGENTS_PER_DEPLOYMENT as f64) < THRESHOLD,
    "one calm agent keeps its deployment below the threshold"
);
/// From one scale-up of a deployment to the next: each load step gets one.
pub const COOLDOWN: Duration = Duration::from_secs(4);
/// Sockets that all agents share.
const SOCKETS: usize = 32;
/// Requests to the API at a time.
const REQUESTS: usize = 32;

/// What agents cost the control plane while nothing is measured.
#[derive(Debug, Clone, Copy)]
pub struct IdleCost {
    pub kib_per_agent: f64,
    /// All agents, from the first handshake to the last answered configuration.
    pub connecting: Duration,
}

/// One deployment and the load that its agents report.
#[derive(Debug)]
pub struct Deployment {
    pub id: String,
    pub load: Arc<Load>,
}

#[derive(Debug)]
pub struct Stage {
    pub control_plane: ControlPlane,
    pub deployments: Vec<Deployment>,
    /// The one environment of all deployments.
    pub environment: String,
    pub agents: Agents,
    pub idle: IdleCost,
    size: usize,
    /// Kept, because its sockets are the agents'.
    _fleet: Arc<Fleet>,
}

impl Stage {
    /// Sets up `count` agents, connected and idle.
    ///
    /// # Errors
    /// Anything that does not work: nothing is measured on half a stage.
    pub async fn set(programs: &Programs, directory: &Path, count: usize) -> Result<Self> {
        let control_plane = ControlPlane::start(programs, &directory.join("fleet")).await?;
        let api = control_plane.api.clone();
        let (project, environment) = api.project_with(variables()).await?;
        let deployments = deploy(&api, &project, count).await?;
        let tokens = join_tokens(&api, &deployments, count).await?;
        let fleet = Arc::new(Fleet::new(control_plane.agents, SERVER_NAME, SOCKETS)?);
        let enrolled = agents::enroll(&fleet, tokens).await?;

        let control_plane = control_plane.restart(programs).await?;
        let before = settled(&control_plane).await?;
        let started = Instant::now();
        let members = enrolled.into_iter().enumerate().map(|(at, agent)| {
            let load = Arc::clone(&deployments[at / AGENTS_PER_DEPLOYMENT].load);
            Member { agent, load }
        });
        let agents = Agents::connect(&fleet, members.collect()).await?;
        let connecting = started.elapsed();
        let after = settled(&control_plane).await?;
        let idle = IdleCost { kib_per_agent: (after - before) / count as f64, connecting };
        Ok(Self { control_plane, deployments, environment, agents, idle, size: count, _fleet: fleet })
    }

    /// How many agents were connected when it was set.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The path of a deployment's resource.
    #[must_use]
    pub fn path(deployment: &Deployment, rest: &str) -> String {
        format!("/api/deployments/{}{rest}", deployment.id)
    }
}

/// Twenty variables, as a service has them.
#[must_use]
pub fn variables() -> Value {
    let variable = |at: usize| {
        let secret = at.is_multiple_of(4);
        json!({ "key": format!("SETTING_{at}"), "value": format!("value {at} of a usual length"), "isEncrypted": secret })
    };
    (0..20).map(variable).collect()
}

/// As many deployments as `agents` need.
async fn deploy(api: &Api, project: &str, agents: usize) -> Result<Vec<Deployment>> {
    let deployments = (0..agents.div_ceil(AGENTS_PER_DEPLOYMENT)).map(|at| async move {
        let changes = json!({
            "name": format!("bench-{at}"),
            "driver": "dry-run",
            "replicas": { "min": 1, "max": 1000, "initial": 1 },
            "applyStrategy": { "type": "file" },
            "sampleInterval": "1s",
            "scaling": { "cooldownUp": format!("{}ms", COOLDOWN.as_millis()), "cooldownDown": "1h" },
            "policies": [{
                "name": "load",
                "policyId": "threshold",
                "config": { "rules": [{ "metric": "cpu", "above": THRESHOLD }] },
            }],
        });
        let id = api.deployment(project, &["unused".to_owned()], changes).await?;
        api.post(&format!("/api/deployments/{id}/start"), json!({})).await?;
        let members = agents.saturating_sub(at * AGENTS_PER_DEPLOYMENT).min(AGENTS_PER_DEPLOYMENT);
        Ok::<_, anyhow::Error>(Deployment { id, load: Arc::new(Load::new(members, CALM)) })
    });
    stream::iter(deployments).buffered(REQUESTS).try_collect().await.context("cannot deploy")
}

async fn join_tokens(api: &Api, deployments: &[Deployment], count: usize) -> Result<Vec<String>> {
    let tokens = (0..count).map(|at| async move {
        let path = Stage::path(&deployments[at / AGENTS_PER_DEPLOYMENT], "/join-tokens");
        join_token(api, &path).await
    });
    stream::iter(tokens).buffered(REQUESTS).try_collect().await
}

/// One join token from the API.
///
/// # Errors
/// The API refuses.
pub async fn join_token(api: &Api, path: &str) -> Result<String> {
    let answer = api.post(path, json!({})).await.context("cannot get a join token")?;
    answer["token"].as_str().map(str::to_owned).context("an answer without a token")
}

/// The control plane's resident memory in KiB, once it has changed by less than 1 % over three seconds.
async fn settled(control_plane: &ControlPlane) -> Result<f64> {
    const QUIET: usize = 4;
    let mut readings = Vec::new();
    for _ in 0..20 {
        readings.push(usage(&control_plane.process)?.rss_kib);
        let tail = &readings[readings.len().saturating_sub(QUIET)..];
        let (low, high) = tail.iter().fold((f64::MAX, 0.0_f64), |(low, high), kib| (low.min(*kib), high.max(*kib)));
        if tail.len() == QUIET && high - low < 0.01 * high {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    readings.last().copied().context("nothing was read")
}
