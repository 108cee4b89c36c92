//! A program that writes 100 MB a second, and what its agent still does for everybody else: how fast a changed variable
//! is applied, how fast it answers, and what it takes of the machine, before the storm and in it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use serde_json::json;
use tokio::time::sleep;

use crate::figure::{Figure, Reference};
use crate::process::usage;
use crate::procfs::percent_of_core;
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};
use crate::statistics::Measurements;

/// Of a hundred bytes each; `timeout` ends the storm if everything else fails.
const LINE: &str = "2026-01-01T00:00:00Z INFO a line of a hundred bytes, as a program writes them in a loop gone wrong";
const PUSHES: usize = 40;
const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(30);
/// Long enough for the burst that passes the limit to be over.
const WARM_UP: Duration = Duration::from_secs(3);

/// What the storm has to be for the figures to say anything.
const LEAST_MB_PER_SECOND: f64 = 100.0;
/// Of memory beside the calm: a second's burst in the pipeline and on its way.
const GOAL_GROWTH_MIB: f64 = 4.0;
/// Of a push's median, in milliseconds: what two busy cores make of a scheduler's turn.
const GOAL_DELAY_MS: f64 = 20.0;

/// One weather.
#[derive(Debug)]
struct Weather {
    pushes: Measurements,
    rss_mib: f64,
    cpu_percent: f64,
    mb_per_second: f64,
}

/// # Errors
/// The agent does not start, ends in the storm, or the storm is none.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let changes = json!({ "applyStrategy": { "type": "file", "bakeTime": "0s" } });
    let sandbox = Sandbox::deploying(programs, &directory.join("storm"), changes).await?;
    let go = directory.join("storm-go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; exec timeout 120 yes '{LINE}'", go.display());
    let mut command = sandbox.agent(programs, &directory.join("storm-agent"));
    command
        .arg("--env-file")
        .arg(directory.join("storm-env"))
        .args(["--", "sh", "-c", &script])
        .env(JOIN_TOKEN, sandbox.join_token().await?)
        .stdout(Stdio::null());
    let agent = Running::start_apart(command)?;
    let deadline = Instant::now() + LIMIT;
    while !sandbox.is_ready().await? {
        ensure!(Instant::now() < deadline, "the agent does not become ready");
        sleep(PAUSE).await;
    }
    let calm = weather(&sandbox, &agent, "calm").await?;
    std::fs::write(&go, "").context("cannot begin the storm")?;
    sleep(WARM_UP).await;
    let storm = weather(&sandbox, &agent, "storm").await?;
    ensure!(sandbox.is_ready().await?, "the agent was not connected at the end");
    agent.stop().await?;
    Ok(figures(&calm, &storm))
}

async fn weather(sandbox: &Sandbox, agent: &Running, name: &str) -> Result<Weather> {
    let (before, read, started) = (usage(agent)?, bytes_read(agent)?, Instant::now());
    let mut pushes = Vec::with_capacity(PUSHES);
    for number in 0..PUSHES {
        pushes.push(push(sandbox, &format!("{name} {number}")).await?);
        sleep(PAUSE).await;
    }
    let (after, elapsed) = (usage(agent)?, started.elapsed());
    Ok(Weather {
        pushes: Measurements::of_durations(pushes).context("nothing was pushed")?,
        rss_mib: before.rss_kib.max(after.rss_kib) / 1024.0,
        cpu_percent: percent_of_core(&before, &after, elapsed),
        mb_per_second: (bytes_read(agent)?.saturating_sub(read)) as f64 / 1e6 / elapsed.as_secs_f64(),
    })
}

/// From the request to the moment at which the control plane has the agent's answer.
async fn push(sandbox: &Sandbox, value: &str) -> Result<Duration> {
    let started = Instant::now();
    let generation = sandbox.set("SETTING_1", value).await?;
    loop {
        let instances = sandbox.get("/instances").await?;
        if instances.as_array().into_iter().flatten().any(|one| one["config"]["running"] == generation) {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < LIMIT, "generation {generation} is not applied");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Everything that the agent has read since it was started (proc(5)): in a storm, the storm.
fn bytes_read(agent: &Running) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/io", agent.pid()?)).context("cannot look at the agent")?;
    let read = text.lines().find_map(|line| line.strip_prefix("rchar: ")).context("no rchar in /proc/PID/io")?;
    read.trim().parse().context("rchar is a number")
}

fn figures(calm: &Weather, storm: &Weather) -> Vec<Figure> {
    let beside = |figure: Figure, value: f64| figure.beside(Reference::new("without the storm", value));
    let delay = Figure::new(
        format!("log storm: variable changed to acknowledgement, median of {}, in a storm", storm.pushes.count()),
        "ms",
        storm.pushes.median(),
    );
    let memory = Figure::new("log storm: agent's resident memory", "MiB", storm.rss_mib);
    let rate = format!("log storm: agent's processor, at {:.0} MB/s read", storm.mb_per_second);
    let mut figures = vec![
        beside(delay.at_most(calm.pushes.median() + GOAL_DELAY_MS), calm.pushes.median()),
        beside(
            Figure::new("log storm: variable changed to acknowledgement, p99, in a storm", "ms", storm.pushes.p99()),
            calm.pushes.p99(),
        ),
        beside(memory.at_most(calm.rss_mib + GOAL_GROWTH_MIB), calm.rss_mib),
        beside(Figure::new(rate, "% of a core", storm.cpu_percent), calm.cpu_percent),
    ];
    if storm.mb_per_second < LEAST_MB_PER_SECOND {
        let why = format!("the storm was of {:.0} MB/s, not {LEAST_MB_PER_SECOND:.0}", storm.mb_per_second);
        figures.push(Figure::failed("log storm", why));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weather(push_ms: f64, rss_mib: f64, mb_per_second: f64) -> Weather {
        let pushes = Measurements::new([push_ms]).unwrap();
        Weather { pushes, rss_mib, cpu_percent: 10.0, mb_per_second }
    }

    #[test]
    fn goals_are_held_to_the_calm_of_the_same_run() {
        let figures = figures(&weather(5.0, 3.0, 0.0), &weather(7.0, 8.0, 300.0));
        assert_eq!(figures.len(), 4);
        assert_eq!((figures[0].goal, figures[2].goal), (Some(25.0), Some(7.0)));
        assert_eq!(figures[2].references, [Reference::new("without the storm", 3.0)]);
    }

    #[test]
    fn a_storm_that_was_none_is_told() {
        let figures = figures(&weather(5.0, 3.0, 0.0), &weather(7.0, 4.0, 20.0));
        assert!(figures.last().is_some_and(|figure| figure.measured.is_err()));
    }
}
