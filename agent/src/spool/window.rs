//! Batches that were handed out: numbered, frozen, in order, until they are acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::sample::BatchId;

/// Batches that may be out at once. The server answers each, so that whatever waits is sent at the server's pace and not
/// at that of the network: thousands of agents come back at the same time. What is taken meanwhile is in the next batch.
pub(super) const MAX_BATCHES: usize = 8;

/// What an acknowledgement was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// This many batches are safe and forgotten.
    Forgotten(usize),
    /// Everything up to there had been acknowledged before.
    Known,
    /// Of another epoch, or of a batch that was never cut: the peer errs, and nothing was forgotten.
    Foreign,
}

#[derive(Debug)]
pub(super) struct Window<B> {
    epoch: u64,
    /// Of the batch that is cut last; 0 when none was.
    last_seq: u64,
    batches: VecDeque<Frozen<B>>,
    /// Batches of the front that were handed out since the last rewind.
    handed_out: usize,
    items: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Frozen<B> {
    seq: u64,
    items: usize,
    bytes: usize,
    batch: Arc<B>,
}

impl<B> Window<B> {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, last_seq: 0, batches: VecDeque::new(), handed_out: 0, items: 0, bytes: 0 }
    }

    /// The next batch that was cut before and has to be sent again.
    pub(super) fn next(&mut self) -> Option<Arc<B>> {
        let frozen = self.batches.get(self.handed_out)?;
        self.handed_out += 1;
        Some(Arc::clone(&frozen.batch))
    }

    /// Whether another batch may be cut while `budget` bytes may be out.
    pub(super) fn has_room(&self, budget: usize) -> bool {
        self.batches.len() < MAX_BATCHES && (self.bytes < budget || self.batches.is_empty())
    }

    /// Freezes a new batch of so many items and bytes as the last one and hands it out. Only after [`next`](Self::next) had nothing left.
    pub(super) fn cut(&mut self, items: usize, bytes: usize, batch: impl FnOnce(BatchId) -> B) -> Arc<B> {
        debug_assert_eq!(self.handed_out, self.batches.len(), "older batches go first");
        // A batch a nanosecond would take five centuries to get there.
        self.last_seq = self.last_seq.saturating_add(1);
        let id = BatchId { epoch: self.epoch, seq: self.last_seq };
        let batch = Arc::new(batch(id));
        self.batches.push_back(Frozen { seq: id.seq, items, bytes, batch: Arc::clone(&batch) });
        self.handed_out = self.batches.len();
        self.items += items;
        self.bytes += bytes;
        batch
    }

    /// Forgets every batch up to `id`.
    pub(super) fn acknowledge(&mut self, id: BatchId) -> Acknowledged {
        if id.epoch != self.epoch || id.seq > self.last_seq {
            return Acknowledged::Foreign;
        }
        let mut forgotten = 0;
        while let Some(frozen) = self.batches.pop_front_if(|frozen| frozen.seq <= id.seq) {
            self.items -= frozen.items;
            self.bytes -= frozen.bytes;
            forgotten += 1;
        }
        self.handed_out = self.handed_out.saturating_sub(forgotten);
        if forgotten == 0 { Acknowledged::Known } else { Acknowledged::Forgotten(forgotten) }
    }

    /// All unacknowledged batches are to be sent again.
    pub(super) fn rewind(&mut self) {
        self.handed_out = 0;
    }

    pub(super) fn items(&self) -> usize {
        self.items
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }
}
