//! What it costs to start a program through the agent: connect, fetch, unseal, check, spawn, supervise, leave; and what
//! `exec` costs, which becomes the program: with what it has kept, and when it asks.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::figure::{Figure, Reference};
use crate::process::{quiet, timed};
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};
use crate::statistics::Measurements;

const PROGRAM: &str = "/bin/true";
const TINI: &str = "/usr/bin/tini";
/// Runs of each kind, one after the other in turns, so that whatever else the machine does hits all alike.
const RUNS: usize = 60;
const WARM_UP: usize = 5;
const LIMIT: Duration = Duration::from_secs(30);

const GOAL_MS: f64 = 15.0;
/// Of `exec` with what it has kept.
const GOAL_WARM_MS: f64 = 5.0;

/// # Errors
/// A run fails.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let sandbox = Sandbox::new(programs, &directory.join("injection")).await?;
    let state = directory.join("injection-agent");
    let through_agent = || {
        let mut command = sandbox.agent(programs, &state);
        command.args(["--", PROGRAM]);
        command
    };
    let mut enrolling = through_agent();
    enrolling.env(JOIN_TOKEN, sandbox.join_token().await?);
    timed(enrolling, LIMIT).await.context("the first run, which enrols")?;

    let exec = sandbox.exec(programs, &directory.join("injection-cache")).await?;
    let exec = |options: &[&str]| {
        let mut command = exec(options);
        command.args(["--", PROGRAM]);
        command
    };

    let has_tini = Path::new(TINI).is_file();
    let (mut bare, mut tini, mut agent) = (Vec::new(), Vec::new(), Vec::new());
    let (mut asking, mut warm) = (Vec::new(), Vec::new());
    for run in 0..WARM_UP + RUNS {
        let direct = timed(quiet(PROGRAM), LIMIT).await?;
        let by_tini = if has_tini { Some(timed(through_tini(), LIMIT).await?) } else { None };
        let by_agent = timed(through_agent(), LIMIT).await?;
        let by_exec = timed(exec(&[]), LIMIT).await?;
        let by_warm_exec = timed(exec(&["--max-age", "1h"]), LIMIT).await?;
        if run >= WARM_UP {
            bare.push(direct);
            tini.extend(by_tini);
            agent.push(by_agent);
            asking.push(by_exec);
            warm.push(by_warm_exec);
        }
    }
    let median = |durations: Vec<Duration>| Measurements::of_durations(durations).map(|all| all.median());
    let bare = median(bare).context("nothing was run")?;
    let agent = Measurements::of_durations(agent).context("nothing was run")?;
    let asking = median(asking).context("nothing was run")?;
    let warm = median(warm).context("nothing was run")?;
    let tini = match median(tini) {
        Some(tini) => Reference::new("tini adds", tini - bare),
        None => Reference::absent("tini", "not installed: apt-get install tini"),
    };
    Ok(vec![
        Figure::new("injection: what the agent adds to /bin/true, median", "ms", agent.median() - bare)
            .at_most(GOAL_MS)
            .beside(Reference::new("bare /bin/true takes", bare))
            .beside(tini),
        Figure::new("injection: the whole run, 90th percentile", "ms", agent.quantile(0.9)),
        Figure::new("exec: what it adds to /bin/true with what it has kept, median", "ms", warm - bare)
            .at_most(GOAL_WARM_MS)
            .beside(Reference::new("asking the control plane adds", asking - bare)),
    ])
}

fn through_tini() -> Command {
    let mut command = quiet(TINI);
    command.args(["-s", "--", PROGRAM]);
    command
}
