//! `outrigger`: the control plane and its command line, in one binary.
//!
//! This crate is wiring. It parses ([`cli`]), loads and checks settings ([`config`]), puts the parts of the control
//! plane together and takes them apart again ([`serve`]), and is a client of its own API ([`commands`], [`demo`]).

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line talks on both

mod cli;
mod client;
mod commands;
mod config;
mod console;
mod demo;
mod logging;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use console::ConsoleError;

/// Thousands of handshakes at once leave holes in the heap of the C library that it never gives back: a quarter of what
/// an agent then costs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::CompilePolicy) {
        // Before a runtime exists: this process is one limited piece of work.
        return commands::policy::compile_from_stdin();
    }
    // reqwest and rustls take the process's provider; installing it twice is the only way this fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Server(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Login(args) => commands::login::login(args).await,
        Command::Whoami(remote) => commands::login::whoami(remote).await,
        Command::Project { command } => commands::project::run(command).await,
        Command::Env { command } => commands::env::run(command).await,
        Command::Deployment { command } => commands::deployment::run(command).await,
        Command::Logs(args) => commands::logs::run(args).await,
        Command::Metrics(args) => commands::metrics::run(args).await,
        Command::Rollout { command } => commands::rollout::run(command).await,
        Command::Template { command } => commands::template::run(command).await,
        Command::Policy { command } => commands::policy::run(command).await,
        Command::User { command } => commands::user::run(command).await,
        Command::Audit { command } => commands::audit::run(command).await,
        Command::Keys { command } => commands::keys::run(command).await,
        Command::CompilePolicy => unreachable!("main has done it"),
        Command::DemoService => demo::service::run().await,
    }
}

/// One sentence with its causes, on standard error.
fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(ConsoleError::ReaderLeft) = error.downcast_ref() {
        return ExitCode::SUCCESS;
    }
    eprintln!("outrigger: {error:#}");
    ExitCode::FAILURE
}
