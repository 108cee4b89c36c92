//! The command line, as data.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use outrigger_bench::{bare_endpoint, logs};

/// Measures what Outrigger promises, beside its peers and the limits of this machine
#[derive(Debug, Parser)]
#[command(name = "outrigger-bench", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Simulated agents of `fleet`, `reaction` and `push`
    #[arg(long, global = true, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) agents: u32,
    /// Where data is written meanwhile; must be on a real disk, or writes cost nothing [default: cargo's target directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Also write the table to a file: the block that belongs into docs/benchmarks.md
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Everything, in about ten minutes
    All,
    /// What the agent adds to the start of a program
    Injection,
    /// Memory, processor, threads and size of an agent
    Agent,
    /// The agent's reverse proxy beside nginx
    Proxy,
    /// A bad value that is tried on a tenth of fifty real agents, and goes back
    Canary,
    /// Thousands of agents on one control plane
    Fleet,
    /// Load step to driver call, sample to decision
    Reaction,
    /// A policy's call, and the end of one that spins
    Policy,
    /// A changed variable to the last acknowledgement
    Push,
    /// A durable write
    Store,
    /// Bytes a sample of history, beside VictoriaMetrics and Prometheus, and how fast it is read
    History,
    /// A data key replaced under 100,000 secrets
    Keys,
    /// A batch to a frame and back
    Codec,
    /// A line of a program to whoever follows
    Logs,
    /// A program that writes 100 MB a second, and what its agent does meanwhile
    LogStorm,
    /// A QUIC endpoint with nothing behind it, for comparison
    #[command(name = bare_endpoint::COMMAND, hide = true)]
    BareEndpoint { directory: PathBuf },
    /// The program whose lines are followed
    #[command(name = logs::COMMAND, hide = true)]
    WriteLines,
}
