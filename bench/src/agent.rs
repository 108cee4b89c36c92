//! What an agent costs its sandbox: memory, processor, threads, bytes on disk. The static build, as it ships.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use tokio::time::sleep;

use crate::figure::{Figure, Reference};
use crate::peers::{self, Peer};
use crate::process::usage;
use crate::procfs::{Usage, percent_of_core};
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};

const WARM_UP: Duration = Duration::from_secs(10);
/// Long enough for 60 samples.
const WINDOW: Duration = Duration::from_secs(60);
/// What the agent supervises, which ends by itself if everything else fails.
const PROGRAM: [&str; 2] = ["sleep", "180"];

const GOAL_RSS_MIB: f64 = 4.0;
const GOAL_CPU_PERCENT: f64 = 0.1;
const GOAL_THREADS: f64 = 1.0;
const GOAL_BINARY_MB: f64 = 5.0;

/// A process over the window.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    pub rss_mib: f64,
    /// NaN where the kernel does not add it up.
    pub pss_mib: f64,
    pub cpu_percent: f64,
    pub threads: u32,
}

impl Footprint {
    fn between(before: &Usage, after: &Usage, elapsed: Duration) -> Self {
        Self {
            // The most of the two: what is given back in the end was used all the same.
            rss_mib: before.rss_kib.max(after.rss_kib) / 1024.0,
            pss_mib: after.pss_kib.map_or(f64::NAN, |kib| kib / 1024.0),
            cpu_percent: percent_of_core(before, after, elapsed),
            threads: after.threads,
        }
    }
}

/// # Errors
/// The agent does not start, or ends during the measurement. A peer that is missing is told in its column.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let sandbox = Sandbox::new(programs, &directory.join("agent")).await?;
    let mut command = sandbox.agent(programs, &directory.join("agent-state"));
    let (listen, upstream) = (peers::free_port()?, peers::free_port()?);
    command
        .args(["--sample-interval", "1s", "--proxy", &format!("127.0.0.1:{listen}=127.0.0.1:{upstream}"), "--"])
        .args(PROGRAM)
        .env(JOIN_TOKEN, sandbox.join_token().await?);
    let agent = Running::start_apart(command)?;
    let collectd = peers::collectd(directory).await;
    let node_exporter = peers::node_exporter().await;
    wait_until_ready(&sandbox).await?;
    sleep(WARM_UP).await;

    let before = (usage(&agent)?, read(&collectd), read(&node_exporter));
    let started = Instant::now();
    sleep(WINDOW).await;
    let elapsed = started.elapsed();
    let after = (usage(&agent)?, read(&collectd), read(&node_exporter));
    ensure!(sandbox.is_ready().await?, "the agent was not connected at the end");
    agent.stop().await?;

    let peer = |before: Result<Usage, String>, after| Ok(Footprint::between(&before?, &after?, elapsed));
    let peers: [Beside; 2] = [("collectd", peer(before.1, after.1)), ("node_exporter", peer(before.2, after.2))];
    let own = Footprint::between(&before.0, &after.0, elapsed);
    Ok(figures(&own, &peers, binary_mb(&programs.agent)?))
}

/// What a peer used, or why there is none.
type Beside = (&'static str, Result<Footprint, String>);

fn figures(own: &Footprint, peers: &[Beside], binary_mb: f64) -> Vec<Figure> {
    let beside = |figure: Figure, value: fn(&Footprint) -> f64| {
        peers.iter().fold(figure, |figure, (name, footprint)| {
            let value = footprint.as_ref().map(value).map_err(Clone::clone);
            figure.beside(Reference { what: (*name).to_owned(), value })
        })
    };
    let rss = Figure::new("agent: resident memory, proxy idle", "MiB", own.rss_mib).at_most(GOAL_RSS_MIB);
    let cpu = Figure::new("agent: processor at 1 s sampling", "% of a core", own.cpu_percent).at_most(GOAL_CPU_PERCENT);
    let threads = Figure::new("agent: threads", "", f64::from(own.threads)).at_most(GOAL_THREADS);
    let mut figures = vec![
        beside(rss, |footprint| footprint.rss_mib),
        beside(cpu, |footprint| footprint.cpu_percent),
        beside(threads, |footprint| f64::from(footprint.threads)),
        Figure::new("agent: size of the static binary", "MB", binary_mb).at_most(GOAL_BINARY_MB),
    ];
    if own.pss_mib.is_finite() {
        let pss = Figure::new("agent: proportional memory (PSS), proxy idle", "MiB", own.pss_mib);
        figures.insert(1, beside(pss, |footprint| footprint.pss_mib));
    }
    figures
}

fn read(peer: &Result<Peer, String>) -> Result<Usage, String> {
    peer.as_ref().map_err(Clone::clone).and_then(|peer| peer.usage().map_err(|error| error.to_string()))
}

async fn wait_until_ready(sandbox: &Sandbox) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !sandbox.is_ready().await? {
        ensure!(Instant::now() < deadline, "the agent does not become ready");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn binary_mb(path: &Path) -> Result<f64> {
    Ok(std::fs::metadata(path).context("cannot look at the agent's binary")?.len() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_leaves_the_figures_and_says_so() {
        let own = Footprint { rss_mib: 2.0, pss_mib: 1.0, cpu_percent: 0.04, threads: 1 };
        let other = Footprint { rss_mib: 4.0, pss_mib: 2.0, cpu_percent: 0.8, threads: 11 };
        let peers: [Beside; 2] = [("one", Ok(other)), ("two", Err("not installed".to_owned()))];
        let figures = figures(&own, &peers, 3.7);
        assert_eq!(figures.len(), 5);
        assert!(figures.iter().all(|figure| figure.measured.is_ok()));
        assert_eq!(figures[2].references[0], Reference::new("one", 0.8));
        assert_eq!(figures[2].references[1], Reference::absent("two", "not installed"));
    }
}
