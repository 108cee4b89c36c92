//! What a call carries with it: its memory account and its log.

use wasmtime::ResourceLimiter;

use crate::bindings::outrigger::policy::{host, types};
use crate::limits::{LOG_BYTES, LOG_BYTES_FATAL, LOG_LINES, LOG_LINES_FATAL};
use crate::proposal::{Log, LogLevel, LogLine};

/// The data of one store, which lives for one call.
pub(crate) struct Context {
    pub(crate) memory: MemoryAccount,
    pub(crate) log: LogAccount,
}

impl Context {
    pub(crate) fn new(memory_limit: usize) -> Self {
        Self {
            memory: MemoryAccount { limit: memory_limit, held: 0, peak: 0, denied: false },
            log: LogAccount::default(),
        }
    }
}

/// Linear memory of all memories of one instance together.
pub(crate) struct MemoryAccount {
    limit: usize,
    held: usize,
    pub(crate) peak: usize,
    /// Whether growth was refused. A guest without memory dies with a plain `unreachable`; this tells why.
    pub(crate) denied: bool,
}

impl ResourceLimiter for MemoryAccount {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held.saturating_add(desired.saturating_sub(current));
        if held > self.limit {
            self.denied = true;
            return Ok(false);
        }
        self.held = held;
        self.peak = self.peak.max(held);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The pool bounds the size of a table.
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// The log of one call: keeps the first lines, counts the rest, and ends a call that does not stop.
#[derive(Default)]
pub(crate) struct LogAccount {
    pub(crate) log: Log,
    kept_bytes: usize,
    lines: usize,
    bytes: usize,
}

/// A call that logged beyond all reason; it surfaces as the error of the call.
#[derive(Debug, thiserror::Error)]
#[error("more than {LOG_LINES_FATAL} lines or {LOG_BYTES_FATAL} bytes of log")]
pub(crate) struct LogFlood;

impl LogAccount {
    fn push(&mut self, level: LogLevel, mut message: String) -> Result<(), LogFlood> {
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(message.len());
        if self.lines > LOG_LINES_FATAL || self.bytes > LOG_BYTES_FATAL {
            return Err(LogFlood);
        }
        let room = LOG_BYTES - self.kept_bytes;
        if self.log.lines.len() == LOG_LINES || room == 0 {
            self.log.dropped += 1;
            return Ok(());
        }
        if message.len() > room {
            message.truncate(message.floor_char_boundary(room));
            message.shrink_to_fit();
            self.log.dropped += 1;
            // What follows would be the middle of a story.
            self.kept_bytes = LOG_BYTES;
        } else {
            self.kept_bytes += message.len();
        }
        self.log.lines.push(LogLine { level, message });
        Ok(())
    }
}

impl types::Host for Context {}

impl host::Host for Context {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            host::Level::Debug => LogLevel::Debug,
            host::Level::Info => LogLevel::Info,
            host::Level::Warn => LogLevel::Warn,
            host::Level::Error => LogLevel::Error,
        };
        Ok(self.log.push(level, message)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_beginning_and_counts_the_rest() {
        let mut account = LogAccount::default();
        for line in 0..LOG_LINES + 3 {
            account.push(LogLevel::Info, format!("line {line}")).unwrap();
        }
        assert_eq!((account.log.lines.len(), account.log.dropped), (LOG_LINES, 3));
        assert_eq!(account.log.lines[0].message, "line 0");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut account = LogAccount::default();
        account.push(LogLevel::Info, format!("x{}", "é".repeat(LOG_BYTES))).unwrap();
        assert_eq!(account.log.lines[0].message.len(), LOG_BYTES - 1);
        account.push(LogLevel::Info, "more".to_owned()).unwrap();
        assert_eq!((account.log.lines.len(), account.log.dropped), (1, 2));
    }

    #[test]
    fn a_flood_ends_the_call() {
        let mut account = LogAccount::default();
        let lines = (0..).find(|_| account.push(LogLevel::Debug, String::new()).is_err());
        assert_eq!(lines, Some(LOG_LINES_FATAL));
        let mut account = LogAccount::default();
        assert!(account.push(LogLevel::Debug, "x".repeat(LOG_BYTES_FATAL + 1)).is_err());
    }

    #[test]
    fn memory_is_counted_over_all_memories_of_an_instance() {
        let mut account = Context::new(100).memory;
        assert!(account.memory_growing(0, 60, None).unwrap());
        assert!(account.memory_growing(0, 40, None).unwrap());
        assert!(!account.denied);
        assert!(!account.memory_growing(40, 41, None).unwrap());
        assert!(account.denied);
        assert_eq!(account.peak, 100);
    }
}
