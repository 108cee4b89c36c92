//! Which generation each instance of a deployment runs.
//!
//! A rollout has one target, the newest generation, and a member per instance that is or was just connected. The
//! members' own reports move it; nothing is inferred. A target is only ever replaced by a newer one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::message::{ApplyState, ConfigRef, ConfigStatus};
use outrigger_protocol::time::UnixMillis;
use tokio::sync::watch;

use crate::shards::{Shards, lock};

/// Failures that are told one by one; the rest is in the count.
const FAILURES_TOLD: usize = 100;

/// Where a rollout stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// 0 before the first configuration was offered.
    pub generation: u64,
    pub started_at: UnixMillis,
    /// Instances that take part; those that leave are no longer counted.
    pub total: u32,
    /// Run the generation.
    pub applied: u32,
    /// Have it and will run it after their next start.
    pub deferred: u32,
    /// Refused it or rolled it back.
    pub refused: u32,
    /// Who refused and why, without a value; at most 100 of them.
    pub failed: Vec<(InstanceId, String)>,
    /// Have not answered yet.
    pub pending: u32,
}

impl Rollout {
    /// Whether every instance has answered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.pending == 0
    }

    fn count(&mut self, member: Member) -> &mut u32 {
        match member {
            Member::Pending => &mut self.pending,
            Member::Applied => &mut self.applied,
            Member::Deferred => &mut self.deferred,
            Member::Failed => &mut self.refused,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Pending,
    Applied,
    Deferred,
    Failed,
}

impl Member {
    /// What a status says about the target, and the error if it says that it failed.
    fn judge(target: ConfigRef, status: &ConfigStatus, state: Option<ApplyState>) -> (Self, Option<&str>) {
        // By content: a new generation with the content that runs is running.
        if status.running.is_some_and(|running| running.hash == target.hash) {
            return (Self::Applied, None);
        }
        match &status.last_failed {
            Some(failure) if failure.config == target => return (Self::Failed, Some(&failure.error)),
            _ => {}
        }
        let received = status.last_received == Some(target);
        match state {
            Some(ApplyState::PendingRestart) if received => (Self::Deferred, None),
            _ => (Self::Pending, None),
        }
    }
}

/// Whether an agent that connects with this status is offered the target. What it has refused is not offered again
/// until somebody pushes, unless it runs nothing at all.
#[must_use]
pub(crate) fn wants(target: ConfigRef, status: &ConfigStatus) -> bool {
    match status.running {
        None => true,
        Some(running) if running.hash == target.hash => false,
        Some(_) => status.last_failed.as_ref().is_none_or(|failure| failure.config != target),
    }
}

#[derive(Debug)]
struct Tracker {
    state: Mutex<State>,
    watch: watch::Sender<Rollout>,
}

#[derive(Debug)]
struct State {
    target: Option<ConfigRef>,
    members: HashMap<InstanceId, Member>,
}

impl Tracker {
    fn new() -> Self {
        Self {
            state: Mutex::new(State { target: None, members: HashMap::new() }),
            watch: watch::Sender::new(Rollout::default()),
        }
    }

    /// Moves one member. `send_modify` runs under the state's lock, so that the counts follow the members in order.
    fn set(&self, state: &mut State, instance: InstanceId, member: Member, error: Option<&str>) {
        let before = state.members.insert(instance, member);
        self.watch.send_modify(|rollout| {
            match before {
                Some(before) => *rollout.count(before) -= 1,
                None => rollout.total += 1,
            }
            *rollout.count(member) += 1;
            if before == Some(Member::Failed) {
                rollout.failed.retain(|(failed, _)| *failed != instance);
            }
            if let Some(error) = error
                && rollout.failed.len() < FAILURES_TOLD
            {
                rollout.failed.push((instance, error.to_owned()));
            }
        });
    }
}

/// The rollouts of all deployments.
#[derive(Debug)]
pub(crate) struct Rollouts {
    trackers: Shards<DeploymentId, Arc<Tracker>>,
}

impl Rollouts {
    pub(crate) fn new() -> Self {
        Self { trackers: Shards::new() }
    }

    fn tracker(&self, deployment: DeploymentId) -> Arc<Tracker> {
        Arc::clone(self.trackers.of(&deployment).entry(deployment).or_insert_with(|| Arc::new(Tracker::new())))
    }

    /// Sets the target and counts the members afresh. A target older than the present one changes nothing.
    /// `members` is asked under the lock that [`report`](Self::report) takes, so that whoever connects meanwhile
    /// is counted by one of the two. Returns what the deployment is headed for now.
    pub(crate) fn begin<M: IntoIterator<Item = (InstanceId, ConfigStatus)>>(
        &self,
        deployment: DeploymentId,
        target: ConfigRef,
        members: impl FnOnce() -> M,
        now: UnixMillis,
    ) -> ConfigRef {
        let tracker = self.tracker(deployment);
        let mut state = lock(&tracker.state);
        if let Some(present) = state.target.filter(|present| present.generation > target.generation) {
            return present;
        }
        state.target = Some(target);
        state.members.clear();
        let mut rollout = Rollout { generation: target.generation, started_at: now, ..Rollout::default() };
        for (instance, status) in members() {
            // Whoever refused it before is asked again: somebody pushes.
            let member = match Member::judge(target, &status, None).0 {
                Member::Failed => Member::Pending,
                member => member,
            };
            if state.members.insert(instance, member).is_none() {
                rollout.total += 1;
                *rollout.count(member) += 1;
            }
        }
        tracker.watch.send_replace(rollout);
        target
    }

    /// What the deployment is headed for.
    pub(crate) fn target(&self, deployment: DeploymentId) -> Option<ConfigRef> {
        lock(&self.trackers.find(&deployment)?.state).target
    }

    /// Counts an instance by what it says at connect or reports later. Returns whether this was the answer that
    /// completed the rollout.
    pub(crate) fn report(
        &self,
        deployment: DeploymentId,
        instance: InstanceId,
        state: Option<ApplyState>,
        status: &ConfigStatus,
    ) -> bool {
        let tracker = self.tracker(deployment);
        let mut members = lock(&tracker.state);
        let Some(target) = members.target else { return false };
        let (member, error) = Member::judge(target, status, state);
        let before = members.members.get(&instance).copied();
        if before == Some(member) && member != Member::Failed {
            return false;
        }
        tracker.set(&mut members, instance, member, error);
        before == Some(Member::Pending) && tracker.watch.borrow().is_complete()
    }

    /// The instance is gone and no longer counts. Returns whether it was the last one that was waited for.
    pub(crate) fn leave(&self, deployment: DeploymentId, instance: InstanceId) -> bool {
        let Some(tracker) = self.trackers.find(&deployment) else { return false };
        let mut state = lock(&tracker.state);
        let Some(member) = state.members.remove(&instance) else { return false };
        tracker.watch.send_modify(|rollout| {
            rollout.total -= 1;
            *rollout.count(member) -= 1;
            rollout.failed.retain(|(failed, _)| *failed != instance);
        });
        member == Member::Pending && tracker.watch.borrow().is_complete()
    }

    pub(crate) fn watch(&self, deployment: DeploymentId) -> watch::Receiver<Rollout> {
        self.tracker(deployment).watch.subscribe()
    }

    pub(crate) fn read(&self, deployment: DeploymentId) -> Rollout {
        self.trackers.find(&deployment).map(|tracker| tracker.watch.borrow().clone()).unwrap_or_default()
    }

    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.trackers.remove(&deployment);
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::message::ConfigFailure;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_000);

    const fn config(generation: u64) -> ConfigRef {
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        ConfigRef { generation, hash: [generation as u8; 32] }
    }

    fn runs(generation: u64) -> ConfigStatus {
        let config = Some(config(generation));
        ConfigStatus { last_received: config, running: config, last_failed: None }
    }

    fn refuses(generation: u64, running: u64) -> ConfigStatus {
        let failure = ConfigFailure { config: config(generation), error: "PORT is missing".to_owned() };
        ConfigStatus { last_received: Some(failure.config), last_failed: Some(failure), ..runs(running) }
    }

    fn counts(rollout: &Rollout) -> [u32; 5] {
        [rollout.total, rollout.applied, rollout.deferred, rollout.refused, rollout.pending]
    }

    #[test]
    fn a_rollout_completes_when_the_last_one_answered() {
        let rollouts = Rollouts::new();
        let deployment = DeploymentId::generate();
        let [a, b, c] = [(); 3].map(|()| InstanceId::generate());
        rollouts.begin(deployment, config(2), || [(a, runs(1)), (b, runs(1)), (c, runs(2))], NOW);
        assert_eq!(counts(&rollouts.read(deployment)), [3, 1, 0, 0, 2]);
        assert!(!rollouts.report(deployment, a, Some(ApplyState::Applying), &runs(1)));
        assert!(!rollouts.report(deployment, a, Some(ApplyState::Applied), &runs(2)));
        assert!(!rollouts.report(deployment, a, Some(ApplyState::Applied), &runs(2)), "said twice");
        assert!(rollouts.report(deployment, b, Some(ApplyState::Failed), &refuses(2, 1)));
        let rollout = rollouts.read(deployment);
        assert_eq!(counts(&rollout), [3, 2, 0, 1, 0]);
        assert_eq!(rollout.failed, [(b, "PORT is missing".to_owned())]);
    }

    #[test]
    fn an_older_target_never_wins() {
        let rollouts = Rollouts::new();
        let deployment = DeploymentId::generate();
        assert_eq!(rollouts.begin(deployment, config(5), Vec::new, NOW), config(5));
        assert_eq!(rollouts.begin(deployment, config(4), Vec::new, NOW), config(5));
        assert_eq!(rollouts.read(deployment).generation, 5);
    }

    #[test]
    fn instances_that_leave_are_not_waited_for() {
        let rollouts = Rollouts::new();
        let deployment = DeploymentId::generate();
        let [a, b] = [(); 2].map(|()| InstanceId::generate());
        rollouts.begin(deployment, config(2), || [(a, runs(2)), (b, refuses(1, 1))], NOW);
        assert!(rollouts.leave(deployment, b), "it was the last one to wait for");
        assert!(!rollouts.leave(deployment, b));
        let rollout = rollouts.read(deployment);
        assert_eq!(counts(&rollout), [1, 1, 0, 0, 0]);
        assert!(rollout.is_complete());
    }

    #[test]
    fn what_waits_for_a_restart_has_answered() {
        let rollouts = Rollouts::new();
        let deployment = DeploymentId::generate();
        let instance = InstanceId::generate();
        rollouts.begin(deployment, config(2), || [(instance, runs(1))], NOW);
        let received = ConfigStatus { last_received: Some(config(2)), ..runs(1) };
        assert!(rollouts.report(deployment, instance, Some(ApplyState::PendingRestart), &received));
        assert_eq!(counts(&rollouts.read(deployment)), [1, 0, 1, 0, 0]);
        rollouts.report(deployment, instance, Some(ApplyState::Applied), &runs(2));
        assert_eq!(counts(&rollouts.read(deployment)), [1, 1, 0, 0, 0]);
    }

    #[test]
    fn a_refused_generation_is_offered_again_only_by_a_push() {
        assert!(wants(config(2), &runs(1)));
        assert!(!wants(config(2), &runs(2)));
        assert!(!wants(config(2), &refuses(2, 1)));
        assert!(wants(config(3), &refuses(2, 1)));
        assert!(wants(config(2), &ConfigStatus { running: None, ..refuses(2, 1) }), "it runs nothing");
        let rollouts = Rollouts::new();
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        rollouts.begin(deployment, config(2), || [(instance, refuses(2, 1))], NOW);
        assert_eq!(rollouts.read(deployment).pending, 1);
    }

    #[test]
    fn a_watcher_sees_the_end() {
        let rollouts = Rollouts::new();
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        let mut watch = rollouts.watch(deployment);
        rollouts.begin(deployment, config(2), || [(instance, runs(1))], NOW);
        assert!(!watch.borrow_and_update().is_complete());
        rollouts.report(deployment, instance, Some(ApplyState::Applied), &runs(2));
        assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_complete());
    }
}
