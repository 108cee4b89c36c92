//! A control plane under thousands of agents: who stays connected, what an idle one costs, what a sample costs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use crate::bare_endpoint;
use crate::figure::{Figure, Reference};
use crate::process::usage;
use crate::procfs::percent_of_core;
use crate::stage::Stage;
use crate::statistics::{Measurements, micros};

const WARM_UP: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(40);

const GOAL_DISCONNECTED: f64 = 0.0;
const GOAL_KIB_PER_AGENT: f64 = 40.0;

/// # Errors
/// The control plane ends, or the bare endpoint beside it does not run.
pub async fn measure(stage: &Stage, directory: &Path) -> Result<Vec<Figure>> {
    let observed = &stage.agents.observed;
    let count = observed.connected();
    let bare = bare_endpoint::kib_per_connection(directory, count).await.context("the bare endpoint")?;

    observed.set_sampling(true);
    sleep(WARM_UP).await;
    let _warm_up = observed.take_acknowledged();
    let (before, sent_before) = (usage(&stage.control_plane.process)?, observed.batches());
    let own_before = crate::procfs::usage(std::process::id())?;
    let started = Instant::now();
    sleep(WINDOW).await;
    let elapsed = started.elapsed();
    let (after, sent) = (usage(&stage.control_plane.process)?, observed.batches() - sent_before);
    let own_after = crate::procfs::usage(std::process::id())?;
    let acknowledged = observed.take_acknowledged();
    let missing = sent.saturating_sub(acknowledged.len() as u64);
    let acknowledged = Measurements::of_durations(acknowledged).context("no sample was acknowledged")?;

    let idle = stage.idle;
    let per_sample = micros(after.cpu.saturating_sub(before.cpu)) / sent as f64;
    let generator_per_sample = micros(own_after.cpu.saturating_sub(own_before.cpu)) / sent as f64;
    Ok(vec![
        Figure::new(format!("fleet: disconnected of {} agents at 1 Hz", stage.size()), "agents", disconnected(stage))
            .at_most(GOAL_DISCONNECTED),
        Figure::new("fleet: control plane's memory per idle agent", "KiB", idle.kib_per_agent)
            .at_most(GOAL_KIB_PER_AGENT)
            .beside(Reference::new("bare tuned QUIC connection", bare)),
        Figure::new("fleet: sample to its acknowledgement, median", "ms", acknowledged.median()),
        Figure::new("fleet: sample to its acknowledgement, p99", "ms", acknowledged.p99()),
        Figure::new(format!("fleet: samples of {sent} not acknowledged at the end"), "samples", missing as f64),
        Figure::new("fleet: control plane's processor", "% of a core", percent_of_core(&before, &after, elapsed)),
        Figure::new("fleet: control plane's processor per sample, decisions included", "µs", per_sample)
            .beside(Reference::new("the generator takes", generator_per_sample)),
        Figure::new("fleet: all agents connected and configured after a restart", "s", idle.connecting.as_secs_f64()),
    ])
}

/// Agents whose session has ended since they connected, for whatever reason.
#[must_use]
pub fn disconnected(stage: &Stage) -> f64 {
    (stage.size() - stage.agents.observed.connected().min(stage.size())) as f64
}
