//! Where the control plane's own log lines go.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Config, LogFormat};

/// Log lines on standard error.
pub(crate) fn to_stderr(config: &Config) {
    install(config, std::io::stderr, std::io::stderr().is_terminal());
}

/// Log lines in `outrigger.log` of the data directory, for a command that owns the terminal.
pub(crate) fn to_file(config: &Config) -> anyhow::Result<()> {
    let path = config.data_dir.join("outrigger.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    install(config, Mutex::new(file), false);
    Ok(())
}

fn install<W>(config: &Config, writer: W, ansi: bool)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(&config.log_level);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
