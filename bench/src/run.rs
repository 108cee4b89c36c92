//! Which measurements belong to a command, and in which order they run: never two at a time.

use std::path::Path;

use anyhow::{Context as _, Result};
use outrigger_bench::figure::{Figure, Verdict};
use outrigger_bench::machine::Machine;
use outrigger_bench::programs::Programs;
use outrigger_bench::report::Report;
use outrigger_bench::stage::Stage;
use outrigger_bench::{
    agent, bare_endpoint, canary, codec, fleet, history_file, injection, keys, log_storm, logs, policy, proxy, push,
    reaction, store,
};
use tokio::task::spawn_blocking;

use crate::cli::{Cli, Command};

/// Measures and prints. `false` when something could not be measured; a missed goal is a result.
pub(crate) async fn run(cli: Cli) -> Result<bool> {
    if let Command::BareEndpoint { directory } = &cli.command {
        bare_endpoint::serve(directory).await?;
        return Ok(true);
    }
    if cli.command == Command::WriteLines {
        spawn_blocking(logs::write_lines).await.context("the writer was cut off")??;
        return Ok(true);
    }
    let programs = Programs::ready().await?;
    let machine = Machine::describe();
    let parent = cli.directory.as_deref().unwrap_or(&programs.target);
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(parent).context("cannot make a directory")?;
    let mut run = Run { programs, directory: directory.path(), agents: cli.agents as usize, figures: Vec::new() };
    run.measure(&cli.command).await;
    let report = Report {
        at: jiff::Timestamp::now(),
        command: command_line(),
        notes: machine.caveats(),
        machine,
        figures: run.figures,
    };
    let text = report.to_string();
    println!("{text}");
    if let Some(path) = &cli.markdown {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.count(Verdict::NotMeasured) == 0)
}

/// How to get the same table again.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p outrigger-bench -- {}", arguments.join(" "))
}

struct Run<'a> {
    programs: Programs,
    directory: &'a Path,
    agents: usize,
    figures: Vec<Figure>,
}

impl Run<'_> {
    async fn measure(&mut self, command: &Command) {
        let wanted = |one: Command| *command == Command::All || *command == one;
        if wanted(Command::Injection) {
            progress("injection");
            let figures = injection::measure(&self.programs, self.directory).await;
            self.keep("injection", figures);
        }
        if wanted(Command::Agent) {
            progress("agent");
            let figures = agent::measure(&self.programs, self.directory).await;
            self.keep("agent", figures);
        }
        if wanted(Command::Proxy) {
            progress("proxy");
            let figures = proxy::measure(&self.programs, self.directory).await;
            self.keep("proxy", figures);
        }
        if wanted(Command::Canary) {
            progress("canary");
            let figures = canary::measure(&self.programs, self.directory).await;
            self.keep("canary", figures);
        }
        if wanted(Command::Logs) {
            progress("logs");
            let figures = logs::measure(&self.programs, self.directory).await;
            self.keep("logs", figures);
        }
        if wanted(Command::LogStorm) {
            progress("log storm");
            let figures = log_storm::measure(&self.programs, self.directory).await;
            self.keep("log storm", figures);
        }
        if wanted(Command::Policy) {
            self.keep_blocking("policy", policy::measure).await;
        }
        if wanted(Command::Codec) {
            self.keep_blocking("codec", codec::measure).await;
        }
        if wanted(Command::Store) {
            progress("store");
            let figures = store::measure(self.directory).await;
            self.keep("store", figures);
        }
        if wanted(Command::History) {
            progress("history");
            let figures = history_file::measure(self.directory).await;
            self.keep("history", figures);
        }
        if wanted(Command::Keys) {
            progress("keys");
            let figures = keys::measure(&self.programs, self.directory).await;
            self.keep("keys", figures);
        }
        if [Command::Fleet, Command::Reaction, Command::Push].into_iter().any(wanted) {
            self.measure_on_stage(wanted).await;
        }
    }

    /// Those that need thousands of agents share them.
    async fn measure_on_stage(&mut self, wanted: impl Fn(Command) -> bool) {
        progress("stage");
        let stage = match Stage::set(&self.programs, self.directory, self.agents).await {
            Ok(stage) => stage,
            Err(error) => return self.keep("stage", Err(error)),
        };
        if wanted(Command::Fleet) {
            progress("fleet");
            let figures = fleet::measure(&stage, self.directory).await;
            self.keep("fleet", figures);
        }
        if wanted(Command::Reaction) {
            progress("reaction");
            let figures = reaction::measure(&stage).await;
            self.keep("reaction", figures);
        }
        if wanted(Command::Push) {
            progress("push");
            let figures = push::measure(&stage).await;
            self.keep("push", figures);
        }
    }

    async fn keep_blocking(&mut self, name: &str, measure: fn() -> Result<Vec<Figure>>) {
        progress(name);
        let figures = spawn_blocking(measure).await.context("the measurement was cut off").flatten();
        self.keep(name, figures);
    }

    /// A measurement that fails is a row of its own; the others go on.
    fn keep(&mut self, name: &str, figures: Result<Vec<Figure>>) {
        match figures {
            Ok(figures) => self.figures.extend(figures),
            Err(error) => self.figures.push(Figure::failed(name, one_line(&error))),
        }
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn progress(name: &str) {
    eprintln!("measuring: {name}");
}
