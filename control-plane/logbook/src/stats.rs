//! What the book did, in numbers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters since the book was opened, and gauges of now. For operators; nothing decides on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LogBookStats {
    /// Lines taken.
    pub lines: u64,
    /// Lines that agents had to drop.
    pub dropped_by_agents: u64,
    /// Lines dropped because the store did not keep up.
    pub dropped_unwritten: u64,
    /// Segments written.
    pub segments: u64,
    /// Their bytes, compressed.
    pub segment_bytes: u64,
    /// Segments that went because they were too old, too many, or their deployment was deleted.
    pub expired_segments: u64,
    /// Segments that could not be read any more.
    pub damaged_segments: u64,
    /// Times that the store refused to write.
    pub write_failures: u64,
    /// Lines that followers missed because they were too slow.
    pub lagged: u64,
    /// Followers now.
    pub followers: u64,
    /// Bytes of lines that wait for the store now.
    pub unwritten_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lines: AtomicU64,
    pub(crate) dropped_by_agents: AtomicU64,
    pub(crate) dropped_unwritten: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) segment_bytes: AtomicU64,
    pub(crate) expired_segments: AtomicU64,
    pub(crate) damaged_segments: AtomicU64,
    pub(crate) write_failures: AtomicU64,
    pub(crate) lagged: AtomicU64,
    pub(crate) followers: AtomicU64,
    pub(crate) unwritten_bytes: AtomicUsize,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self) -> LogBookStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogBookStats {
            lines: read(&self.lines),
            dropped_by_agents: read(&self.dropped_by_agents),
            dropped_unwritten: read(&self.dropped_unwritten),
            segments: read(&self.segments),
            segment_bytes: read(&self.segment_bytes),
            expired_segments: read(&self.expired_segments),
            damaged_segments: read(&self.damaged_segments),
            write_failures: read(&self.write_failures),
            lagged: read(&self.lagged),
            followers: read(&self.followers),
            unwritten_bytes: self.unwritten_bytes.load(Ordering::Relaxed) as u64,
        }
    }
}
