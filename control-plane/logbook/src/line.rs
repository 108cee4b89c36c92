//! A line, and what may be asked of it.

use std::sync::Arc;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::limits::LOG_LINE_BYTES;
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::time::UnixMillis;

/// What stands at a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// What a program wrote, as its agent passed it on: any text, control characters included.
    Written {
        stream: LogStream,
        level: Level,
        message: Box<str>,
        /// It was longer.
        truncated: bool,
    },
    /// So many lines are missing here: the agent or the control plane had to drop them.
    Dropped { lines: u64 },
}

/// One line of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Greater than that of every line of the deployment that came before. Not without gaps.
    pub number: u64,
    /// Corrected for the sandbox's clock.
    pub at: UnixMillis,
    pub instance: InstanceId,
    pub entry: LogEntry,
}

/// What a line takes beside its text.
const LINE_BYTES: usize = size_of::<LogLine>() + 2 * size_of::<usize>();

impl LogLine {
    pub(crate) fn new(number: u64, instance: InstanceId, record: &LogRecord) -> Self {
        let end = record.message.floor_char_boundary(LOG_LINE_BYTES);
        let entry = LogEntry::Written {
            stream: record.stream,
            level: record.level,
            message: record.message[..end].into(),
            truncated: record.truncated || end < record.message.len(),
        };
        Self { number, at: record.at, instance, entry }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        LINE_BYTES + self.message().len()
    }

    /// The text; of a gap there is none.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.entry {
            LogEntry::Written { message, .. } => message,
            LogEntry::Dropped { .. } => "",
        }
    }

    /// Lines that it stands for.
    pub(crate) const fn lines(&self) -> u64 {
        match &self.entry {
            LogEntry::Written { .. } => 1,
            LogEntry::Dropped { lines } => *lines,
        }
    }

    /// A gap in the place of this line and the one before it.
    pub(crate) fn swallow(&self, before: &Self) -> Arc<Self> {
        let lines = self.lines().saturating_add(before.lines());
        let (number, at, instance) = (self.number, self.at, self.instance);
        Arc::new(Self { number, at, instance, entry: LogEntry::Dropped { lines } })
    }
}

/// Which lines are wanted. The default wants all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// The least level. Gaps pass it: nobody knows what is missing.
    pub level: Option<Level>,
    /// Text that the message has in it, by the letter. A gap has none.
    pub contains: Option<String>,
    /// Only of these instances; of all when there are none.
    pub instances: Vec<InstanceId>,
    /// Not before.
    pub from: Option<UnixMillis>,
    /// Before, but not at.
    pub until: Option<UnixMillis>,
}

impl LogFilter {
    #[must_use]
    pub fn accepts(&self, line: &LogLine) -> bool {
        let of_instance = self.instances.is_empty() || self.instances.contains(&line.instance);
        of_instance
            && self.from.is_none_or(|from| line.at >= from)
            && self.until.is_none_or(|until| line.at < until)
            && match &line.entry {
                LogEntry::Written { level, message, .. } => {
                    self.level.is_none_or(|least| *level >= least)
                        && self.contains.as_deref().is_none_or(|text| message.contains(text))
                }
                LogEntry::Dropped { .. } => self.contains.is_none(),
            }
    }
}
