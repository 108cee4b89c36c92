//! What a policy answers, after the host has looked at every field of it.

use std::time::Duration;

use crate::fault::Fault;

/// A size that a policy asks for. Every field is within the limits of [`crate::limits`]; whether the size is wise is
/// for the guards to say, since a policy is untrusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Replicas that should run, at most [`crate::limits::REPLICAS`].
    pub replicas: u32,
    /// From 0 (a guess) to 1 (certain).
    pub confidence: f64,
    /// One sentence for the person who asks why.
    pub reason: String,
    /// The numbers behind the reason; finite, or NaN for "not known".
    pub signals: Vec<(String, f64)>,
    /// What the policy wants back next time.
    pub state: Vec<u8>,
    /// When the policy would like to be asked again, counted from the input's `now`.
    pub next_look: Option<Duration>,
}

/// How much a line of a policy's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a policy left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    pub message: String,
}

/// What a policy logged during one call: the first lines, and how many more there were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    pub lines: Vec<LogLine>,
    /// Lines that were dropped or cut because the log was full.
    pub dropped: usize,
}

/// One call of a policy: what came of it and what it took. Elapsed time and memory describe the run, not the
/// decision; everything else is the same whenever the same policy is given the same input.
#[derive(Debug, Clone)]
pub struct Evaluation {
    pub outcome: Result<Proposal, Fault>,
    pub log: Log,
    /// Units of fuel that were used.
    pub fuel: u64,
    pub elapsed: Duration,
    /// The most linear memory the instance held, in bytes.
    pub peak_memory: usize,
}

impl Evaluation {
    /// An evaluation that never reached the guest.
    pub(crate) fn refused(fault: Fault) -> Self {
        Self { outcome: Err(fault), log: Log::default(), fuel: 0, elapsed: Duration::ZERO, peak_memory: 0 }
    }
}
