//! What is held against a generation, and what follows.

use outrigger_protocol::id::InstanceId;

use crate::action::{Actions, Cause, Passed, What};
use crate::comparison::{Verdict, compare};
use crate::member::Member;
use crate::rollout::{Rollout, count};
use crate::settings::{OnFailure, OnInconclusive, OnSilence};
use crate::signal::{Finding, Signal};
use crate::snapshot::{Hold, Phase, Snapshot};

impl Rollout {
    /// Something speaks against the target. Returns whether the rollout does something else now.
    pub(super) fn fail(&mut self, finding: Finding, out: &mut Actions) -> bool {
        if !self.is_forward() {
            return false;
        }
        // The share that may be without service is not anybody's to override.
        let is_stall = matches!(finding.signal, Signal::Stalled { .. });
        if self.state.overridden.is_some() && !is_stall {
            out.record(What::FailureOverlooked { finding });
            return false;
        }
        if !matches!(finding.signal, Signal::ErrorRate { .. } | Signal::Latency { .. }) && finding.instance.is_some() {
            let failures = self.failures();
            let tolerated = self.plan.tolerated_failures(self.state.members.len());
            if failures <= tolerated {
                let (failures, tolerated) = (count(failures), count(tolerated));
                out.record(What::FailureTolerated { finding, failures, tolerated });
                return false;
            }
        }
        if matches!(self.state.phase, Phase::Held { why: Hold::Failed, .. }) {
            return false;
        }
        out.record(What::GateFailed { finding: finding.clone() });
        match self.plan.settings().on_failure {
            OnFailure::RollBack => self.roll_back(Cause::Gate(finding), out),
            OnFailure::Hold => self.hold(finding, Hold::Failed, out),
        }
        true
    }

    /// Instances that something was held against, also those that have left.
    fn failures(&self) -> usize {
        let present = self.state.members.values().filter(|member| member.convicted).count();
        present + self.state.departed.values().filter(|departed| departed.convicted).count()
    }

    fn hold(&mut self, finding: Finding, why: Hold, out: &mut Actions) {
        out.record(What::Held { finding: finding.clone() });
        self.enter(Phase::Held { finding, why });
    }

    /// Compares requests at any time, because what is bad does not have to be looked at for a whole bake time. Returns
    /// whether the rollout does something else now.
    pub(super) fn compare(&mut self, out: &mut Actions) -> bool {
        if self.state.overridden.is_some() || matches!(self.state.phase, Phase::Held { why: Hold::Failed, .. }) {
            return false;
        }
        match self.verdict() {
            Verdict::Worse(signal) => {
                let finding = Finding { instance: self.worst(&signal), signal };
                self.fail(finding, out)
            }
            _ => false,
        }
    }

    fn verdict(&self) -> Verdict {
        let state = &self.state;
        let gates = &self.plan.settings().gates;
        let serves = |member: &Member| {
            member.is_connected() && state.stable.is_some_and(|stable| member.runs_content_of(stable))
        };
        let old_serves = state.members.values().any(serves);
        compare(gates, &state.evidence, old_serves, state.baseline.as_ref())
    }

    /// Who contributed most to what the comparison found.
    fn worst(&self, signal: &Signal) -> Option<InstanceId> {
        let with_target = self.state.members.iter().filter(|(_, member)| member.served.requests > 0);
        let worst = match signal {
            Signal::ErrorRate { .. } => with_target.max_by_key(|(_, member)| member.served.errors),
            _ => with_target.max_by_key(|(_, member)| member.served.latency),
        };
        worst.map(|(instance, _)| *instance)
    }

    /// The gate at the end of a bake time.
    pub(super) fn gate(&mut self, out: &mut Actions) -> bool {
        let is_due = self.state.step.due.is_some_and(|due| self.state.step.elapsed >= due);
        if let Some(instance) = self.doubtful() {
            if !is_due {
                return false;
            }
            self.convict(instance, Signal::Unwell, out);
            return true;
        }
        let (present, _) = self.touched();
        if present == 0 && !self.state.members.is_empty() {
            let finding = Finding { instance: None, signal: Signal::NobodyLeft };
            return is_due && self.inconclusive(finding, out);
        }
        match self.verdict() {
            Verdict::NotWorse => self.pass(Passed::Compared, out),
            Verdict::NoTraffic => self.pass(Passed::WithoutTraffic, out),
            Verdict::TooFew { shortage, may_tell } => {
                let finding = Finding { instance: None, signal: shortage };
                (is_due || !may_tell) && self.inconclusive(finding, out)
            }
            // Has been looked at before.
            Verdict::Worse(_) => false,
        }
    }

    /// Somebody with the target who is not well, was well before, and has not been convicted: it is not over yet. Whoever
    /// came during the bake time may still be starting, and in some fleets somebody always is.
    fn doubtful(&self) -> Option<InstanceId> {
        let Snapshot { target, step, .. } = self.state;
        let silence_fails = self.plan.settings().on_silence == OnSilence::Fail;
        let is_doubtful = |member: &Member| {
            let ill = member.runs_content_of(target) && member.health.has_become_ill();
            let lost = !member.is_connected() && silence_fails;
            member.touched && !member.convicted && member.joined_at <= step.filled_at && (ill || lost)
        };
        self.state.members.iter().find(|(_, member)| is_doubtful(member)).map(|(instance, _)| *instance)
    }

    fn inconclusive(&mut self, finding: Finding, out: &mut Actions) -> bool {
        match self.plan.settings().on_inconclusive {
            OnInconclusive::Promote => self.pass(Passed::Inconclusive, out),
            OnInconclusive::Hold => {
                self.hold(finding, Hold::Inconclusive, out);
                true
            }
            OnInconclusive::RollBack => {
                out.record(What::GateFailed { finding: finding.clone() });
                self.roll_back(Cause::Gate(finding), out);
                true
            }
        }
    }
}
