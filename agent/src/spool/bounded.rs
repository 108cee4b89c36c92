//! The spool itself, whatever it holds: what waits, what is frozen, what was dropped, and how much there may be of it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use outrigger_protocol::sample::BatchId;

use super::window::{Acknowledged, Window};

/// One part in this many of the capacity may be in unacknowledged batches.
const FROZEN_SHARE: usize = 4;

/// Room in the queue that is kept while it is empty.
const KEPT_ITEMS: usize = 64;

/// What is spooled, and what is special about it.
pub trait Goods {
    /// As it is pushed.
    type Item;
    /// As it waits for a batch.
    type Waiting: Debug;
    /// As it travels.
    type Batch: Debug;

    /// Most that a batch holds.
    const BATCH_ITEMS: usize;
    /// Most bytes that a batch holds, unless a single item is larger.
    const BATCH_BYTES: usize;
    /// Whether a count of dropped items is worth a batch without any.
    const COUNT_TRAVELS_ALONE: bool;

    fn admit(item: Self::Item) -> Self::Waiting;

    /// What it takes in memory, and an upper bound of what it takes in a frame.
    fn size(waiting: &Self::Waiting) -> usize;

    /// Makes a queue of at least one, the oldest first and of this many bytes, shorter. Returns the bytes that are left.
    fn make_room(queue: &mut VecDeque<Self::Waiting>, bytes: usize) -> usize;

    fn pack(id: BatchId, items: impl Iterator<Item = Self::Waiting>, dropped: u64) -> Self::Batch;
}

/// A bounded spool; see the [module's head](super).
#[derive(Debug)]
pub struct Spool<G: Goods> {
    capacity: usize,
    window: Window<G::Batch>,
    unsent: VecDeque<G::Waiting>,
    unsent_bytes: usize,
    /// Dropped since the last batch was cut, by whomever.
    untold: u64,
    dropped: u64,
}

impl<G: Goods> Spool<G> {
    /// `epoch` is drawn at the start of the agent's process; `capacity` is in bytes.
    #[must_use]
    pub fn new(epoch: u64, capacity: usize) -> Self {
        Self { capacity, window: Window::new(epoch), unsent: VecDeque::new(), unsent_bytes: 0, untold: 0, dropped: 0 }
    }

    /// Takes an item. When there is no room, what waits gives way.
    pub fn push(&mut self, item: G::Item) {
        let waiting = G::admit(item);
        self.unsent_bytes += G::size(&waiting);
        self.unsent.push_back(waiting);
        while self.bytes() > self.capacity && !self.unsent.is_empty() {
            let before = self.unsent.len();
            self.unsent_bytes = G::make_room(&mut self.unsent, self.unsent_bytes);
            self.count_dropped((before - self.unsent.len()) as u64);
        }
    }

    /// Counts items that are gone, here or before they came here.
    pub fn count_dropped(&mut self, items: u64) {
        self.untold = self.untold.saturating_add(items);
        self.dropped = self.dropped.saturating_add(items);
    }

    /// The next batch to send: first those to be sent again, then a new one. `None` when nothing waits, or when as
    /// much as may be is unacknowledged.
    pub fn next_batch(&mut self) -> Option<Arc<G::Batch>> {
        if let Some(batch) = self.window.next() {
            return Some(batch);
        }
        let worth_sending = !self.unsent.is_empty() || (G::COUNT_TRAVELS_ALONE && self.untold > 0);
        if !worth_sending || !self.window.has_room(self.capacity / FROZEN_SHARE) {
            return None;
        }
        let most_bytes = G::BATCH_BYTES.min(self.capacity / FROZEN_SHARE);
        let (mut count, mut bytes) = (0, 0);
        for waiting in self.unsent.iter().take(G::BATCH_ITEMS) {
            let size = G::size(waiting);
            if count > 0 && bytes + size > most_bytes {
                break;
            }
            count += 1;
            bytes += size;
        }
        self.unsent_bytes -= bytes;
        let items = self.unsent.drain(..count);
        let dropped = std::mem::take(&mut self.untold);
        let batch = self.window.cut(count, bytes, |id| G::pack(id, items, dropped));
        self.give_back();
        Some(batch)
    }

    /// What a long absence has made the queue grow to is not kept for the next one.
    fn give_back(&mut self) {
        if self.unsent.capacity() > KEPT_ITEMS.max(4 * self.unsent.len()) {
            self.unsent.shrink_to(KEPT_ITEMS.max(2 * self.unsent.len()));
        }
    }

    /// Everything up to `id` is safe with the server.
    pub fn acknowledge(&mut self, id: BatchId) -> Acknowledged {
        self.window.acknowledge(id)
    }

    /// After a reconnect: whatever was not acknowledged is sent again, under its id and as it was.
    pub fn rewind(&mut self) {
        self.window.rewind();
    }

    /// Items that are in no batch yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Items that the server has not confirmed, in batches or not.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.window.items() + self.unsent.len()
    }

    /// Batches that were cut and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// Bytes held, sent and unsent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.window.bytes() + self.unsent_bytes
    }

    /// Items dropped since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::window::MAX_BATCHES;

    /// Numbers of ten bytes each, of which the oldest go first.
    #[derive(Debug)]
    struct Numbers;

    #[derive(Debug, PartialEq, Eq)]
    struct Batch {
        id: BatchId,
        numbers: Vec<u64>,
        dropped: u64,
    }

    impl Goods for Numbers {
        type Item = u64;
        type Waiting = u64;
        type Batch = Batch;
        const BATCH_ITEMS: usize = 5;
        const BATCH_BYTES: usize = 1_000;
        const COUNT_TRAVELS_ALONE: bool = false;

        fn admit(item: u64) -> u64 {
            item
        }

        fn size(_: &u64) -> usize {
            10
        }

        fn make_room(queue: &mut VecDeque<u64>, bytes: usize) -> usize {
            queue.pop_front();
            bytes - 10
        }

        fn pack(id: BatchId, items: impl Iterator<Item = u64>, dropped: u64) -> Batch {
            Batch { id, numbers: items.collect(), dropped }
        }
    }

    fn spool(capacity: usize) -> Spool<Numbers> {
        Spool::new(7, capacity)
    }

    #[test]
    fn batches_are_numbered_from_one_in_the_epoch() {
        let mut spool = spool(1_000);
        assert!(spool.next_batch().is_none());
        spool.push(1);
        assert_eq!(spool.next_batch().unwrap().id, BatchId { epoch: 7, seq: 1 });
        assert!(spool.next_batch().is_none());
        spool.push(2);
        spool.push(3);
        let second = spool.next_batch().unwrap();
        assert_eq!((second.id.seq, second.numbers.as_slice()), (2, [2, 3].as_slice()));
    }

    #[test]
    fn after_a_rewind_the_unacknowledged_come_again_before_anything_new() {
        let mut spool = spool(1_000);
        let sent: Vec<_> = (1..=3)
            .map(|number| {
                spool.push(number);
                spool.next_batch().unwrap()
            })
            .collect();
        assert_eq!(spool.acknowledge(sent[0].id), Acknowledged::Forgotten(1));
        spool.push(4);
        spool.rewind();
        assert_eq!(spool.next_batch().as_ref(), Some(&sent[1]));
        assert_eq!(spool.acknowledge(sent[1].id), Acknowledged::Forgotten(1));
        assert_eq!(spool.next_batch().as_ref(), Some(&sent[2]));
        assert_eq!(spool.next_batch().unwrap().numbers, [4]);
    }

    #[test]
    fn a_late_acknowledgement_spares_sending_again() {
        let mut spool = spool(1_000);
        spool.push(1);
        let id = spool.next_batch().unwrap().id;
        spool.rewind();
        spool.acknowledge(id);
        assert!(spool.next_batch().is_none());
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_forgets_nothing() {
        let mut spool = spool(1_000);
        spool.push(1);
        let id = spool.next_batch().unwrap().id;
        assert_eq!(spool.acknowledge(BatchId { seq: u64::MAX, ..id }), Acknowledged::Foreign);
        assert_eq!(spool.acknowledge(BatchId { epoch: 2, ..id }), Acknowledged::Foreign);
        assert_eq!(spool.unacknowledged(), 1);
        spool.acknowledge(id);
        assert_eq!(spool.acknowledge(id), Acknowledged::Known);
    }

    #[test]
    fn what_the_server_has_not_confirmed_is_counted_wherever_it_is() {
        let mut spool = spool(1_000);
        (0..8).for_each(|number| spool.push(number));
        let first = spool.next_batch().unwrap();
        assert_eq!((spool.unsent(), spool.unacknowledged(), spool.unconfirmed()), (3, 1, 8));
        spool.rewind();
        assert_eq!(spool.unconfirmed(), 8);
        spool.acknowledge(first.id);
        assert_eq!((spool.unsent(), spool.unacknowledged(), spool.unconfirmed()), (3, 0, 3));
    }

    #[test]
    fn the_memory_of_a_long_absence_is_given_back() {
        let mut spool = spool(1_000_000);
        (0..50_000).for_each(|number| spool.push(number));
        assert!(spool.unsent.capacity() >= 50_000);
        while let Some(batch) = spool.next_batch() {
            spool.acknowledge(batch.id);
        }
        assert!(spool.unsent.is_empty() && spool.unsent.capacity() <= 2 * KEPT_ITEMS, "{}", spool.unsent.capacity());
    }

    #[test]
    fn the_server_sets_the_pace_at_which_a_backlog_is_sent() {
        let mut spool = spool(1_000_000);
        (0..1_000).for_each(|number| spool.push(number));
        let sent: Vec<_> = std::iter::from_fn(|| spool.next_batch()).collect();
        assert_eq!(sent.len(), MAX_BATCHES);
        spool.acknowledge(sent[1].id);
        assert_eq!(std::iter::from_fn(|| spool.next_batch()).count(), 2);
    }

    #[test]
    fn what_is_frozen_does_not_give_way_and_takes_a_share_only() {
        let mut spool = spool(200);
        (0..20).for_each(|number| spool.push(number));
        let first = spool.next_batch().unwrap();
        assert!(spool.next_batch().is_none(), "a quarter of the capacity is out");
        (20..40).for_each(|number| spool.push(number));
        assert_eq!((spool.bytes(), spool.dropped()), (200, 20));
        spool.rewind();
        assert_eq!(spool.next_batch(), Some(Arc::clone(&first)));
        spool.acknowledge(first.id);
        let second = spool.next_batch().unwrap();
        assert_eq!((second.numbers.first(), second.dropped), (Some(&25), 20));
    }
}
