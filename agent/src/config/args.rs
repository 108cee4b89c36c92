//! The command line as it is written. Nothing outside of [`super`] sees these types.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use outrigger_protocol::metric::SAMPLE_INTERVALS;

use super::exec::{self, ExecArgs};
use super::logging::LoggingArgs;
use super::observed::ObservedArgs;
use super::proxy::ProxyArgs;
use super::{Assignment, bytes, duration};
use crate::environment::Inherit;
use crate::spool;
use crate::supervisor::RestartPolicy;

/// Some exporters take long to answer, and what they tell of changes seldom.
const SCRAPE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Runs a program with the environment that its control plane holds for it, and keeps both informed.
#[derive(Debug, Parser)]
#[command(name = "outrigger-agent", version, max_term_width = 100, subcommand_required = true)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a program with its environment and supervise it.
    #[command(long_about = RUN, after_help = EXIT_CODES)]
    Run(Box<RunArgs>),
    /// Run one command with an environment that an API token may have.
    #[command(long_about = exec::ABOUT, after_help = exec::EXIT_CODES)]
    Exec(Box<ExecArgs>),
    /// Show what the agent of a state directory is doing.
    #[command(long_about = STATUS)]
    Status(StatusArgs),
}

const RUN: &str = "Start a program with its environment and supervise it.

The agent connects to the control plane, enrols with a one-time join token when the state directory holds no \
identity that is accepted there, receives the environment sealed to its own key, checks it and starts the program with it. While the \
program runs, the agent forwards signals, reaps orphans, measures, ships logs and applies new configuration. When \
the control plane cannot be reached, the last configuration that worked is used, unless --require-fresh.";

const EXIT_CODES: &str = "Exit codes of `run`: the program's own (128 + n when signal n ended it), 1 when the agent \
failed, 2 for a wrong command line, 126 when the program cannot be executed, 127 when it was not found.";

const STATUS: &str = "Show what the agent of a state directory is doing: its connection, the configuration that runs, \
the last one that failed, the program and what waits to be sent. Never shows a value of a variable.

Exit code 0 when an agent answered, 1 when none runs there.";

#[derive(Debug, Args)]
#[command(next_line_help = true)]
pub(crate) struct RunArgs {
    /// Address of the control plane's agent port, for example 127.0.0.1:7701.
    #[arg(long, value_name = "HOST:PORT", env = "OUTRIGGER_CONTROL_PLANE", value_parser = host_port)]
    #[arg(help_heading = "Control plane")]
    pub control_plane: String,

    /// Name that the control plane's certificate must carry.
    #[arg(long, value_name = "NAME", env = "OUTRIGGER_SERVER_NAME", default_value = "outrigger")]
    #[arg(help_heading = "Control plane")]
    pub server_name: String,

    /// Certificate of the control plane's CA (PEM or DER). Without it, the CA is the one whose fingerprint the join
    /// token carries, and after enrolment the one that was stored then.
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CA_FILE", help_heading = "Control plane")]
    pub ca_file: Option<PathBuf>,

    /// File with a one-time join token, best mode 0400 on tmpfs. Read only when there is no identity yet, when its
    /// certificate has expired, or when the control plane refuses it (revoked or unknown) before the program was
    /// started: then another token than the one that made it gets a new identity. The token may also be given in
    /// OUTRIGGER_JOIN_TOKEN, which is erased before anything else happens.
    #[arg(long, value_name = "FILE", help_heading = "Control plane")]
    pub join_token_file: Option<PathBuf>,

    /// Inherited file descriptor to read the join token from.
    #[arg(long, value_name = "N", conflicts_with = "join_token_file", value_parser = clap::value_parser!(i32).range(0..))]
    #[arg(help_heading = "Control plane")]
    pub join_token_fd: Option<i32>,

    /// Directory for the identity, the last known good configuration (sealed) and the status socket; created with
    /// mode 0700. One agent per directory. [default: /var/lib/outrigger-agent for root, otherwise
    /// ~/.local/state/outrigger-agent]
    #[arg(long, value_name = "DIR", env = "OUTRIGGER_STATE_DIR", help_heading = "Control plane")]
    pub state_dir: Option<PathBuf>,

    /// How long to wait for a configuration before giving up with exit code 1.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    #[arg(help_heading = "Control plane")]
    pub start_timeout: Duration,

    /// Never start from the last known good configuration: wait for the control plane.
    #[arg(long, help_heading = "Control plane")]
    pub require_fresh: bool,

    /// What the program inherits of the agent's own environment. `allowlist` passes PATH, HOME, USER, LOGNAME, SHELL,
    /// LANG, LANGUAGE, LC_*, TERM, COLORTERM, TZ, TMPDIR and HOSTNAME. OUTRIGGER_* never passes, and under `all` neither
    /// does a name by which a loader or an interpreter runs foreign code, unless --allow-env names it.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = InheritArg::Allowlist)]
    #[arg(help_heading = "Environment")]
    pub inherit_env: InheritArg,

    /// Inherit this variable too. Repeatable.
    #[arg(long, value_name = "NAME", help_heading = "Environment")]
    pub allow_env: Vec<String>,

    /// Set a variable of the program; wins over everything else. Repeatable. Arguments are visible to every process of
    /// the machine: no secrets here.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Environment")]
    pub env: Vec<Assignment>,

    /// File for deployments that apply configuration by signal or by file; the program finds its path in
    /// OUTRIGGER_ENV_FILE. Mode 0600, replaced atomically, removed at exit. Should be on tmpfs. [default:
    /// /dev/shm/outrigger-INSTANCE.env]
    #[arg(long, value_name = "PATH", help_heading = "Environment")]
    pub env_file: Option<PathBuf>,

    /// When to start the program again after it ended. Waits 500 ms, doubled up to 30 s, and begins anew after the
    /// program ran for 30 s.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = RestartArg::Never, help_heading = "Program")]
    pub restart: RestartArg,

    /// How long the program has between TERM and KILL.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse, help_heading = "Program")]
    pub stop_grace: Duration,

    /// How long new configuration is on trial: a program that fails within this time after it serves with it, or does not
    /// come to serve, gets the previous one back. [default: what the deployment says, or else 30s with probes and 2s
    /// without]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Program")]
    pub bake_time: Option<Duration>,

    /// Run the program as this user (name or number), with that user's groups. Another user is what really keeps the
    /// program away from the agent's keys.
    #[arg(long, value_name = "USER", help_heading = "Program")]
    pub user: Option<String>,

    /// Run the program with this primary group (name or number).
    #[arg(long, value_name = "GROUP", help_heading = "Program")]
    pub group: Option<String>,

    #[command(flatten)]
    pub proxy: ProxyArgs,

    #[command(flatten)]
    pub observed: ObservedArgs,

    /// How often to sample, 100ms to 60s. [default: what the control plane says]
    #[arg(long, value_name = "TIME", value_parser = sample_interval, help_heading = "Observation")]
    pub sample_interval: Option<Duration>,

    /// How long the agent stays, once the program has ended, for the program's last lines to be confirmed by the control
    /// plane. It leaves sooner when all are, when nothing is connected, or when it is signalled. Together with
    /// --stop-grace it should fit within the time that the container is given to stop.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    #[arg(help_heading = "Observation")]
    pub flush_timeout: Duration,

    /// Forward no log lines to the control plane. Unless something else needs it, the program's output is then not read
    /// at all: it writes to the agent's own stdout and stderr directly.
    #[arg(long, help_heading = "Observation")]
    pub no_logs: bool,

    /// Memory for samples and log lines that the control plane has not confirmed, at most; half of it for each. Taken only
    /// while it is needed. When it is full, neighbouring samples are folded into one, the oldest first, and the oldest
    /// lines are dropped and counted. 256KiB to 64MiB.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = spool_bytes, help_heading = "Observation")]
    pub spool_bytes: usize,

    /// Mask secrets in what the program writes to the agent's own stdout and stderr as well, and not in the forwarded log
    /// lines alone.
    #[arg(long, help_heading = "Observation")]
    pub mask_output: bool,

    /// Whether the program gets a terminal of its own. `auto`: when the agent was started on one and the program's output
    /// is read, for its log lines or to be masked. `always`: also when the agent has none. `never`: a terminal is handed
    /// to the program as it is, and what goes there is not forwarded.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = PtyMode::Auto, help_heading = "Program")]
    pub pty: PtyMode,

    #[command(flatten)]
    pub logging: LoggingArgs,

    /// The program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The state directory of the agent to ask.
    #[arg(long, value_name = "DIR", env = "OUTRIGGER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    #[arg(long, value_name = "FORM", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// Whether the program gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PtyMode {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InheritArg {
    None,
    Allowlist,
    All,
}

impl From<InheritArg> for Inherit {
    fn from(arg: InheritArg) -> Self {
        match arg {
            InheritArg::None => Self::None,
            InheritArg::Allowlist => Self::Allowlist,
            InheritArg::All => Self::All,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RestartArg {
    Never,
    OnFailure,
    Always,
}

impl From<RestartArg> for RestartPolicy {
    fn from(arg: RestartArg) -> Self {
        match arg {
            RestartArg::Never => Self::Never,
            RestartArg::OnFailure => Self::OnFailure,
            RestartArg::Always => Self::Always,
        }
    }
}

pub(super) fn host_port(text: &str) -> Result<String, String> {
    let well_formed = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    if well_formed { Ok(text.to_owned()) } else { Err("expected HOST:PORT, for example 127.0.0.1:7701".to_owned()) }
}

pub(super) fn sample_interval(text: &str) -> Result<Duration, String> {
    within(&SAMPLE_INTERVALS, text)
}

pub(super) fn scrape_interval(text: &str) -> Result<Duration, String> {
    within(&SCRAPE_INTERVALS, text)
}

fn within(sensible: &RangeInclusive<Duration>, text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    if sensible.contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("expected {} to {}", duration::display(*sensible.start()), duration::display(*sensible.end())))
    }
}

fn spool_bytes(text: &str) -> Result<usize, String> {
    let bytes = bytes::parse(text).map_err(|error| error.to_string())?;
    let sensible = spool::BYTES.0..=spool::BYTES.1;
    if sensible.contains(&bytes) { Ok(bytes) } else { Err("expected 256KiB to 64MiB".to_owned()) }
}

impl std::str::FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err("expected KEY=VALUE without NUL bytes".to_owned());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}
