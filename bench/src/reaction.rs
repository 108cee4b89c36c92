//! How fast load becomes replicas: from the moment at which it rises to the moment at which a driver has been called.
//!
//! The policy of each deployment asks for more when the mean of all its agents has crossed a threshold that it crosses
//! only with the last of them. So there is one sample that decides, and its time is known.

use std::time::Duration;

use anyhow::{Context as _, Result};
use outrigger_protocol::time::UnixMillis;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agents::SAMPLE_INTERVAL;
use crate::figure::{Figure, Reference};
use crate::fleet::disconnected;
use crate::history;
use crate::prometheus;
use crate::stage::{CALM, COOLDOWN, LOADED, Stage};
use crate::statistics::{Measurements, millis};
use crate::workload::Noise;

const WARM_UP: Duration = Duration::from_secs(5);
const ROUNDS: usize = 8;
/// How long the load of a round stays, after the last deployment got it.
const HELD: Duration = Duration::from_millis(2_500);
/// From one round to the next: all samples of the load are gone and the cooldown is over.
const ROUND: Duration = Duration::from_millis(7_000);
const _: () = assert!(
    SAMPLE_INTERVAL.as_millis() + HELD.as_millis() + COOLDOWN.as_millis()
        < ROUND.as_millis() + SAMPLE_INTERVAL.as_millis()
);

const GOAL_STEP_MS: f64 = 1_500.0;
const GOAL_DECISION_MS: f64 = 50.0;

/// The control plane's own summary of it: only it knows when a sample arrived and when a commit was answered.
const DECISION: &str = "outrigger_engine_sample_to_decision_seconds";

/// A rise of the load of one deployment. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy)]
struct Step {
    deployment: usize,
    at: i64,
    /// When the last of its agents had sampled it.
    sampled: Option<i64>,
}

/// # Errors
/// The control plane does not answer.
pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    stage.agents.observed.set_sampling(true);
    sleep(WARM_UP).await;
    let mut noise = Noise::new(7);
    let mut steps = Vec::new();
    for _ in 0..ROUNDS {
        let next = Instant::now() + ROUND;
        let mut raised = raise(stage, &mut noise).await;
        sleep(HELD).await;
        for step in &mut raised {
            let load = &stage.deployments[step.deployment].load;
            step.sampled = load.complete().map(unix);
            load.set(CALM);
        }
        steps.extend(raised);
        sleep_until(next).await;
    }
    let calls = delays(stage, &steps).await?;
    let summary = stage.control_plane.metrics().await?;
    let agents = stage.size();
    let step = Measurements::new(calls.step).context("no load was raised")?;
    let deciding = Measurements::new(calls.deciding).context("no load was sampled")?;
    let decision = |quantile: &str| {
        let seconds = prometheus::value(&summary, DECISION, &[("quantile", quantile)]);
        seconds.map(|seconds| seconds * 1e3).with_context(|| format!("no {DECISION} in the metrics"))
    };
    Ok(vec![
        Figure::new(format!("reaction: load step to driver call, p99 of {} steps", step.count()), "ms", step.p99())
            .at_most(GOAL_STEP_MS)
            .beside(Reference::new("the sampling interval alone", millis(SAMPLE_INTERVAL))),
        Figure::new("reaction: load step to driver call, median", "ms", step.median()),
        Figure::new(
            format!("reaction: sample received to decision stored at {agents} agents, p99"),
            "ms",
            decision("0.99")?,
        )
        .at_most(GOAL_DECISION_MS),
        Figure::new("reaction: sample received to decision stored, median", "ms", decision("0.5")?),
        Figure::new("reaction: the sample that decides, taken, to driver call, p99", "ms", deciding.p99()),
        Figure::new("reaction: agents disconnected meanwhile", "agents", disconnected(stage)).at_most(0.0),
    ])
}

/// Raises the load of each deployment at its own moment within one sampling interval.
async fn raise(stage: &Stage, noise: &mut Noise) -> Vec<Step> {
    let begin = Instant::now();
    let mut order: Vec<_> = (0..stage.deployments.len()).map(|at| (noise.within(SAMPLE_INTERVAL), at)).collect();
    order.sort_unstable();
    let mut steps = Vec::with_capacity(order.len());
    for (offset, deployment) in order {
        sleep_until(begin + offset).await;
        steps.push(Step { deployment, at: unix(UnixMillis::now()), sampled: None });
        stage.deployments[deployment].load.set(LOADED);
    }
    steps
}

/// Milliseconds to the driver's call. What was never answered counts as a whole round.
#[derive(Debug, Default)]
struct Delays {
    /// From the rise of the load.
    step: Vec<f64>,
    /// From the last agent's sample of it.
    deciding: Vec<f64>,
}

async fn delays(stage: &Stage, steps: &[Step]) -> Result<Delays> {
    let mut delays = Delays::default();
    for (at, deployment) in stage.deployments.iter().enumerate() {
        let created: Vec<i64> = history::events(&stage.control_plane.api, deployment)
            .await?
            .into_iter()
            .filter(|event| event.body["kind"] == "instance_created")
            .map(|event| event.at)
            .collect();
        for step in steps.iter().filter(|step| step.deployment == at) {
            delays.step.push(delay(step.at, &created));
            delays.deciding.extend(step.sampled.map(|sampled| delay(sampled, &created)));
        }
    }
    Ok(delays)
}

fn unix(at: UnixMillis) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// From a step to the first call after it.
fn delay(step: i64, calls: &[i64]) -> f64 {
    let round = millis(ROUND);
    let first = calls.iter().find(|call| **call >= step).map_or(round, |call| (call - step) as f64);
    first.min(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_answered_by_the_first_call_after_it_or_not_at_all() {
        assert_eq!(delay(1_000, &[900, 1_700, 9_000]), 700.0);
        assert_eq!(delay(1_000, &[900]), millis(ROUND));
        assert_eq!(delay(1_000, &[90_000]), millis(ROUND));
    }
}
