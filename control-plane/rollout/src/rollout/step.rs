//! From step to step.

use std::time::Duration;

use crate::action::{Actions, Outcome, Passed, What};
use crate::event::Reach;
use crate::member::Member;
use crate::rollout::{Rollout, count};
use crate::signal::{Finding, Signal};
use crate::snapshot::{Phase, StepState};
use crate::traffic::{Served, Traffic};

impl Rollout {
    pub(super) fn open_step(&mut self, index: usize, out: &mut Actions) {
        let state = &mut self.state;
        state.step = StepState::open(index, state.watched.elapsed, out.now());
        let old = std::mem::take(&mut state.evidence.old);
        if old.requests > 0 {
            state.evidence.earlier = old;
        }
        state.evidence.new = Traffic::default();
        for member in state.members.values_mut() {
            member.served = Served { until: member.served.until, ..Served::default() };
        }
        let instances = self.state.members.len();
        out.record(What::StepOpened {
            step: count(index + 1),
            of: count(self.plan.steps().len()),
            share: self.share(),
            cohort: count(self.share().of(instances)),
            instances: count(instances),
        });
        self.changed();
    }

    pub(super) fn bake(&self) -> Duration {
        self.plan.steps().get(self.state.step.index).map_or(Duration::ZERO, |step| step.bake)
    }

    /// Looks at the gate, and opens the next step when this one has passed. Returns whether anything has changed that
    /// others follow from.
    pub(super) fn move_step(&mut self, out: &mut Actions) -> bool {
        if self.compare(out) {
            return true;
        }
        if self.state.paused.is_some() {
            return false;
        }
        match self.state.step.baked {
            None => self.fill(out),
            Some(baked) if self.state.step.waived || baked >= self.bake() => self.decide(out),
            Some(_) => self.refill(out),
        }
    }

    /// Whether the cohort is complete and has answered.
    fn fill(&mut self, out: &mut Actions) -> bool {
        let target = self.state.target;
        let opened_at = self.state.step.opened_at;
        // Who has come since is not waited for, or a fleet that is never at rest would never get on.
        let was_there = |member: &Member| member.joined_at <= opened_at;
        let to_offer = self.candidates().any(|(_, member)| was_there(member));
        let waits = |member: &&Member| member.touched && was_there(member) && !Self::has_settled(member, target);
        let to_answer = self.state.members.values().any(|member| waits(&member));
        let settled = self.state.members.values().filter(|m| m.touched && Self::has_settled(m, target)).count();
        let patience = self.plan.settings().patience;
        let bake = self.bake();
        let step = &mut self.state.step;
        if settled > step.settled {
            step.settled = settled;
            step.progress_at = step.elapsed;
        }
        if !to_offer && !to_answer {
            step.baked = Some(Duration::ZERO);
            step.filled_at = self.state.watched.elapsed;
            step.due.get_or_insert(step.elapsed.saturating_add(bake).saturating_add(patience));
            out.record(What::Baking { step: count(step.index + 1), bake });
            self.changed();
            return true;
        }
        let due = step.due.unwrap_or(step.progress_at.saturating_add(patience));
        if step.elapsed < due {
            return false;
        }
        let finding = Finding { instance: None, signal: self.stalled(patience) };
        self.fail(finding, out)
    }

    fn stalled(&self, after: Duration) -> Signal {
        let unhealthy = self.state.members.values().filter(|member| self.is_busy(member)).count();
        let allowed = self.plan.max_unhealthy(self.state.members.len());
        Signal::Stalled { after, unhealthy: count(unhealthy), allowed: count(allowed) }
    }

    /// When everybody of the cohort has left there is nothing to judge by: others take their place, if there are any.
    fn refill(&mut self, out: &mut Actions) -> bool {
        if self.state.members.is_empty() || self.state.members.values().any(|member| member.touched) {
            return false;
        }
        let before = self.state.step;
        let step = &mut self.state.step;
        if step.due.is_some_and(|due| step.elapsed >= due) {
            return false;
        }
        step.baked = None;
        step.opened_at = self.state.watched.elapsed;
        if self.candidates().next().is_none() {
            self.state.step = before;
            return false;
        }
        out.record(What::Refilled { step: count(before.index + 1) });
        self.changed();
        true
    }

    /// The bake time is over: on, or not, or not yet.
    fn decide(&mut self, out: &mut Actions) -> bool {
        if self.state.step.waived {
            return self.pass(Passed::Promoted, out);
        }
        if self.state.overridden.is_some() {
            return self.pass(Passed::Overridden, out);
        }
        self.gate(out)
    }

    pub(super) fn pass(&mut self, why: Passed, out: &mut Actions) -> bool {
        let index = self.state.step.index;
        out.record(What::StepPassed { step: count(index + 1), why });
        if index + 1 < self.plan.steps().len() {
            self.open_step(index + 1, out);
        } else {
            self.enter(Phase::Closing(Outcome::Completed));
        }
        true
    }

    /// Somebody wants to go on.
    pub(super) fn promote(&mut self, reach: Reach, out: &mut Actions) {
        if matches!(self.state.phase, Phase::Held { .. }) {
            self.state.phase = Phase::Progressing;
            // Patience begins anew.
            let step = &mut self.state.step;
            step.progress_at = step.elapsed;
            step.due = None;
        }
        let last = self.plan.steps().len().saturating_sub(1);
        match reach {
            Reach::All if self.state.step.index < last => {
                self.pass_by_hand(out);
                self.open_step(last, out);
            }
            Reach::Step | Reach::All => self.state.step.waived = true,
        }
        self.changed();
    }

    fn pass_by_hand(&self, out: &mut Actions) {
        out.record(What::StepPassed { step: count(self.state.step.index + 1), why: Passed::Promoted });
    }
}
