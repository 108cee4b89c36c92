//! `outrigger-agent`: harden, parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use outrigger_agent::app::{self, Ended};
use outrigger_agent::config::{self, Invocation, RunConfig};
use outrigger_agent::{exec, hardening, logging, session, status};

/// The agent itself failed; the program may not even have been started.
const AGENT_FAILED: u8 = 1;

fn main() -> ExitCode {
    // Before any thread, and before anything is read.
    let startup = hardening::harden();
    match config::parse(startup) {
        Ok(Invocation::Run(config)) => run(*config),
        Ok(Invocation::Exec(config)) => {
            logging::to_stderr(&config.logging);
            end(exec::run(*config))
        }
        Ok(Invocation::Status { state_dir, output }) => match status::ask(&state_dir, output) {
            Ok(text) => print(&text),
            Err(error) => fail(&session::text(&error)),
        },
        Err(error) => fail(&session::text(&error)),
    }
}

fn run(config: RunConfig) -> ExitCode {
    hardening::close_inherited_on_exec();
    logging::to_stderr(&config.logging);
    end(app::run(config))
}

fn end(ended: Ended) -> ExitCode {
    if let Some(complaint) = ended.complaint {
        complain(&complaint);
    }
    // At once: nothing that is still open could be worth the time of whoever waits for the exit code.
    std::process::exit(ended.exit_code)
}

fn fail(complaint: &str) -> ExitCode {
    complain(complaint);
    ExitCode::from(AGENT_FAILED)
}

fn complain(complaint: &str) {
    // Whoever closed stderr does not want to hear it.
    let _ = writeln!(std::io::stderr(), "outrigger-agent: {complaint}");
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(AGENT_FAILED),
    }
}
