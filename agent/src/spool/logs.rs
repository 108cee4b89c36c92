//! Log records on their way to the control plane.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::limits::{LOG_RECORDS_PER_BATCH, LOGS_BYTES};
use outrigger_protocol::log::{LogBatch, LogRecord};
use outrigger_protocol::sample::BatchId;

use super::window::{Acknowledged, Window};

/// Held bytes of one batch; half of the lane's limit leaves room for what a frame adds.
const BATCH_BYTES: usize = LOGS_BYTES as usize / 2;

/// A bounded spool of log records; see the [module's head](super).
#[derive(Debug)]
pub struct LogSpool {
    capacity: usize,
    window: Window<LogBatch>,
    unsent: VecDeque<LogRecord>,
    unsent_bytes: usize,
    /// Dropped since the last batch was cut, by whomever.
    untold: u64,
    dropped: u64,
}

impl LogSpool {
    /// `epoch` is drawn at the start of the agent's process; `capacity` is in bytes.
    #[must_use]
    pub fn new(epoch: u64, capacity: usize) -> Self {
        Self { capacity, window: Window::new(epoch), unsent: VecDeque::new(), unsent_bytes: 0, untold: 0, dropped: 0 }
    }

    /// Takes a record; the oldest unsent ones make room.
    pub fn push(&mut self, record: LogRecord) {
        self.unsent_bytes += size_of_record(&record);
        self.unsent.push_back(record);
        while self.bytes() > self.capacity
            && let Some(oldest) = self.unsent.pop_front()
        {
            self.unsent_bytes -= size_of_record(&oldest);
            self.count_dropped(1);
        }
    }

    /// Counts lines that were dropped before they came here.
    pub fn count_dropped(&mut self, lines: u64) {
        self.untold = self.untold.saturating_add(lines);
        self.dropped = self.dropped.saturating_add(lines);
    }

    /// The next batch to send: first those to be sent again, then a new one. `None` when nothing waits, or when as
    /// much as may be is unacknowledged. A count of dropped lines travels even without a line.
    pub fn next_batch(&mut self) -> Option<Arc<LogBatch>> {
        if let Some(batch) = self.window.next() {
            return Some(batch);
        }
        if (self.unsent.is_empty() && self.untold == 0) || !self.window.has_room(self.capacity / 4) {
            return None;
        }
        let (mut count, mut bytes) = (0, 0);
        for record in self.unsent.iter().take(LOG_RECORDS_PER_BATCH) {
            let size = size_of_record(record);
            if count > 0 && bytes + size > BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += size;
        }
        let records: Vec<LogRecord> = self.unsent.drain(..count).collect();
        self.unsent_bytes -= bytes;
        let dropped = std::mem::take(&mut self.untold);
        Some(self.window.cut(bytes, |id| LogBatch { id, records, dropped }))
    }

    /// Everything up to `id` is safe with the server.
    pub fn acknowledge(&mut self, id: BatchId) -> Acknowledged {
        self.window.acknowledge(id)
    }

    /// After a reconnect: whatever was not acknowledged is sent again, under its id and as it was.
    pub fn rewind(&mut self) {
        self.window.rewind();
    }

    /// Records that are in no batch yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Batches that were cut and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// Whether batches wait to be sent again.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.window.is_behind()
    }

    /// Bytes held, sent and unsent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.window.bytes() + self.unsent_bytes
    }

    /// Lines dropped since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What a record takes in memory, and an upper bound of what it takes in a frame.
fn size_of_record(record: &LogRecord) -> usize {
    size_of::<LogRecord>() + record.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::log::{Level, LogStream};
    use outrigger_protocol::time::UnixMillis;
    use proptest::prelude::*;

    fn record(message: &str) -> LogRecord {
        LogRecord {
            at: UnixMillis::EPOCH,
            stream: LogStream::Stdout,
            level: Level::Info,
            message: message.to_owned(),
            truncated: false,
        }
    }

    #[test]
    fn the_oldest_lines_make_room_and_are_counted_once() {
        let capacity = 10 * size_of_record(&record("00"));
        let mut spool = LogSpool::new(1, capacity);
        (0..15).for_each(|i| spool.push(record(&format!("{i:02}"))));
        spool.count_dropped(3);
        let batch = spool.next_batch().unwrap();
        assert_eq!(batch.records.first().map(|record| record.message.as_str()), Some("05"));
        assert_eq!((batch.records.len(), batch.dropped), (10, 8));
        assert!(spool.next_batch().is_none());
        assert_eq!(spool.dropped(), 8);
    }

    #[test]
    fn a_count_of_dropped_lines_travels_without_a_line() {
        let mut spool = LogSpool::new(1, 1 << 20);
        spool.count_dropped(9);
        let batch = spool.next_batch().unwrap();
        assert_eq!((batch.records.len(), batch.dropped), (0, 9));
        assert!(spool.next_batch().is_none());
    }

    proptest! {
        #[test]
        fn a_rewind_repeats_the_same_batches(sizes in prop::collection::vec(0_usize..60_000, 1..60)) {
            let mut spool = LogSpool::new(1, 4 << 20);
            sizes.iter().for_each(|size| spool.push(record(&"x".repeat(*size))));
            let first: Vec<_> = std::iter::from_fn(|| spool.next_batch()).collect();
            prop_assert!(first.iter().all(|batch| batch.records.len() == 1
                || batch.records.iter().map(size_of_record).sum::<usize>() <= BATCH_BYTES));
            spool.rewind();
            let again: Vec<_> = std::iter::from_fn(|| spool.next_batch()).take(first.len()).collect();
            prop_assert_eq!(&first, &again);
            spool.acknowledge(first[first.len() - 1].id);
            spool.rewind();
            prop_assert!(!spool.is_behind());
        }

        #[test]
        fn memory_stays_bounded(sizes in prop::collection::vec(0_usize..3_000, 0..200), capacity in 0_usize..20_000) {
            let mut spool = LogSpool::new(1, capacity);
            for (turn, size) in sizes.iter().enumerate() {
                spool.push(record(&"x".repeat(*size)));
                prop_assert!(spool.bytes() <= capacity);
                if turn % 3 == 0 {
                    spool.next_batch();
                }
            }
        }
    }
}
