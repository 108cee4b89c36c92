//! A project's data key is replaced under 100,000 secrets, while somebody reads them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use outrigger_tests::Api;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::control_plane::ControlPlane;
use crate::figure::{Figure, Reference};
use crate::programs::Programs;
use crate::statistics::Measurements;

/// As many as a project may have.
const ENVIRONMENTS: usize = 500;
const SECRETS_EACH: usize = 200;
const SECRETS: usize = ENVIRONMENTS * SECRETS_EACH;
/// Changes to the API at a time while it is filled.
const REQUESTS: usize = 8;

const READERS: usize = 2;
/// Of each reader; one read of all of an environment's effective variables, decrypted and resolved.
const BETWEEN_READS: Duration = Duration::from_millis(20);
/// How long it is read before, for comparison.
const CALM: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(300);

const GOAL_MS: f64 = 10.0;

/// # Errors
/// Something is refused, lost, or does not end.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let control_plane = ControlPlane::start(programs, &directory.join("keys")).await?;
    let api = &control_plane.api;
    let project = text(&api.post("/api/projects", json!({ "name": "bench" })).await?, "id")?;
    let environments = fill(api, &project).await?;

    let calm = reads(api, &environments, sleep(CALM)).await?;
    let started = Instant::now();
    let rotation = api.post("/api/admin/keys/rotate", json!({ "kind": "data", "projectId": project })).await?;
    let path = format!("/api/admin/keys/rotations/{}", text(&rotation, "id")?);
    let finished = async {
        loop {
            let rotation = api.get(&path).await?;
            if rotation["state"] == "done" {
                return Ok(rotation);
            }
            ensure!(started.elapsed() < LIMIT, "the rotation does not end: {rotation}");
            sleep(Duration::from_millis(100)).await;
        }
    };
    let mut outcome = None;
    let meanwhile = reads(api, &environments, async { outcome = Some(finished.await) }).await?;
    let elapsed = started.elapsed();
    let outcome = outcome.context("nobody waited for the rotation")??;
    ensure!(outcome["done"] == SECRETS && outcome["unreadable"] == 0, "not every secret was sealed anew: {outcome}");
    control_plane.process.stop().await?;
    Ok(vec![
        Figure::new(
            format!("keys: reading an environment while {SECRETS} secrets get a new key, p99"),
            "ms",
            meanwhile.p99(),
        )
        .at_most(GOAL_MS)
        .beside(Reference::new("the same before", calm.p99())),
        Figure::new("keys: reading an environment meanwhile, median", "ms", meanwhile.median())
            .beside(Reference::new("the same before", calm.median())),
        Figure::new(format!("keys: {SECRETS} secrets under a new key"), "s", elapsed.as_secs_f64()),
    ])
}

/// Environments with secrets in them.
async fn fill(api: &Api, project: &str) -> Result<Vec<String>> {
    let all = (0..ENVIRONMENTS).map(|number| async move {
        let path = format!("/api/config/projects/{project}/environments");
        let body = json!({ "environment": "production", "name": format!("e{number}") });
        let environment = text(&api.post(&path, body).await?, "id")?;
        let variable = |at: usize| {
            let value = format!("secret {at} of environment {number}, of a usual length");
            json!({ "key": format!("SECRET_{at}"), "value": value, "isEncrypted": true })
        };
        let variables: Value = (0..SECRETS_EACH).map(variable).collect();
        let path = format!("/api/config/environments/{environment}/variables");
        api.call(Method::PATCH, &path, Some(json!({ "variables": variables }))).await?;
        Ok::<_, anyhow::Error>(environment)
    });
    stream::iter(all).buffered(REQUESTS).try_collect().await.context("cannot fill the control plane")
}

/// How long reads take until something has ended. Each is due at its time, whatever became of the one before: one that
/// has to wait for another counts with its wait.
async fn reads(api: &Api, environments: &[String], until: impl Future<Output = ()>) -> Result<Measurements> {
    let over = Arc::new(AtomicBool::new(false));
    let readers = (0..READERS).map(|reader| {
        let over = Arc::clone(&over);
        async move {
            let mut took = Vec::new();
            let mut due = interval(BETWEEN_READS);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut at = reader;
            while !over.load(Ordering::Relaxed) {
                let began = due.tick().await;
                let environment = &environments[at % environments.len()];
                // A stride that meets every environment, and never the one that was just read.
                at += 7 * READERS + 1;
                let path = format!("/api/config/environments/{environment}/variables?effective=true");
                let found = api.get(&path).await?;
                took.push(began.elapsed());
                let found = found.as_array().map_or(0, Vec::len);
                ensure!(found == SECRETS_EACH, "an environment was read with {found} of {SECRETS_EACH} secrets");
            }
            Ok(took)
        }
    });
    let end = async {
        until.await;
        over.store(true, Ordering::Relaxed);
    };
    let (took, ()) = tokio::join!(try_join_all(readers), end);
    Measurements::of_durations(took?.into_iter().flatten()).context("nothing was read")
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no `{field}` in {value}"))
}
