//! What happens to a rollout, event by event.

use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;

use crate::action::{Action, Actions};
use crate::cohort::rank;
use crate::event::{Arrival, Departure, Event};
use crate::health::cut;
use crate::member::{Heard, Member};
use crate::rollout::{DEPARTED, MEMBERS, Rollout};
use crate::settings::OnSilence;
use crate::signal::{Finding, Signal};
use crate::snapshot::Phase;
use crate::traffic::Span;

impl Rollout {
    pub(super) fn take(&mut self, event: Event, out: &mut Actions) {
        match event {
            Event::Tick => {}
            Event::Joined(arrival) => self.join(arrival, out),
            Event::Left { instance, departure } => self.leave(instance, departure),
            Event::Report { instance, state, status } => {
                let Some(member) = self.state.members.get_mut(&instance) else { return };
                let heard = member.report(state, status, self.state.watched);
                self.heard(instance, heard, out);
            }
            Event::Program { instance, state } => {
                let Some(member) = self.state.members.get_mut(&instance) else { return };
                member.health.program(state);
                self.examine(instance, out);
            }
            Event::Probes { instance, probes } => {
                let Some(member) = self.state.members.get_mut(&instance) else { return };
                member.health.probes(&probes);
                self.examine(instance, out);
            }
            Event::Traffic { instance, span } => self.count(instance, &span),
            Event::Restarted => self.restarted(out),
        }
    }

    fn join(&mut self, arrival: Arrival, out: &mut Actions) {
        let instance = arrival.instance;
        let watched = self.state.watched;
        let heard = if let Some(member) = self.state.members.get_mut(&instance) {
            if !member.awaited {
                // Whoever comes and goes is not waited for any longer.
                member.joined_at = watched.elapsed;
            }
            let heard = member.rejoin(arrival, watched);
            self.renew_offer(instance, out);
            heard
        } else {
            if self.state.members.len() >= MEMBERS {
                return;
            }
            let departed = self.state.departed.remove(&instance);
            self.order.insert((rank(self.state.seed, instance), instance));
            let failure = arrival.status.last_failed.clone();
            self.state.members.insert(instance, Member::new(arrival, watched, out.now(), departed));
            Heard { failed: failure.map(|failure| (failure.config, failure.error, false)) }
        };
        self.heard(instance, heard, out);
    }

    /// An offer that did not arrive went down with the connection: it is made again when it is its turn. One that did
    /// arrive is repeated, because its answer may have gone down, unless it has been overtaken.
    fn renew_offer(&mut self, instance: InstanceId, out: &mut Actions) {
        let newest = self.newest();
        let state = &mut self.state;
        let Some(member) = state.members.get_mut(&instance) else { return };
        let Some(config) = member.offered() else { return };
        let stands = match &state.phase {
            Phase::Progressing | Phase::Held { .. } => config == state.target || Some(config) == state.stable,
            Phase::RollingBack { .. } => Some(config) == state.stable,
            Phase::Restoring { .. } | Phase::Closing(_) | Phase::Ended(_) => config == newest,
        };
        if member.received != Some(config) {
            member.offer = None;
        } else if stands {
            out.push(Action::Offer { instance, config });
        }
    }

    fn leave(&mut self, instance: InstanceId, departure: Departure) {
        let Some(member) = self.state.members.get_mut(&instance) else { return };
        match departure {
            Departure::Planned => self.remove(instance),
            Departure::Lost if member.is_connected() => member.lost_at = Some(self.state.watched.elapsed),
            Departure::Lost => {}
        }
    }

    /// It no longer counts, except as one that was touched.
    fn remove(&mut self, instance: InstanceId) {
        let state = &mut self.state;
        let Some(member) = state.members.remove(&instance) else { return };
        self.order.remove(&(rank(state.seed, instance), instance));
        if state.departed.len() >= DEPARTED {
            // Ids sort by the time they were made. Who was touched goes last: those must stay few.
            let oldest = state.departed.iter().find(|(_, departed)| !departed.touched).or(state.departed.iter().next());
            if let Some(oldest) = oldest.map(|(oldest, _)| *oldest) {
                state.departed.remove(&oldest);
            }
        }
        state.departed.insert(instance, member.departed());
        if member.touched {
            self.changed();
        }
    }

    fn heard(&mut self, instance: InstanceId, heard: Heard, out: &mut Actions) {
        let target = self.state.target;
        let Some(member) = self.state.members.get_mut(&instance) else { return };
        let was_touched = member.touched;
        if self.is_forward() {
            let Some(member) = self.state.members.get_mut(&instance) else { return };
            member.touched |= member.runs_content_of(target);
            if member.touched && !was_touched {
                self.changed();
            }
        }
        // Who was never offered it has nothing to say against it.
        if was_touched && let Some((_, error, had_run)) = heard.failed.filter(|(config, ..)| *config == target) {
            let error = cut(&error);
            let signal = if had_run { Signal::RolledBackLocally { error } } else { Signal::Refused { error } };
            self.convict(instance, signal, out);
        }
        self.examine(instance, out);
    }

    /// Looks whether an instance that runs the target is well.
    pub(super) fn examine(&mut self, instance: InstanceId, out: &mut Actions) {
        let target = self.state.target;
        let Some(member) = self.state.members.get(&instance) else { return };
        if member.touched
            && member.runs_content_of(target)
            && let Some(signal) = member.health.verdict(&self.plan.settings().gates)
        {
            self.convict(instance, signal, out);
        }
    }

    /// Holds something against the target, once for each instance.
    pub(super) fn convict(&mut self, instance: InstanceId, signal: Signal, out: &mut Actions) {
        if !self.is_forward() {
            return;
        }
        let Some(member) = self.state.members.get_mut(&instance).filter(|member| !member.convicted) else { return };
        member.convicted = true;
        self.changed();
        self.fail(Finding { instance: Some(instance), signal }, out);
    }

    /// Counts what an instance has served, for the cohort to which it belonged all the time.
    fn count(&mut self, instance: InstanceId, span: &Span) {
        let settings = self.plan.settings();
        let state = &mut self.state;
        let Some(member) = state.members.get_mut(&instance) else { return };
        if !matches!(state.phase, Phase::Progressing | Phase::Held { .. })
            || !span.is_plausible()
            || span.since < member.served.until
        {
            return;
        }
        member.served.until = span.until;
        let settled = member.running_since.saturating_add(match member.running_since.as_millis() {
            0 => Duration::ZERO,
            _ => settings.gates.warm_up,
        });
        if span.since < settled.max(state.step.opened) || member.offer.is_some() {
            return;
        }
        let runs = |config: ConfigRef| member.runs_content_of(config);
        if runs(state.target) {
            state.evidence.new.add(&span.traffic);
            let served = &mut member.served;
            served.requests = served.requests.saturating_add(span.traffic.requests);
            served.errors = served.errors.saturating_add(span.traffic.errors);
            let quantile =
                settings.gates.latency.as_ref().and_then(|gate| span.traffic.latency.quantile(gate.quantile));
            served.latency = quantile.or(served.latency);
        } else if state.stable.is_some_and(runs) {
            state.evidence.old.add(&span.traffic);
        }
    }

    fn restarted(&mut self, out: &mut Actions) {
        let watched = self.state.watched.elapsed;
        for member in self.state.members.values_mut() {
            member.lost_at = Some(watched);
            member.awaited = true;
            // The time in which nobody could have heard the answer is not held against it.
            if let Some(offer) = &mut member.offer {
                offer.at = watched;
            }
        }
        match &self.state.phase {
            Phase::RollingBack { cause, .. } => self.ask_for_rollback(cause.clone(), out),
            Phase::Ended(outcome) => out.push(Action::Ended(outcome.clone())),
            _ => {}
        }
    }

    /// Gives up what was waited for long enough.
    pub(super) fn expire(&mut self, out: &mut Actions) {
        let settings = self.plan.settings();
        let after = settings.answer_timeout;
        let silence_fails = settings.on_silence == OnSilence::Fail;
        let watched = self.state.watched;
        let (mut failed, mut gone) = (Vec::new(), Vec::new());
        for (instance, member) in &mut self.state.members {
            let is_over = |since: Duration| watched.since(since) >= after;
            if let Some(offer) = member.offer.take_if(|offer| is_over(offer.at)) {
                member.silent = offer.config.into();
                if offer.config == self.state.target && silence_fails {
                    failed.push((*instance, Signal::Silent { after }));
                }
            }
            if member.lost_at.is_some_and(is_over) && member.awaited {
                // After a restart everybody connects at once, which takes its time.
                member.awaited = false;
                member.lost_at = Some(watched.elapsed);
            } else if member.lost_at.is_some_and(is_over) {
                gone.push(*instance);
                if member.touched && silence_fails {
                    failed.push((*instance, Signal::Lost { after }));
                }
            }
        }
        for (instance, signal) in failed {
            self.convict(instance, signal, out);
        }
        for instance in gone {
            self.remove(instance);
        }
    }
}
