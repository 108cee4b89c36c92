//! Configuration: the command line and a few variables become a [`RunConfig`] that nothing downstream has to check.
//!
//! What must never be true: a join token in an argument, in a `Debug` output or in an error.

mod args;
mod bytes;
pub mod duration;
mod exec;
mod logging;
mod observed;
mod proxy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use outrigger_protocol::join_token::JoinToken;
use zeroize::Zeroizing;

use args::{Cli, Command, RunArgs};
pub use args::{Output, PtyMode};
pub use exec::{ApiToken, ExecConfig, ServerTrust};
pub use logging::{LogFormat, Logging};
pub use observed::{Observed, ObservedError};
pub use proxy::{ProxyConfig, ProxyConfigError};

use crate::environment::Inheritance;
use crate::hardening::Startup;
use crate::supervisor::{Account, AccountError, RestartPolicy};

/// A join token and a blank around it; more is some other file.
const JOIN_TOKEN_BYTES: usize = 4096;

/// What the operator asked for.
#[derive(Debug)]
pub enum Invocation {
    Run(Box<RunConfig>),
    Exec(Box<ExecConfig>),
    Status { state_dir: PathBuf, output: Output },
}

/// Everything that `run` needs to know, checked.
#[derive(Debug)]
pub struct RunConfig {
    pub control_plane: String,
    pub server_name: String,
    pub ca_file: Option<PathBuf>,
    pub join_token: TokenSource,
    pub state_dir: PathBuf,
    pub start_timeout: Duration,
    pub require_fresh: bool,
    pub inheritance: Inheritance,
    pub assignments: Vec<Assignment>,
    pub env_file: Option<PathBuf>,
    pub restart: RestartPolicy,
    pub stop_grace: Duration,
    /// For the program's last lines to be confirmed.
    pub flush_timeout: Duration,
    /// Overrides what the control plane says.
    pub bake_time: Option<Duration>,
    pub account: Option<Account>,
    pub proxy: Option<ProxyConfig>,
    /// What the program itself says.
    pub observed: Observed,
    /// Overrides what the control plane says.
    pub sample_interval: Option<Duration>,
    pub forward_logs: bool,
    /// What samples and lines that the control plane has not confirmed may take.
    pub spool_bytes: usize,
    pub mask_output: bool,
    pub pty: PtyMode,
    pub logging: Logging,
    /// Never empty.
    pub command: Vec<OsString>,
    /// Core limit of the program: what the agent itself was started with.
    pub core_limit: rustix::process::Rlimit,
}

/// `--env KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    pub value: String,
}

/// Where the join token is. It is read when it turns out to be needed, except for the two sources that cannot wait: the
/// environment, which was erased, and a descriptor, which would otherwise stay open.
#[derive(Debug, Default)]
pub enum TokenSource {
    #[default]
    Absent,
    File(PathBuf),
    Given(JoinToken),
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no state directory: $HOME is not set; give --state-dir")]
    NoStateDir,
    #[error("cannot read the join token from {place}")]
    ReadToken {
        place: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{place} holds more than a join token")]
    TokenTooLong { place: String },
    #[error("{place}")]
    Token {
        place: String,
        #[source]
        source: outrigger_protocol::join_token::ParseJoinTokenError,
    },
    #[error("cannot read the API token from {place}")]
    ReadApiToken {
        place: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{place} holds no API token: expected one word of printable characters, as `outrigger login` keeps it")]
    ApiToken { place: String },
    #[error("no API token: give --token-file or OUTRIGGER_TOKEN")]
    NoApiToken,
    #[error(
        "nothing says how the control plane is known: give --ca-fingerprint, which `outrigger whoami` shows, or --ca-file"
    )]
    NoTrust,
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Observed(#[from] ObservedError),
    #[error(transparent)]
    Proxy(#[from] ProxyConfigError),
}

/// Reads the command line. Help, version and usage errors end the process as clap does: exit code 2 for errors.
///
/// # Errors
/// A value that is well-formed and cannot be used, for example a user that does not exist.
pub fn parse(startup: Startup) -> Result<Invocation, ConfigError> {
    match Cli::parse().command {
        Command::Run(args) => compile(*args, startup).map(|config| Invocation::Run(Box::new(config))),
        Command::Exec(args) => exec::compile(*args, startup).map(|config| Invocation::Exec(Box::new(config))),
        Command::Status(args) => Ok(Invocation::Status { state_dir: state_dir(args.state_dir)?, output: args.output }),
    }
}

fn compile(args: RunArgs, startup: Startup) -> Result<RunConfig, ConfigError> {
    let proxy = args.proxy.compile()?;
    Ok(RunConfig {
        control_plane: args.control_plane,
        server_name: args.server_name,
        ca_file: args.ca_file,
        join_token: token_source(args.join_token_file, args.join_token_fd, startup.join_token)?,
        state_dir: state_dir(args.state_dir)?,
        start_timeout: args.start_timeout,
        require_fresh: args.require_fresh,
        inheritance: Inheritance { mode: args.inherit_env.into(), also: args.allow_env },
        assignments: args.env,
        env_file: args.env_file,
        restart: args.restart.into(),
        stop_grace: args.stop_grace,
        flush_timeout: args.flush_timeout,
        bake_time: args.bake_time,
        account: Account::resolve(args.user.as_deref(), args.group.as_deref())?,
        observed: args.observed.compile(proxy.is_some())?,
        proxy,
        sample_interval: args.sample_interval,
        forward_logs: !args.no_logs,
        spool_bytes: args.spool_bytes,
        mask_output: args.mask_output,
        pty: args.pty,
        logging: args.logging.into(),
        command: args.command,
        core_limit: startup.core_limit,
    })
}

fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    if let Some(dir) = given {
        return Ok(dir);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/outrigger-agent"));
    }
    absolute_variable("XDG_STATE_HOME")
        .or_else(|| absolute_variable("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("outrigger-agent"))
        .ok_or(ConfigError::NoStateDir)
}

/// The directory that a variable names.
fn absolute_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// A flag wins over the variable: it is the more deliberate of the two.
fn token_source(
    file: Option<PathBuf>,
    descriptor: Option<i32>,
    variable: Option<Zeroizing<Vec<u8>>>,
) -> Result<TokenSource, ConfigError> {
    if let Some(path) = file {
        return Ok(TokenSource::File(path));
    }
    if let Some(number) = descriptor {
        let place = format!("file descriptor {number}");
        let file = crate::hardening::take_descriptor(number)
            .map_err(|source| ConfigError::ReadToken { place: place.clone(), source })?;
        return read_token(file, place).map(TokenSource::Given);
    }
    match variable {
        Some(bytes) => parse_token(&bytes, "OUTRIGGER_JOIN_TOKEN".to_owned()).map(TokenSource::Given),
        None => Ok(TokenSource::Absent),
    }
}

impl TokenSource {
    /// The token, when one was given.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(self) -> Result<Option<JoinToken>, ConfigError> {
        match self {
            Self::Absent => Ok(None),
            Self::Given(token) => Ok(Some(token)),
            Self::File(path) => {
                let place = path.display().to_string();
                let file = open(&path).map_err(|source| ConfigError::ReadToken { place: place.clone(), source })?;
                read_token(file, place).map(Some)
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::open(path)
}

fn read_token(mut file: impl std::io::Read, place: String) -> Result<JoinToken, ConfigError> {
    // The exact capacity: a buffer that grew would leave the token behind in freed memory.
    let mut text = Zeroizing::new(vec![0; JOIN_TOKEN_BYTES]);
    let mut length = 0;
    loop {
        match file.read(&mut text[length..]) {
            Ok(0) if length == JOIN_TOKEN_BYTES => return Err(ConfigError::TokenTooLong { place }),
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ConfigError::ReadToken { place, source }),
        }
    }
    parse_token(&text[..length], place)
}

fn parse_token(text: &[u8], place: String) -> Result<JoinToken, ConfigError> {
    // Bytes that are not UTF-8 are not the prefix either, and the parser has the words for that.
    std::str::from_utf8(text).unwrap_or_default().parse().map_err(|source| ConfigError::Token { place, source })
}
