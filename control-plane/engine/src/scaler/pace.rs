//! When each deployment is looked at next. Pure: time is an argument.
//!
//! A deployment is looked at as soon as something is new about it, never twice at the same time, never sooner than the
//! least interval after the look before, and at the latest one tick after it. What arrives in between is one look.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use outrigger_protocol::id::DeploymentId;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    min_interval: Duration,
    tick: Duration,
    concurrency: usize,
    running: usize,
    slots: HashMap<DeploymentId, Slot>,
    queue: BTreeSet<(Instant, DeploymentId)>,
}

#[derive(Debug, Default)]
struct Slot {
    started: Option<Instant>,
    /// When it is due; in the queue unless it is being looked at.
    due: Option<Instant>,
    running: bool,
    /// Nobody wants to know any more once the look that is under way has ended.
    forgotten: bool,
}

impl Pace {
    pub(super) fn new(min_interval: Duration, tick: Duration, concurrency: usize) -> Self {
        let (slots, queue) = (HashMap::new(), BTreeSet::new());
        Self { min_interval, tick, concurrency: concurrency.max(1), running: 0, slots, queue }
    }

    /// Something is new.
    pub(super) fn poke(&mut self, id: DeploymentId, now: Instant) {
        let slot = self.slots.entry(id).or_default();
        slot.forgotten = false;
        let soonest = slot.started.map_or(now, |started| now.max(started + self.min_interval));
        self.schedule(id, soonest);
    }

    /// The deployment to look at now, if one is due and there is room.
    pub(super) fn start(&mut self, now: Instant) -> Option<DeploymentId> {
        let (due, id) = *self.queue.first()?;
        if due > now || self.running >= self.concurrency {
            return None;
        }
        self.queue.pop_first();
        let slot = self.slots.get_mut(&id)?;
        *slot = Slot { started: Some(now), due: None, running: true, forgotten: false };
        self.running += 1;
        Some(id)
    }

    /// A look has ended; the next is at the latest one tick from now, or after `wish`.
    pub(super) fn ended(&mut self, id: DeploymentId, now: Instant, wish: Option<Duration>) {
        self.running = self.running.saturating_sub(1);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.running = false;
        if slot.forgotten {
            self.slots.remove(&id);
            return;
        }
        let soonest = slot.started.map_or(now, |started| started + self.min_interval);
        let due = slot.due.take();
        let latest = now + wish.unwrap_or(self.tick).min(self.tick);
        self.schedule(id, due.unwrap_or(latest).min(latest).max(soonest));
    }

    /// The deployment is no longer looked at.
    pub(super) fn forget(&mut self, id: DeploymentId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.running {
            slot.forgotten = true;
        } else if let Some(slot) = self.slots.remove(&id)
            && let Some(due) = slot.due
        {
            self.queue.remove(&(due, id));
        }
    }

    /// When [`start`](Self::start) should be asked again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due).filter(|_| self.running < self.concurrency)
    }

    fn schedule(&mut self, id: DeploymentId, due: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.due.is_some_and(|present| present <= due) {
            return;
        }
        if let Some(later) = slot.due.replace(due) {
            self.queue.remove(&(later, id));
        }
        if !slot.running {
            self.queue.insert((due, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const TICK: Duration = Duration::from_secs(5);

    fn pace(concurrency: usize) -> Pace {
        Pace::new(MIN, TICK, concurrency)
    }

    #[test]
    fn what_is_new_is_looked_at_at_once_and_then_at_most_once_per_interval() {
        let (mut pace, id, t0) = (pace(8), DeploymentId::generate(), Instant::now());
        pace.poke(id, t0);
        assert_eq!(pace.start(t0), Some(id));
        for ms in 1..50 {
            pace.poke(id, t0 + Duration::from_millis(ms));
        }
        assert_eq!(pace.start(t0 + MIN), None, "it is being looked at");
        pace.ended(id, t0 + Duration::from_millis(50), None);
        assert_eq!(pace.next_due(), Some(t0 + MIN));
        assert_eq!(pace.start(t0 + MIN - Duration::from_millis(1)), None);
        assert_eq!(pace.start(t0 + MIN), Some(id));
    }

    #[test]
    fn silence_is_looked_at_every_tick_or_as_the_policy_wishes() {
        let (mut pace, id, t0) = (pace(8), DeploymentId::generate(), Instant::now());
        pace.poke(id, t0);
        pace.start(t0);
        pace.ended(id, t0, None);
        assert_eq!(pace.next_due(), Some(t0 + TICK));
        assert_eq!(pace.start(t0 + TICK), Some(id));
        pace.ended(id, t0 + TICK, Some(Duration::from_secs(1)));
        assert_eq!(pace.next_due(), Some(t0 + TICK + Duration::from_secs(1)));
        pace.start(t0 + TICK + Duration::from_secs(1));
        pace.ended(id, t0 + TICK + Duration::from_secs(1), Some(Duration::ZERO));
        assert_eq!(
            pace.next_due(),
            Some(t0 + TICK + Duration::from_secs(1) + MIN),
            "a wish does not go below the least"
        );
    }

    #[test]
    fn there_are_never_more_looks_than_allowed_and_the_longest_due_goes_first() {
        let (mut pace, t0) = (pace(2), Instant::now());
        let ids = [DeploymentId::generate(), DeploymentId::generate(), DeploymentId::generate()];
        for (id, ms) in ids.into_iter().zip(0..) {
            pace.poke(id, t0 + Duration::from_millis(ms));
        }
        let now = t0 + Duration::from_millis(10);
        assert_eq!([pace.start(now), pace.start(now), pace.start(now)], [Some(ids[0]), Some(ids[1]), None]);
        assert_eq!(pace.next_due(), None, "there is no room");
        pace.ended(ids[0], now, None);
        assert_eq!(pace.start(now), Some(ids[2]));
    }

    #[test]
    fn what_is_forgotten_is_not_looked_at_again() {
        let (mut pace, t0) = (pace(2), Instant::now());
        let (one, other) = (DeploymentId::generate(), DeploymentId::generate());
        pace.poke(one, t0);
        pace.forget(one);
        assert_eq!(pace.start(t0 + TICK), None);
        pace.poke(other, t0);
        assert_eq!(pace.start(t0), Some(other));
        pace.poke(other, t0);
        pace.forget(other);
        pace.ended(other, t0, None);
        assert_eq!((pace.next_due(), pace.slots.len()), (None, 0));
    }
}
