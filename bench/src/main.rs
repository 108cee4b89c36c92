//! `outrigger-bench`: measures, prints one table, leaves nothing running.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line talks on both

mod cli;
mod run;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use cli::Cli;

/// As in the control plane: the bare endpoint that it is compared with is this program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let outcome = runtime.block_on(until_signalled(cli));
    // A measurement that blocks a thread does not keep an interrupted run from ending.
    runtime.shutdown_background();
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// Runs until it is done or told to stop. Dropping the run ends every process that it started.
async fn until_signalled(cli: Cli) -> anyhow::Result<bool> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = run::run(cli) => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminated.recv() => anyhow::bail!("terminated"),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("outrigger-bench: {error:#}");
    ExitCode::FAILURE
}
