//! How fast a changed variable is everywhere: from the request to the last acknowledgement.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::id::{AgentId, DeploymentId};
use outrigger_protocol::seal::{SealContext, SealKeyPair, seal};
use outrigger_protocol::time::UnixMillis;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::figure::{Figure, Reference};
use crate::fleet::disconnected;
use crate::history;
use crate::stage::Stage;
use crate::statistics::{Measurements, millis};

const WARM_UP: Duration = Duration::from_secs(3);
const PUSHES: usize = 20;
/// Between two pushes, for what the one before set off.
const PAUSE: Duration = Duration::from_millis(700);
const LIMIT: Duration = Duration::from_secs(30);

const GOAL_MS: f64 = 1_000.0;

/// One push, as the agents saw it.
#[derive(Debug)]
struct Push {
    generation: u64,
    /// When the request was sent, Unix milliseconds.
    at: i64,
    /// To each agent's acknowledgement.
    acknowledged: Vec<Duration>,
}

/// # Errors
/// A push is refused, or does not reach every agent in time.
pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    stage.agents.observed.set_sampling(true);
    sleep(WARM_UP).await;
    let mut pushes = Vec::with_capacity(PUSHES);
    for number in 0..PUSHES {
        pushes.push(push(stage, number).await?);
        sleep(PAUSE).await;
    }
    let written = written_down(stage, &pushes).await?;
    let written = Measurements::new(written).context("nothing was pushed")?;
    let last = pushes.iter().filter_map(|push| push.acknowledged.iter().max().copied());
    let last = Measurements::of_durations(last).context("nothing was acknowledged")?;
    let agents = stage.size();
    let each = Measurements::of_durations(pushes.into_iter().flat_map(|push| push.acknowledged));
    let each = each.context("nothing was acknowledged")?;
    let limit = Reference::new("to seal and open them all on all cores", millis(cryptography(agents)?));
    Ok(vec![
        Figure::new(
            format!("push: variable changed to last of {agents} acknowledgements, p99 of {PUSHES}"),
            "ms",
            last.p99(),
        )
        .at_most(GOAL_MS)
        .beside(limit),
        Figure::new("push: variable changed to last acknowledgement, median", "ms", last.median()),
        Figure::new("push: variable changed to an agent's acknowledgement, median", "ms", each.median()),
        Figure::new(
            "push: variable changed to every deployment's completion written down, median",
            "ms",
            written.median(),
        ),
        Figure::new("push: agents disconnected meanwhile", "agents", disconnected(stage)).at_most(0.0),
    ])
}

async fn push(stage: &Stage, number: usize) -> Result<Push> {
    let observed = &stage.agents.observed;
    let _before = observed.take_applied();
    let path = format!("/api/config/environments/{}/variables/SETTING_1", stage.environment);
    let body = json!({ "value": format!("pushed {number}, and as long as it was") });
    let (started, at) = (Instant::now(), i64::try_from(UnixMillis::now().as_millis())?);
    let answer = stage.control_plane.api.call(Method::PUT, &path, Some(body)).await?;
    let generation = answer["generation"].as_u64().context("a change without a generation")?;
    let mut acknowledged = Vec::with_capacity(stage.size());
    while acknowledged.len() < observed.connected() {
        ensure!(started.elapsed() < LIMIT, "{} of {} acknowledged in time", acknowledged.len(), observed.connected());
        let new = observed.take_applied().into_iter().filter(|applied| applied.generation == generation);
        acknowledged.extend(new.map(|applied| applied.at.saturating_duration_since(started)));
        sleep(Duration::from_millis(20)).await;
    }
    Ok(Push { generation, at, acknowledged })
}

/// Milliseconds from each push to the moment at which the control plane had noted of the last deployment that all of
/// its agents run it ("configuration generation N running on M of M").
async fn written_down(stage: &Stage, pushes: &[Push]) -> Result<Vec<f64>> {
    let api = &stage.control_plane.api;
    let mut last = vec![0.0_f64; pushes.len()];
    for deployment in &stage.deployments {
        let events = history::events(api, deployment).await?;
        for (push, last) in pushes.iter().zip(&mut last) {
            let running = format!("generation {} running on ", push.generation);
            let is_it = |event: &&history::Entry| {
                let message = event.body["message"].as_str().unwrap_or_default();
                event.body["kind"] == "config_running" && message.contains(&running)
            };
            if let Some(noted) = events.iter().find(is_it) {
                *last = last.max((noted.at - push.at) as f64);
            }
        }
    }
    Ok(last)
}

/// How long this machine needs at least: to seal an environment for each agent, and to open it again, on all cores.
fn cryptography(agents: usize) -> Result<Duration> {
    /// Enough to be measured; the rest is arithmetic.
    const ROUNDS: u32 = 200;
    let entry = |at: usize| Entry {
        name: format!("SETTING_{at}"),
        value: Some(Zeroizing::new(format!("value {at} of a usual length"))),
        kind: VariableKind::String,
        secret: false,
        required: false,
    };
    let plain = Environment { entries: (0..20).map(entry).collect() }.encode()?;
    let context = SealContext { agent: AgentId::generate(), deployment: DeploymentId::generate(), generation: 1 };
    let pair = SealKeyPair::generate()?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let sealed = seal(&pair.public(), &plain, &context)?;
        ensure!(pair.open(&sealed, &context)? == plain, "what was sealed opens as something else");
    }
    let each = started.elapsed() / ROUNDS;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Ok(each.mul_f64(agents as f64 / cores as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_the_agents() {
        let (few, many) = (cryptography(10).unwrap(), cryptography(100_000).unwrap());
        assert!(Duration::ZERO < few && few < many);
    }
}
