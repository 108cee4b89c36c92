//! Settings, from raw text to checked values.
//!
//! Five layers, each stronger than the one before: built-in defaults, `outrigger.yaml`, `outrigger.<env>.yaml` beside it,
//! `OUTRIGGER_…` variables, flags. One registry ([`settings`]) names every setting, so that `http.listen` in YAML,
//! `OUTRIGGER_HTTP_LISTEN` and `--http-listen` are the same thing by construction. Nothing past [`Config`] sees an unchecked value.

mod flags;
mod layers;
mod nearest;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_secrets::SecretString;

pub(crate) use flags::SettingFlags;
pub(crate) use layers::{Layers, Origin, Sources};

use settings::Item;

/// Why the settings cannot be used. Each variant says what is wrong and where it was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: not valid YAML: {problem}", path.display())]
    Yaml { path: PathBuf, problem: String },
    #[error("{origin}: unknown setting `{key}`{}", nearest::hint(*nearest))]
    Unknown { origin: Origin, key: String, nearest: Option<&'static str> },
    #[error("{origin}: `{key}` is {value:?}, which is not {expected}")]
    Invalid { origin: Origin, key: &'static str, value: String, expected: &'static str },
    #[error("{origin}: `{key}` is not a single value; expected {expected}")]
    NotScalar { origin: Origin, key: &'static str, expected: &'static str },
    #[error("`master_key` (from {inline}) and `master_key_file` (from {file}) are both set; keep one of them")]
    TwoMasterKeys { inline: Origin, file: Origin },
}

/// How the control plane's own log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Where the master key comes from.
#[derive(Debug, Clone)]
pub(crate) enum MasterKeyChoice {
    File(PathBuf),
    Inline(SecretString),
    /// `<data_dir>/master.key`, made at the first start of an empty data directory.
    DataDir,
}

/// Checked settings of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) http_listen: SocketAddr,
    pub(crate) agents_listen: SocketAddr,
    /// What instances made by a driver are told to connect to; the bound address when absent.
    pub(crate) agents_advertise: Option<SocketAddr>,
    /// The name in the server certificate, which agents verify.
    pub(crate) server_name: String,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) master_key: MasterKeyChoice,
    pub(crate) agent_binary: Option<PathBuf>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) drain_timeout: Duration,
    pub(crate) store_cache_bytes: usize,
}

impl Config {
    /// Checks every layer's value and resolves them into one.
    pub(crate) fn compile(layers: &Layers) -> Result<Self, ConfigError> {
        let inline = layers.origin(Item::MasterKey);
        let file = layers.origin(Item::MasterKeyFile);
        if let (Some(inline), Some(file)) = (inline.clone(), file.clone()) {
            return Err(ConfigError::TwoMasterKeys { inline, file });
        }
        let master_key = match (inline, file) {
            (Some(_), _) => MasterKeyChoice::Inline(SecretString::from(layers.text(Item::MasterKey)?)),
            (_, Some(_)) => MasterKeyChoice::File(layers.parse(Item::MasterKeyFile)?),
            (None, None) => MasterKeyChoice::DataDir,
        };
        Ok(Self {
            data_dir: layers.parse(Item::DataDir)?,
            http_listen: layers.parse(Item::HttpListen)?,
            agents_listen: layers.parse(Item::AgentsListen)?,
            agents_advertise: layers.parse_optional(Item::AgentsAdvertise)?,
            server_name: layers.parse_with(Item::AgentsServerName, parse_dns_name)?,
            certificate_lifetime: layers.parse_with(Item::AgentsCertificateLifetime, parse_duration)?,
            master_key,
            agent_binary: layers.parse_optional(Item::ProcessAgentBinary)?,
            log_level: layers.parse_with(Item::LogLevel, parse_log_level)?,
            log_format: layers.parse_with(Item::LogFormat, parse_log_format)?,
            drain_timeout: layers.parse_with(Item::DrainTimeout, parse_duration)?,
            store_cache_bytes: layers.parse_with(Item::StoreCacheMib, parse_mebibytes)?,
        })
    }
}

fn parse_dns_name(text: &str) -> Option<String> {
    let label =
        |part: &str| (1..=63).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_owned())
}

/// `90s`, `5m`, `24h`, `250ms`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|total| *total > 0).map(Duration::from_millis)
}

fn parse_log_level(text: &str) -> Option<String> {
    // Also the directives of tracing-subscriber, `info,outrigger_engine=debug`.
    tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
}

fn parse_log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn parse_mebibytes(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|mib| (1..=65_536).contains(mib)).map(|mib| mib * 1024 * 1024)
}

#[cfg(test)]
mod tests;
