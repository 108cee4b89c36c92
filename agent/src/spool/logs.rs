//! Log records on their way to the control plane: the oldest make room.

use std::collections::VecDeque;

use outrigger_protocol::limits::{LOG_RECORDS_PER_BATCH, LOGS_BYTES};
use outrigger_protocol::log::{LogBatch, LogRecord};
use outrigger_protocol::sample::BatchId;

use super::bounded::{Goods, Spool};

/// A bounded spool of log records; see the [module's head](super).
pub type LogSpool = Spool<Records>;

/// Log records as they are spooled.
#[derive(Debug)]
pub struct Records;

impl Goods for Records {
    type Item = LogRecord;
    type Waiting = LogRecord;
    type Batch = LogBatch;

    const BATCH_ITEMS: usize = LOG_RECORDS_PER_BATCH;
    /// Half of the lane's limit leaves room for what a frame adds.
    const BATCH_BYTES: usize = LOGS_BYTES as usize / 2;
    /// Somebody who reads a log wants to know that it has a hole.
    const COUNT_TRAVELS_ALONE: bool = true;

    fn admit(item: LogRecord) -> LogRecord {
        item
    }

    fn size(waiting: &LogRecord) -> usize {
        size_of::<LogRecord>() + waiting.message.len()
    }

    fn make_room(queue: &mut VecDeque<LogRecord>, bytes: usize) -> usize {
        bytes - queue.pop_front().map_or(0, |oldest| Self::size(&oldest))
    }

    fn pack(id: BatchId, items: impl Iterator<Item = LogRecord>, dropped: u64) -> LogBatch {
        LogBatch { id, records: items.collect(), dropped }
    }
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
        let capacity = 10 * Records::size(&record("00"));
        let mut spool = LogSpool::new(1, capacity);
        (0..15).for_each(|i| spool.push(record(&format!("{i:02}"))));
        spool.count_dropped(3);
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        while let Some(batch) = spool.next_batch() {
            kept.extend(batch.records.iter().map(|record| record.message.clone()));
            dropped.push(batch.dropped);
            spool.acknowledge(batch.id);
        }
        let newest: Vec<_> = (5..15).map(|i| format!("{i:02}")).collect();
        assert_eq!((kept, dropped[0], dropped.iter().sum()), (newest, 8, 8_u64));
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
                || batch.records.iter().map(Records::size).sum::<usize>() <= Records::BATCH_BYTES));
            spool.rewind();
            let again: Vec<_> = std::iter::from_fn(|| spool.next_batch()).take(first.len()).collect();
            prop_assert_eq!(&first, &again);
            let last = first[first.len() - 1].id;
            spool.acknowledge(last);
            spool.rewind();
            prop_assert!(spool.next_batch().is_none_or(|batch| batch.id.seq > last.seq));
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
