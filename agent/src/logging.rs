//! The agent's own lines on stderr.

use outrigger_logging::{JsonFields, JsonLines};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

use crate::config::{LogFormat, Logging};
use crate::console;

/// Says from now on on stderr what happens. Once.
pub fn to_stderr(logging: &Logging) {
    let registry = registry().with(logging.filter.clone());
    let lines = fmt::layer().with_writer(console::stderr).with_ansi(false);
    match logging.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.fmt_fields(JsonFields).event_format(JsonLines::default())).init(),
    }
}
