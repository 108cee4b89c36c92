//! Who is offered what, and when.
//!
//! Two promises are kept here and nowhere else: nobody outside the step's share is offered the target, and no offer takes
//! an instance out of service when as many are without as may be. Both are decided at the moment of the offer, so it
//! does not matter how the fleet came to be as it is.

use std::collections::BTreeSet;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;

use crate::action::{Action, Actions, Outcome};
use crate::member::{Member, Offered, Rare, Standing};
use crate::rollout::Rollout;
use crate::share::Percent;
use crate::snapshot::Phase;

impl Rollout {
    /// Makes every offer that can be made now.
    pub(super) fn offer_what_is_due(&mut self, out: &mut Actions) {
        let mut due: Vec<(InstanceId, ConfigRef)> = Vec::new();
        if matches!(self.state.phase, Phase::Progressing) && self.state.paused.is_none() {
            due.extend(self.candidates().map(|(instance, _)| (instance, self.state.target)));
        }
        let candidates: BTreeSet<InstanceId> = due.iter().map(|(instance, _)| *instance).collect();
        let others = self.order.iter().filter(|(_, instance)| !candidates.contains(instance));
        due.extend(others.filter_map(|(_, instance)| {
            let member = self.state.members.get(instance)?;
            Some((*instance, self.due_besides(member)?))
        }));
        if due.is_empty() {
            return;
        }
        let decided = matches!(self.state.phase, Phase::Restoring { .. } | Phase::Ended(_));
        if decided {
            // The sick first: they lose nothing.
            due.sort_by_key(|(instance, _)| {
                self.state.members.get(instance).is_some_and(|member| !self.is_busy(member))
            });
        }
        let most = self.plan.max_unhealthy(self.state.members.len());
        let mut busy = self.without_service(decided);
        for (instance, config) in due {
            let Some(member) = self.state.members.get(&instance) else { continue };
            let disrupts = !self.is_busy(member) && !member.runs_content_of(config);
            if disrupts {
                if busy >= most {
                    continue;
                }
                busy += 1;
            }
            self.offer(instance, config, disrupts, out);
        }
    }

    pub(super) fn is_busy(&self, member: &Member) -> bool {
        member.is_busy(self.state.watched, self.plan.settings().min_ready)
    }

    /// How many count against the limit. When it is decided what everybody has to run, on the way back and after the end,
    /// only those count that are taken out of service for it: if the sick counted too, they would hold up their own cure.
    fn without_service(&self, decided: bool) -> usize {
        let members = self.state.members.values();
        if decided {
            members.filter(|member| member.offer.as_ref().is_some_and(|offer| offer.disrupts)).count()
        } else {
            members.filter(|member| self.is_busy(member)).count()
        }
    }

    /// Whose turn it is in the present step, first come first.
    ///
    /// The cohort is rounded up to whole instances, of those that are there, and also of all that have ever been there:
    /// instances that leave are replaced, but not so that in the end more than the share was touched. While a step is
    /// being filled, the lowest ranks enter it. While it bakes, only newcomers do, and only if their own rank is low
    /// enough: that the fleet grows is no reason to touch another one that serves.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (InstanceId, &Member)> {
        let state = &self.state;
        let (target, step) = (state.target, state.step);
        let cohort = self.share().of(state.members.len());
        let is_open = step.baked.is_none() || self.share() == Percent::ALL;
        let ranks = if is_open { self.order.len() } else { cohort };
        self.order
            .iter()
            .take(ranks)
            .filter_map(|(_, instance)| Some((*instance, state.members.get(instance)?)))
            .filter(move |(_, member)| !member.touched && member.wants(target))
            .filter(move |(_, member)| is_open || member.joined_at > step.filled_at)
            .take(self.room())
    }

    /// How many more may be touched in the present step.
    fn room(&self) -> usize {
        let (present, ever) = self.touched();
        let state = &self.state;
        let cohort = self.share().of(state.members.len());
        let departed = state.departed.values().filter(|departed| departed.counted).count();
        let of_all = self.share().of(state.members.len() + departed);
        cohort.saturating_sub(present).min(of_all.saturating_sub(ever))
    }

    /// How many have been touched: of those that are there, and of all.
    pub(super) fn touched(&self) -> (usize, usize) {
        let present = self.state.members.values().filter(|member| member.touched).count();
        let departed = self.state.departed.values().filter(|departed| departed.touched).count();
        (present, present + departed)
    }

    pub(super) fn share(&self) -> Percent {
        self.plan.steps().get(self.state.step.index).map_or(Percent::ALL, |step| step.share)
    }

    /// What an instance should be offered apart from the step's cohort.
    fn due_besides(&self, member: &Member) -> Option<ConfigRef> {
        let state = &self.state;
        let config = match &state.phase {
            // Who was touched stays touched, also when its agent has forgotten it. Who was not has to run what the rest
            // runs; the number does not matter.
            Phase::Progressing | Phase::Held { .. } | Phase::RollingBack { .. } if !member.touched => {
                state.stable.filter(|stable| !member.runs_content_of(*stable))
            }
            Phase::Progressing | Phase::Held { .. } => Some(state.target),
            Phase::Restoring { config, .. } | Phase::Ended(Outcome::RolledBack { config, .. }) => Some(*config),
            Phase::Ended(Outcome::Completed) => Some(state.target),
            Phase::RollingBack { .. } | Phase::Closing(_) | Phase::Ended(Outcome::Failed { .. }) => None,
        };
        config.filter(|config| member.wants(*config))
    }

    fn offer(&mut self, instance: InstanceId, config: ConfigRef, disrupts: bool, out: &mut Actions) {
        let at = self.state.watched.elapsed;
        let is_target = self.is_forward() && config == self.state.target;
        let Some(member) = self.state.members.get_mut(&instance) else { return };
        member.offer = Some(Box::new(Offered { config, at, disrupts }));
        member.highest = member.highest.max(config.generation);
        member.silent = Rare::default();
        member.ask_again = Rare::default();
        if is_target && !member.touched {
            member.touched = true;
            member.health.offered();
        }
        self.changed();
        out.push(Action::Offer { instance, config });
    }

    /// Whether an instance has done with a configuration what it ever will without being asked again.
    pub(super) fn has_settled(member: &Member, config: ConfigRef) -> bool {
        !matches!(member.standing(config), Standing::Waiting | Standing::Pending)
    }
}
