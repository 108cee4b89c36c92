//! Where the control plane's own log lines go, and how they look.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use anyhow::Context as _;
use outrigger_api::LogFilter;
use outrigger_logging::{JsonFields, JsonLines};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry, reload};

use crate::config::{Config, LogFormat};

/// Log lines on standard error. What is answered changes how much is said.
pub(crate) fn to_stderr(config: &Config) -> LogFilter {
    install(config, std::io::stderr, std::io::stderr().is_terminal())
}

/// Log lines in `outrigger.log` of the data directory, for a command that owns the terminal.
pub(crate) fn to_file(config: &Config) -> anyhow::Result<LogFilter> {
    let path = config.data_dir.join("outrigger.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(install(config, Mutex::new(file), false))
}

fn install<W>(config: &Config, writer: W, ansi: bool) -> LogFilter
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&config.log_level));
    let registry = registry().with(filter);
    let lines = fmt::layer().with_writer(writer).with_ansi(ansi);
    match config.log_format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.fmt_fields(JsonFields).event_format(JsonLines::default())).init(),
    }
    LogFilter::new(config.log_level.clone(), move |text| {
        let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}
