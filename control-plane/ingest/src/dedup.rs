//! Which batches count. Pure: a ledger per agent and lane, kept over reconnects.
//!
//! An agent numbers its batches 1, 2, 3… within an epoch, the life of one agent process, and resends after a
//! reconnect what was not acknowledged. Each pair counts once. Numbers that are skipped are batches which the agent
//! had to drop; they are noted and never waited for.

use outrigger_protocol::sample::BatchId;

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
    fn extreme_numbers_neither_overflow_nor_panic() {
        let mut ledger = Ledger::default();
        ledger.admit(id(1, 1));
        assert_eq!(ledger.admit(id(1, u64::MAX)), Admission::Fresh { missed: u64::MAX - 2 });
        assert_eq!(ledger.admit(id(u64::MAX, 0)), Admission::Duplicate, "numbers begin at 1");
        assert_eq!(ledger.admit(id(u64::MAX, u64::MAX)), Admission::Fresh { missed: u64::MAX - 1 });
    }
}
