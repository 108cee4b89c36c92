//! Where a rollout stands, for people.

use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;

use crate::action::Tally;
use crate::member::{Member, Standing};
use crate::rollout::{Rollout, count};
use crate::share::Percent;
use crate::snapshot::Phase;

/// What the API shows of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub target: ConfigRef,
    pub stable: Option<ConfigRef>,
    pub phase: Phase,
    /// The present step, from 1, and how many there are.
    pub step: u32,
    pub steps: u32,
    pub share: Percent,
    /// How long the present step has baked and has to; `None` while its cohort is being filled.
    pub baked: Option<(Duration, Duration)>,
    pub paused: Option<String>,
    pub overridden: Option<String>,
    pub tally: Tally,
}

impl Rollout {
    #[must_use]
    pub fn progress(&self) -> Progress {
        let state = &self.state;
        Progress {
            target: state.target,
            stable: state.stable,
            phase: state.phase.clone(),
            step: count(state.step.index + 1),
            steps: count(self.plan.steps().len()),
            share: self.share(),
            baked: state.step.baked.map(|baked| (baked, self.bake())),
            paused: state.paused.clone(),
            overridden: state.overridden.clone(),
            tally: self.tally(),
        }
    }

    /// The instances that take part.
    pub fn members(&self) -> impl Iterator<Item = (InstanceId, &Member)> {
        self.state.members.iter().map(|(instance, member)| (*instance, member))
    }

    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.state.phase, Phase::Ended(_))
    }

    pub(super) fn tally(&self) -> Tally {
        let newest = self.newest();
        let mut tally = Tally {
            total: count(self.state.members.len()),
            touched: count(self.touched().1),
            unhealthy: count(self.state.members.values().filter(|member| member.is_unhealthy()).count()),
            ..Tally::default()
        };
        for member in self.state.members.values() {
            *match member.standing(newest) {
                Standing::Running => &mut tally.running,
                Standing::Deferred => &mut tally.deferred,
                Standing::Refused => &mut tally.refused,
                Standing::Silent => &mut tally.silent,
                Standing::Pending => &mut tally.pending,
                Standing::Waiting | Standing::Ahead => &mut tally.waiting,
            } += 1;
        }
        tally
    }
}
