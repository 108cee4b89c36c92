//! Which batches count. Pure: a ledger per agent and lane, kept over reconnects and over long absences.
//!
//! An agent numbers its batches 1, 2, 3… within an epoch, the life of one agent process, and resends after a
//! reconnect what was not acknowledged. Each pair counts once. Numbers that are skipped are batches which the agent
//! had to drop; they are noted and never waited for.

use std::collections::{BTreeMap, HashMap};

use outrigger_protocol::id::AgentId;
use outrigger_protocol::sample::BatchId;

use crate::traffic::Meter;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Counts now. `missed` batches were skipped before it.
    Fresh { missed: u64 },
    /// Counted before. It is acknowledged again, because the agent did not see the first acknowledgement.
    Duplicate,
    /// From an earlier life of this agent: refused.
    Stale,
}

/// The batches of one lane of one agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    epoch: u64,
    /// The highest number that counted in `epoch`; 0 before the first.
    highest: u64,
}

impl Ledger {
    /// Judges a batch and, when it is fresh, counts it.
    pub(crate) fn admit(&mut self, id: BatchId) -> Admission {
        if id.epoch < self.epoch {
            return Admission::Stale;
        }
        if id.epoch > self.epoch {
            // A control plane that was restarted meets an agent in mid-epoch: what came before is not missed, it is
            // unknown.
            let first_meeting = self.epoch == 0;
            self.epoch = id.epoch;
            self.highest = if first_meeting { id.seq.saturating_sub(1) } else { 0 };
        }
        if id.seq <= self.highest {
            return Admission::Duplicate;
        }
        let missed = id.seq - self.highest - 1;
        self.highest = id.seq;
        Admission::Fresh { missed }
    }

    /// The newest batch that counted: everything up to it is safe.
    #[must_use]
    pub(crate) const fn accepted(&self) -> Option<BatchId> {
        match self.highest {
            0 => None,
            seq => Some(BatchId { epoch: self.epoch, seq }),
        }
    }
}

/// What is known of an agent's batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// The epoch of its newest process.
    pub(crate) epoch: u64,
    pub(crate) metrics: Ledger,
    pub(crate) logs: Ledger,
    pub(crate) meter: Meter,
}

/// The books of agents that have been gone for so long that nothing else is known of them. A network that is cut for
/// hours takes acknowledgements with it, and what they were for is sent again.
#[derive(Debug)]
pub(crate) struct Shelf {
    most: usize,
    books: HashMap<AgentId, (u64, Books)>,
    /// By when they were put here.
    order: BTreeMap<u64, AgentId>,
    next: u64,
}

impl Shelf {
    /// One with room for `most`: those that have been here for longest make room for others.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, books: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn put(&mut self, agent: AgentId, books: Books) {
        self.take(agent);
        self.books.insert(agent, (self.next, books));
        self.order.insert(self.next, agent);
        self.next += 1;
        while self.books.len() > self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.books.remove(&oldest);
        }
    }

    pub(crate) fn take(&mut self, agent: AgentId) -> Option<Books> {
        let (place, books) = self.books.remove(&agent)?;
        self.order.remove(&place);
        Some(books)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(epoch: u64, seq: u64) -> BatchId {
        BatchId { epoch, seq }
    }

    #[test]
    fn a_batch_counts_once_however_often_it_is_sent() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.admit(id(7, 1)), Admission::Fresh { missed: 0 });
        assert_eq!(ledger.admit(id(7, 2)), Admission::Fresh { missed: 0 });
        assert_eq!(ledger.admit(id(7, 1)), Admission::Duplicate);
        assert_eq!(ledger.admit(id(7, 2)), Admission::Duplicate);
        assert_eq!(ledger.accepted(), Some(id(7, 2)));
    }

    #[test]
    fn a_gap_is_noted_and_not_waited_for() {
        let mut ledger = Ledger::default();
        ledger.admit(id(7, 1));
        assert_eq!(ledger.admit(id(7, 5)), Admission::Fresh { missed: 3 });
        assert_eq!(ledger.admit(id(7, 3)), Admission::Duplicate);
    }

    #[test]
    fn a_new_epoch_starts_again_and_the_old_one_is_refused() {
        let mut ledger = Ledger::default();
        ledger.admit(id(7, 9));
        assert_eq!(ledger.admit(id(8, 1)), Admission::Fresh { missed: 0 });
        assert_eq!(ledger.admit(id(7, 10)), Admission::Stale);
        assert_eq!(ledger.accepted(), Some(id(8, 1)));
    }

    #[test]
    fn an_agent_met_in_mid_epoch_has_missed_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.admit(id(7, 5_000)), Admission::Fresh { missed: 0 });
    }

    #[test]
    fn the_books_of_who_was_gone_for_longest_make_room() {
        let mut shelf = Shelf::new(2);
        let agents = [(); 3].map(|()| AgentId::generate());
        let books = |epoch| Books { epoch, ..Books::default() };
        shelf.put(agents[0], books(1));
        shelf.put(agents[1], books(2));
        shelf.put(agents[0], books(3));
        shelf.put(agents[2], books(4));
        assert_eq!(shelf.take(agents[1]), None);
        assert_eq!((shelf.take(agents[0]), shelf.take(agents[0])), (Some(books(3)), None));
        assert_eq!(shelf.take(agents[2]), Some(books(4)));
        assert!(shelf.books.is_empty() && shelf.order.is_empty());
    }

    #[test]
    fn extreme_numbers_neither_overflow_nor_panic() {
        let mut ledger = Ledger::default();
        ledger.admit(id(1, 1));
        assert_eq!(ledger.admit(id(1, u64::MAX)), Admission::Fresh { missed: u64::MAX - 2 });
        assert_eq!(ledger.admit(id(u64::MAX, 0)), Admission::Duplicate, "numbers begin at 1");
        assert_eq!(ledger.admit(id(u64::MAX, u64::MAX)), Admission::Fresh { missed: u64::MAX - 1 });
    }
}
