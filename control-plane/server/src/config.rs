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

use outrigger_api::MetricsAccess;
use outrigger_archive::{ArchiveConfig, Tier, Tiers};
use outrigger_export::{Destination, SettingsError};
use outrigger_logbook::LogBookConfig;
use outrigger_protocol::time;
use outrigger_secrets::SecretString;

pub(crate) use flags::SettingFlags;
pub(crate) use layers::{Layers, Origin, Sources};

use settings::Item;

/// An agent asks for its next certificate when at most 90 % of the present one's life are over, and if nobody answers
/// again a minute later. With less than this there is no time for a second attempt before it is locked out.
const SHORTEST_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Less than this is no time for a client that is far away.
const SHORTEST_HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// Less than this and a program on a busy machine has not even started.
const SHORTEST_KEY_COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// The past of an hour is put together when it is over; for as long, it is kept in any case.
const SHORTEST_HISTORY: Duration = Duration::from_secs(3_600);
const LONGEST_HISTORY: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);

/// Less than this and lines would go while somebody reads them.
const SHORTEST_LOG_RETENTION: Duration = Duration::from_secs(60);

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
    #[error("{origin}: {problem}")]
    Export { origin: Origin, problem: SettingsError },
}

/// How the control plane's own log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Where a master key comes from, in this order. With none of them it is a file in the data directory: `master.key`, made
/// at the first start of an empty one, and `next-master.key`, which an operator puts there.
#[derive(Debug, Clone)]
pub(crate) struct MasterKeySources {
    pub(crate) file: Option<PathBuf>,
    pub(crate) inline: Option<SecretString>,
    pub(crate) command: Option<KeyCommand>,
}

impl MasterKeySources {
    /// No setting says where: it is a file in the data directory.
    pub(crate) const fn are_unset(&self) -> bool {
        self.file.is_none() && self.inline.is_none() && self.command.is_none()
    }
}

/// A program that prints the master key.
#[derive(Debug, Clone)]
pub(crate) struct KeyCommand {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) timeout: Duration,
}

/// Checked settings of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) http_listen: SocketAddr,
    pub(crate) http_max_connections: usize,
    pub(crate) http_header_timeout: Duration,
    pub(crate) agents_listen: SocketAddr,
    /// What instances made by a driver are told to connect to; the bound address when absent.
    pub(crate) agents_advertise: Option<SocketAddr>,
    /// The name in the server certificate, which agents verify.
    pub(crate) server_name: String,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) master_key: MasterKeySources,
    /// Of the key that is to take its place.
    pub(crate) next_master_key: MasterKeySources,
    pub(crate) agent_binary: Option<PathBuf>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) metrics_access: MetricsAccess,
    pub(crate) metrics_token_file: Option<PathBuf>,
    /// Where telemetry goes on to.
    pub(crate) export: Vec<Destination>,
    pub(crate) logs: LogBookConfig,
    pub(crate) history: ArchiveConfig,
    pub(crate) drain_timeout: Duration,
    pub(crate) store_cache_bytes: usize,
}

impl Config {
    /// Checks every layer's value and resolves them into one.
    pub(crate) fn compile(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            data_dir: layers.parse(Item::DataDir)?,
            http_listen: layers.parse(Item::HttpListen)?,
            http_max_connections: layers.parse_with(Item::HttpMaxConnections, parse_connections)?,
            http_header_timeout: layers
                .parse_with(Item::HttpHeaderTimeout, |text| parse_duration_from(SHORTEST_HEADER_TIMEOUT, text))?,
            agents_listen: layers.parse(Item::AgentsListen)?,
            agents_advertise: layers.parse_optional(Item::AgentsAdvertise)?,
            server_name: layers.parse_with(Item::AgentsServerName, parse_dns_name)?,
            certificate_lifetime: layers.parse_with(Item::AgentsCertificateLifetime, |text| {
                parse_duration_from(SHORTEST_CERTIFICATE_LIFETIME, text)
            })?,
            master_key: sources(layers, Item::MasterKeyFile, Item::MasterKey, Item::MasterKeyCommand)?,
            next_master_key: sources(layers, Item::NextMasterKeyFile, Item::NextMasterKey, Item::NextMasterKeyCommand)?,
            agent_binary: layers.parse_optional(Item::ProcessAgentBinary)?,
            log_level: layers.parse_with(Item::LogLevel, parse_log_level)?,
            log_format: layers.parse_with(Item::LogFormat, parse_log_format)?,
            metrics_access: layers.parse_with(Item::MetricsAccess, parse_metrics_access)?,
            metrics_token_file: layers.parse_optional(Item::MetricsTokenFile)?,
            export: destinations(layers)?,
            history: ArchiveConfig { tiers: tiers(layers)?, ..ArchiveConfig::default() },
            logs: LogBookConfig {
                keep_bytes: layers.parse_with(Item::LogsKeepMib, parse_mebibytes)? as u64,
                keep_for: layers
                    .parse_with(Item::LogsKeepFor, |text| parse_duration_from(SHORTEST_LOG_RETENTION, text))?,
                ..LogBookConfig::default()
            },
            drain_timeout: layers.parse_with(Item::DrainTimeout, parse_duration)?,
            store_cache_bytes: layers.parse_with(Item::StoreCacheMib, parse_mebibytes)?,
        })
    }
}

fn sources(layers: &Layers, file: Item, inline: Item, command: Item) -> Result<MasterKeySources, ConfigError> {
    let timeout = layers
        .parse_with(Item::MasterKeyCommandTimeout, |text| parse_duration_from(SHORTEST_KEY_COMMAND_TIMEOUT, text))?;
    let command = layers.list_optional(command)?.and_then(|list| {
        let mut list = list.into_iter();
        let program = list.next()?;
        Some(KeyCommand { program, arguments: list.collect(), timeout })
    });
    Ok(MasterKeySources {
        file: layers.parse_optional(file)?,
        inline: layers.parse_optional::<String>(inline)?.map(SecretString::from),
        command,
    })
}

/// The resolutions of the past, each with the time that it is kept for. A coarser one takes over where a finer one ends, so
/// none is kept shorter than the one before.
fn tiers(layers: &Layers) -> Result<Tiers, ConfigError> {
    const KEPT: [(u64, Item); 4] = [
        (1, Item::HistoryKeepSeconds),
        (10, Item::HistoryKeepTenSeconds),
        (60, Item::HistoryKeepMinutes),
        (300, Item::HistoryKeepFiveMinutes),
    ];
    let mut tiers: Vec<Tier> = Vec::with_capacity(KEPT.len());
    for (step, item) in KEPT {
        let least = tiers.last().map_or(SHORTEST_HISTORY, |finer| finer.retention);
        let retention = layers.parse_with(item, |text| {
            parse_duration_from(least, text).filter(|retention| *retention <= LONGEST_HISTORY)
        })?;
        tiers.push(Tier { step: Duration::from_secs(step), retention });
    }
    Ok(Tiers::new(tiers).expect("steps are multiples of each other, and retentions do not shrink"))
}

fn destinations(layers: &Layers) -> Result<Vec<Destination>, ConfigError> {
    let Some((written, origin)) = layers.structure_optional(Item::Export)? else { return Ok(Vec::new()) };
    Destination::from_settings(&written).map_err(|problem| ConfigError::Export { origin, problem })
}

fn parse_dns_name(text: &str) -> Option<String> {
    let label =
        |part: &str| (1..=63).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_owned())
}

fn parse_duration(text: &str) -> Option<Duration> {
    parse_duration_from(Duration::from_millis(1), text)
}

fn parse_duration_from(shortest: Duration, text: &str) -> Option<Duration> {
    time::parse_duration(text).filter(|duration| *duration >= shortest)
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

fn parse_metrics_access(text: &str) -> Option<MetricsAccess> {
    MetricsAccess::ALL.into_iter().find(|access| access.name() == text)
}

fn parse_connections(text: &str) -> Option<usize> {
    text.parse().ok().filter(|connections| (1..=100_000).contains(connections))
}

fn parse_mebibytes(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|mib| (1..=65_536).contains(mib)).map(|mib| mib * 1024 * 1024)
}

#[cfg(test)]
mod tests;
