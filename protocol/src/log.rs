//! Lines that the program wrote.

use crate::sample::BatchId;
use crate::time::UnixMillis;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    Stdout,
    Stderr,
    /// The agent's own words about the program: started, exited, restarted.
    Agent,
}

/// One line, already masked by the agent and cut at [`crate::limits::LOG_LINE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub at: UnixMillis,
    pub stream: LogStream,
    pub level: Level,
    pub message: String,
    pub truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBatch {
    pub id: BatchId,
    pub records: Vec<LogRecord>,
    /// Lines dropped by rate limit or a full buffer, since the previous batch.
    pub dropped: u64,
}
