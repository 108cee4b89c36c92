//! `outrigger demo`: the whole loop on one machine, in a minute.
//!
//! A control plane on loopback, a service of one to four instances, load that rises and falls, a secret that changes
//! while everything runs. The demo is a client of the admin API like any other: what it shows, a user can do.

pub(crate) mod agent_binary;
mod keys;
mod load;
mod scenario;
mod screen;
pub(crate) mod service;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::config::{Config, Layers, SettingFlags, Sources};
use crate::console;
use crate::serve::{ControlPlane, random_text};
use load::LoadState;
use scenario::Scenario;
use screen::Screen;
use view::View;

/// How often the API is asked and the screen drawn.
const REFRESH: Duration = Duration::from_millis(500);
/// How often a line tells the numbers, on a pipe.
const SUMMARY: Duration = Duration::from_secs(3);
/// When the secret changes, counted from the first ready instance; then once in every period of the load.
const FIRST_PUSH: Duration = Duration::from_secs(13);
/// How long stopping may take before the demo gives up and says so.
const STOP: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// End after this many seconds; without it ctrl-c does
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Keep the data here instead of in a temporary directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port of the admin API; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

/// The data directory and, where it is ours to remove, the guard that does.
struct DataDir {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl DataDir {
    fn open(asked: Option<PathBuf>) -> anyhow::Result<Self> {
        match asked {
            Some(path) => Ok(Self { path, _temporary: None }),
            None => {
                let temporary = tempfile::Builder::new().prefix("outrigger-demo-").tempdir()?;
                Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
            }
        }
    }
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let agent = agent_binary::find_or_build().await?;
    let data = DataDir::open(args.data_dir)?;
    let flags = SettingFlags::default()
        .with("data-dir", data.path.display().to_string())
        .with("http-listen", format!("127.0.0.1:{}", args.port))
        .with("agents-listen", "127.0.0.1:0".to_owned())
        .with("process-agent-binary", agent.display().to_string());
    let layers = Layers::load(&Sources { config: None, env: None, variables: &[], flags: &flags })?;
    let config = Config::compile(&layers)?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create the data directory {}", config.data_dir.display()))?;
    let log_filter = crate::logging::to_file(&config)?;

    let control_plane = ControlPlane::start(config, log_filter).await?;
    let outcome = play(&control_plane, args.duration.map(Duration::from_secs)).await;
    control_plane.drain().await;
    outcome
}

/// Plays until the time is over or a signal says so, then stops everything that it started.
async fn play(control_plane: &ControlPlane, duration: Option<Duration>) -> anyhow::Result<()> {
    let base = format!("http://{}", control_plane.http_address());
    let token = control_plane.operator_token();
    let client = Client::new(&base, Some(token.clone()))?;
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let service = [this.display().to_string(), "demo-service".to_owned()];
    let scenario = Scenario::create(client, &service, &random_text()).await?;

    let header = Header::new(control_plane, token.expose(), &scenario.deployment);
    let load = Arc::new(LoadState::default());
    let generator = tokio::spawn(load::generate(Arc::clone(&load)));
    let mut screen = Screen::open(header)?;
    let mut view = View::default();
    let draws = screen.draws();
    let ended_by_key = async move { if draws { keys::end().await } else { std::future::pending().await } };
    let shown = tokio::select! {
        () = ended_by_key => Ok(()),
        () = crate::signals::terminated() => Ok(()),
        shown = show(&scenario, &load, &mut screen, &mut view, duration) => shown,
    };
    generator.abort();
    screen.close();
    let (answered, failed) = (load.answered.load(Ordering::Relaxed), load.failed.load(Ordering::Relaxed));
    let told = console::line(format_args!("stopping: {answered} requests answered, {failed} failed"));
    // Whatever went wrong above, what was started is stopped.
    let stopped = stop(&scenario).await;
    shown.and(stopped).and(told.map_err(Into::into))
}

/// How to look at it from another terminal.
struct Header {
    /// Complete, for whoever reads a pipe.
    lines: Vec<String>,
    /// Short, because a terminal cuts what is wider than itself.
    screen: Vec<String>,
}

impl Header {
    fn new(control_plane: &ControlPlane, token: &str, deployment: &str) -> Self {
        let base = format!("http://{}", control_plane.http_address());
        let addresses = format!("API            {base}   (agents: {} over QUIC)", control_plane.agents_address());
        let curl = format!("curl -H 'Authorization: Bearer {token}' {base}/api/deployments/{deployment}");
        let short = r#"curl -H "Authorization: Bearer $OUTRIGGER_TOKEN" $OUTRIGGER_URL/api/deployments/$ID"#;
        Self {
            lines: vec![
                addresses.clone(),
                format!("operator token {token}"),
                format!("{curl}/status"),
                format!("{curl}/decisions"),
                format!("{curl}/scale -H 'Content-Type: application/json' -d '{{\"replicas\":2}}'"),
            ],
            screen: vec![
                addresses,
                format!("export OUTRIGGER_URL={base} ID={deployment}"),
                format!("export OUTRIGGER_TOKEN={token}"),
                format!("{short}/status"),
                format!("{short}/decisions"),
                format!("{short}/events"),
            ],
        }
    }
}

async fn show(
    scenario: &Scenario,
    load: &LoadState,
    screen: &mut Screen,
    view: &mut View,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next_push = FIRST_PUSH;
    let mut next_summary = Duration::ZERO;
    let mut answered = String::new();
    while duration.is_none_or(|limit| started.elapsed() < limit) {
        ticks.tick().await;
        let status = scenario.status().await?;
        let fresh = view.update(&status, &scenario.instances().await?, &scenario.events().await?);
        fresh.iter().try_for_each(|line| screen.say(line))?;
        load.set_targets(view.endpoints());

        let elapsed = started.elapsed();
        if elapsed >= next_push && view.ready > 0 {
            next_push = elapsed + load::PERIOD;
            let secret = random_text();
            let generation = scenario.change_secret(&secret).await?;
            tell(
                screen,
                view,
                format!("changed API_KEY to {} (generation {generation})", service::fingerprint(&secret)),
            )?;
        }
        let answer = load.last_answer();
        if answer != answered && !answer.is_empty() {
            tell(screen, view, format!("the service answers: {answer}"))?;
            answered = answer;
        }
        if elapsed >= next_summary {
            next_summary = elapsed + SUMMARY;
            screen.say(&view.summary())?;
        }
        screen.draw(view)?;
    }
    Ok(())
}

fn tell(screen: &Screen, view: &mut View, line: String) -> anyhow::Result<()> {
    screen.say(&line)?;
    view.tell(line);
    Ok(())
}

async fn stop(scenario: &Scenario) -> anyhow::Result<()> {
    scenario.stop().await?;
    let stopped = async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            if scenario.status().await?["status"] == "STOPPED" {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(STOP, stopped).await.context("the instances did not stop in time")?
}
