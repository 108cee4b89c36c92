//! `exec`: its command line, and what becomes of it.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use outrigger_protocol::limits::TEXT_BYTES;
use outrigger_protocol::transport::parse_fingerprint;
use rustix::process::Rlimit;
use zeroize::Zeroizing;

use super::args::{InheritArg, host_port};
use super::logging::{Logging, LoggingArgs};
use super::{Assignment, ConfigError, absolute_variable, duration};
use crate::environment::Inheritance;
use crate::hardening::{API_TOKEN_VARIABLE, Startup};

pub(super) const ABOUT: &str = "Run one command with an environment that an API token may have.

Asks the control plane for the newest generation of the environment, sealed to a key of this call alone, checks it, \
and becomes the command: nothing of the agent keeps running. The token's owner has to be a developer at least, and the \
audit log tells of each call.

What came is also kept, sealed with a key that only the token gives. That is used when the control plane is away, unless \
--require-fresh, and without asking it while it is younger than --max-age.";

pub(super) const EXIT_CODES: &str = "Exit codes of `exec`: the command's own, 1 when there is no environment for it, \
2 for a wrong command line, 126 when the command cannot be executed, 127 when it was not found.";

#[derive(Debug, Args)]
#[command(next_line_help = true)]
pub(crate) struct ExecArgs {
    /// Address of the control plane's agent port, for example 127.0.0.1:7701; `outrigger whoami` shows it.
    #[arg(long, value_name = "HOST:PORT", env = "OUTRIGGER_CONTROL_PLANE", value_parser = host_port)]
    #[arg(help_heading = "Control plane")]
    control_plane: String,

    /// Name that the control plane's certificate must carry.
    #[arg(long, value_name = "NAME", env = "OUTRIGGER_SERVER_NAME", default_value = "outrigger")]
    #[arg(help_heading = "Control plane")]
    server_name: String,

    /// Certificate of the control plane's CA (PEM or DER).
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CA_FILE", help_heading = "Control plane")]
    ca_file: Option<PathBuf>,

    /// SHA-256 of that certificate, as `outrigger whoami` shows it. --ca-file wins.
    #[arg(long, value_name = "SHA256", env = "OUTRIGGER_CA_FINGERPRINT", value_parser = fingerprint)]
    #[arg(help_heading = "Control plane")]
    ca_fingerprint: Option<[u8; 32]>,

    /// File with the API token. It may also be given in OUTRIGGER_TOKEN, which is erased before anything else happens.
    #[arg(long, value_name = "FILE", help_heading = "Control plane")]
    token_file: Option<PathBuf>,

    /// Project, by name or id. May be left out where there is only one.
    #[arg(long, value_name = "PROJECT", env = "OUTRIGGER_PROJECT", help_heading = "Environment")]
    project: Option<String>,

    /// Environment: a stage (development, staging, production), `stage/name`, or an id.
    #[arg(long, short, value_name = "ENVIRONMENT", help_heading = "Environment")]
    environment: String,

    /// Do not ask the control plane while what is kept is younger than this.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    #[arg(help_heading = "Environment")]
    max_age: Duration,

    /// Never use what is kept.
    #[arg(long, conflicts_with = "max_age", help_heading = "Environment")]
    require_fresh: bool,

    /// Keep nothing, and use nothing that is kept.
    #[arg(long, conflicts_with_all = ["max_age", "cache_dir"], help_heading = "Environment")]
    no_cache: bool,

    /// Directory for what is kept (sealed); created with mode 0700. [default: ~/.cache/outrigger-agent]
    #[arg(long, value_name = "DIR", env = "OUTRIGGER_CACHE_DIR", help_heading = "Environment")]
    cache_dir: Option<PathBuf>,

    /// How long to wait for the control plane before giving up with exit code 1. With something to fall back to it is
    /// never more than 3 s.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    #[arg(help_heading = "Control plane")]
    start_timeout: Duration,

    /// What the command inherits: see `run`. OUTRIGGER_* never passes, and under `all` neither does a name by which a
    /// loader or an interpreter runs foreign code, unless --allow-env names it.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = InheritArg::All)]
    #[arg(help_heading = "Environment")]
    inherit_env: InheritArg,

    /// Inherit this variable too, and take it from the control plane even when its name is a dangerous one. Repeatable.
    #[arg(long, value_name = "NAME", help_heading = "Environment")]
    allow_env: Vec<String>,

    /// Set a variable of the command; wins over everything else. Repeatable. Arguments are visible to every process of
    /// the machine: no secrets here.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Environment")]
    env: Vec<Assignment>,

    #[command(flatten)]
    logging: LoggingArgs,

    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Everything that `exec` needs to know, checked.
#[derive(Debug)]
pub struct ExecConfig {
    pub control_plane: String,
    pub server_name: String,
    pub trust: ServerTrust,
    pub token: ApiToken,
    pub project: Option<String>,
    pub environment: String,
    pub max_age: Duration,
    pub require_fresh: bool,
    /// `None` keeps nothing.
    pub cache_dir: Option<PathBuf>,
    pub start_timeout: Duration,
    pub inheritance: Inheritance,
    pub assignments: Vec<Assignment>,
    pub logging: Logging,
    /// Never empty.
    pub command: Vec<OsString>,
    /// Core limit of the command: what the agent itself was started with.
    pub core_limit: Rlimit,
}

/// How the control plane is known. The file is read when it turns out to be needed.
#[derive(Debug)]
pub enum ServerTrust {
    CaFile(PathBuf),
    Fingerprint([u8; 32]),
}

/// A person's API token: one word.
pub struct ApiToken(Zeroizing<String>);

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

impl ApiToken {
    /// The token in the content of a file or a variable, with blanks around it; `None` when it is none.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<Self> {
        let word = content.trim_ascii();
        let printable = word.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(word).ok().filter(|word| printable && !word.is_empty())?;
        (text.len() <= TEXT_BYTES).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text. Whoever has it can do all that its owner can.
    #[must_use]
    pub const fn reveal(&self) -> &Zeroizing<String> {
        &self.0
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    parse_fingerprint(text).map_err(|error| error.to_string())
}

pub(super) fn compile(args: ExecArgs, startup: Startup) -> Result<ExecConfig, ConfigError> {
    let trust = match (args.ca_file, args.ca_fingerprint) {
        (Some(path), _) => ServerTrust::CaFile(path),
        (None, Some(fingerprint)) => ServerTrust::Fingerprint(fingerprint),
        (None, None) => return Err(ConfigError::NoTrust),
    };
    Ok(ExecConfig {
        control_plane: args.control_plane,
        server_name: args.server_name,
        trust,
        token: api_token(args.token_file.as_deref(), startup.api_token.as_deref().map(Vec::as_slice))?,
        project: args.project,
        environment: args.environment,
        max_age: args.max_age,
        require_fresh: args.require_fresh,
        cache_dir: if args.no_cache { None } else { args.cache_dir.or_else(cache_dir) },
        start_timeout: args.start_timeout,
        inheritance: Inheritance { mode: args.inherit_env.into(), also: args.allow_env },
        assignments: args.env,
        logging: args.logging.into(),
        command: args.command,
        core_limit: startup.core_limit,
    })
}

/// A flag wins over the variable: it is the more deliberate of the two.
fn api_token(file: Option<&Path>, variable: Option<&[u8]>) -> Result<ApiToken, ConfigError> {
    let Some(path) = file else {
        let content = variable.ok_or(ConfigError::NoApiToken)?;
        return ApiToken::parse(content).ok_or_else(|| ConfigError::ApiToken { place: API_TOKEN_VARIABLE.to_owned() });
    };
    let place = path.display().to_string();
    // One byte more than a token with blanks around it, so that another file is not taken for one. The exact capacity:
    // a buffer that grew would leave the token behind in freed memory.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * TEXT_BYTES + 1));
    std::fs::File::open(path)
        .and_then(|file| file.take(2 * TEXT_BYTES as u64 + 1).read_to_end(&mut content))
        .map_err(|source| ConfigError::ReadApiToken { place: place.clone(), source })?;
    ApiToken::parse(&content).ok_or(ConfigError::ApiToken { place })
}

/// Without a home there is nowhere to keep anything, which is no reason not to run.
fn cache_dir() -> Option<PathBuf> {
    absolute_variable("XDG_CACHE_HOME")
        .or_else(|| absolute_variable("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("outrigger-agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_printable_word_and_is_not_printed() {
        let token = ApiToken::parse(b" ogr_canary_x\n").expect("a token");
        assert_eq!(token.reveal().as_str(), "ogr_canary_x");
        assert!(!format!("{token:?}").contains("canary"));
        for other in [&b""[..], b" \n", b"two words", "t\u{f6}ken".as_bytes(), b"\xff", &[b'x'; TEXT_BYTES + 1]] {
            assert!(ApiToken::parse(other).is_none());
        }
    }

    #[test]
    fn a_file_wins_over_the_variable_and_errors_name_the_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "from-file\n").expect("written");
        let token = api_token(Some(&path), Some(b"from-variable")).expect("a token");
        assert_eq!(token.reveal().as_str(), "from-file");
        assert_eq!(api_token(None, Some(b"from-variable")).expect("a token").reveal().as_str(), "from-variable");
        assert!(matches!(api_token(None, None), Err(ConfigError::NoApiToken)));
        std::fs::write(&path, vec![b'x'; 1 << 16]).expect("written");
        let error = api_token(Some(&path), None).expect_err("another file").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
