//! What the archive did and what it had to leave out, for operators.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the archive was opened, and gauges of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ArchiveStats {
    /// Samples that were taken in.
    pub samples: u64,
    /// Samples older than what the finest tier still keeps.
    pub dropped_late: u64,
    /// Samples that there was no room for: memory was full, or there were too many deployments.
    pub dropped_full: u64,
    /// Samples of deployments that are deleted.
    pub dropped_gone: u64,
    /// Samples without a value that can be kept.
    pub dropped_empty: u64,
    /// Values left out because a sample or an instance had too many, or a name was too long.
    pub dropped_values: u64,
    /// Samples that claimed to be from the future and were shifted.
    pub shifted: u64,
    /// Rows, or entries of the journal, that could not be read.
    pub damaged: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Bytes of those rows.
    pub row_bytes: u64,
    /// Writes that the store refused; they are tried again.
    pub failures: u64,
    /// Hours that were sealed.
    pub sealed: u64,
    /// Deployments that are known now.
    pub deployments: u64,
    /// Bytes of samples in memory now.
    pub memory_bytes: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub(crate) enum Count {
    Samples,
    DroppedLate,
    DroppedFull,
    DroppedGone,
    DroppedEmpty,
    DroppedValues,
    Shifted,
    Damaged,
    Rows,
    RowBytes,
    Failures,
    Sealed,
}

const COUNTS: usize = Count::Sealed as usize + 1;

#[derive(Debug, Default)]
pub(crate) struct Stats([AtomicU64; COUNTS]);

impl Stats {
    pub(crate) fn add(&self, count: Count, by: u64) {
        if by > 0 {
            self.0[count as usize].fetch_add(by, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, deployments: u64, memory_bytes: u64) -> ArchiveStats {
        let of = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        ArchiveStats {
            samples: of(Count::Samples),
            dropped_late: of(Count::DroppedLate),
            dropped_full: of(Count::DroppedFull),
            dropped_gone: of(Count::DroppedGone),
            dropped_empty: of(Count::DroppedEmpty),
            dropped_values: of(Count::DroppedValues),
            shifted: of(Count::Shifted),
            damaged: of(Count::Damaged),
            rows: of(Count::Rows),
            row_bytes: of(Count::RowBytes),
            failures: of(Count::Failures),
            sealed: of(Count::Sealed),
            deployments,
            memory_bytes,
        }
    }
}
