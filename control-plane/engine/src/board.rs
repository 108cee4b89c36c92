//! What was last seen of each deployment, for whoever watches from outside: in memory, so that asking costs the store
//! nothing. Looks and decisions write it as they happen; nothing is decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_catalog::model::{Decision, Deployment, DeploymentStatus, RolloutState};
use outrigger_protocol::id::{DeploymentId, OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;

/// Where a size goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    None,
}

impl Direction {
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::None];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::None => "none",
        }
    }

    pub(crate) const fn between(from: u32, to: u32) -> Self {
        if to > from {
            Self::Up
        } else if to < from {
            Self::Down
        } else {
            Self::None
        }
    }
}

/// The newest decision that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDecision {
    pub at: UnixMillis,
    pub from_replicas: u32,
    pub to_replicas: u32,
}

/// A deployment as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub id: DeploymentId,
    pub organization: OrganizationId,
    pub project: ProjectId,
    pub name: Arc<str>,
    pub status: DeploymentStatus,
    pub paused: bool,
    pub min_replicas: u32,
    pub max_replicas: u32,
    pub desired_replicas: u32,
    /// Replicas that serve, while it runs.
    pub ready_replicas: u32,
    /// Policies that are not asked because they keep failing.
    pub breakers_open: u32,
    pub last_decision: Option<LastDecision>,
    /// When it was made larger last, and smaller.
    pub last_scale_up: Option<UnixMillis>,
    pub last_scale_down: Option<UnixMillis>,
    /// Decisions that were written down since the engine was started, by their direction.
    pub decisions: [u64; Direction::ALL.len()],
    /// The newest generation that is or was rolled out, and how that stands; `None` before the first since the start.
    pub rollout: Option<(u64, RolloutState)>,
}

impl Standing {
    fn new(deployment: &Deployment) -> Self {
        let spec = &deployment.spec;
        Self {
            id: deployment.id,
            organization: deployment.organization,
            project: spec.project,
            name: spec.name.as_str().into(),
            status: deployment.status,
            paused: deployment.paused,
            min_replicas: spec.min_replicas,
            max_replicas: spec.max_replicas,
            desired_replicas: deployment.desired_replicas,
            ready_replicas: 0,
            breakers_open: 0,
            last_decision: None,
            last_scale_up: deployment.last_scale_up,
            last_scale_down: deployment.last_scale_down,
            decisions: [0; Direction::ALL.len()],
            rollout: None,
        }
    }

    fn update(&mut self, deployment: &Deployment) {
        let spec = &deployment.spec;
        if *self.name != *spec.name {
            self.name = spec.name.as_str().into();
        }
        self.status = deployment.status;
        self.paused = deployment.paused;
        (self.min_replicas, self.max_replicas) = (spec.min_replicas, spec.max_replicas);
        self.desired_replicas = deployment.desired_replicas;
        (self.last_scale_up, self.last_scale_down) = (deployment.last_scale_up, deployment.last_scale_down);
        if deployment.status != DeploymentStatus::Running {
            (self.ready_replicas, self.breakers_open) = (0, 0);
        }
    }
}

/// Everything that is known of all deployments.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<DeploymentId, Standing>>);

impl Board {
    /// A deployment was read. Returns whether nothing was known of it before.
    pub(crate) fn saw(&self, deployment: &Deployment) -> bool {
        if deployment.status == DeploymentStatus::Destroyed {
            self.forget(deployment.id);
            return false;
        }
        let mut standings = self.standings();
        if let Some(standing) = standings.get_mut(&deployment.id) {
            standing.update(deployment);
            return false;
        }
        standings.insert(deployment.id, Standing::new(deployment));
        true
    }

    /// What a look at a running deployment found.
    pub(crate) fn looked(&self, id: DeploymentId, ready_replicas: u32, breakers_open: u32) {
        if let Some(standing) = self.standings().get_mut(&id) {
            (standing.ready_replicas, standing.breakers_open) = (ready_replicas, breakers_open);
        }
    }

    /// A decision was written down.
    pub(crate) fn decided(&self, decision: &Decision) {
        if let Some(standing) = self.standings().get_mut(&decision.deployment) {
            standing.last_decision = Some(last(decision));
            standing.decisions[Direction::between(decision.from_replicas, decision.to_replicas) as usize] += 1;
        }
    }

    /// A decision from before the engine was started was read.
    pub(crate) fn recalled(&self, decision: &Decision) {
        if let Some(standing) = self.standings().get_mut(&decision.deployment) {
            standing.last_decision.get_or_insert_with(|| last(decision));
        }
    }

    pub(crate) fn forget(&self, id: DeploymentId) {
        self.standings().remove(&id);
    }

    /// The first `most` deployments in the order of their ids, which is that of their creation, of those that `include`
    /// accepts; and how many more there are.
    pub(crate) fn read(&self, most: usize, include: impl Fn(&Standing) -> bool) -> (Vec<Standing>, usize) {
        let standings = self.standings();
        let mut included = standings.values().filter(|standing| include(standing));
        let shown = included.by_ref().take(most).cloned().collect();
        (shown, included.count())
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn last(decision: &Decision) -> LastDecision {
    LastDecision { at: decision.at, from_replicas: decision.from_replicas, to_replicas: decision.to_replicas }
}

#[cfg(test)]
mod tests {
    use outrigger_scaling::Verdict;

    use super::*;
    use crate::fixtures::{NOW, deployment};

    fn decision(of: &Deployment, from: u32, to: u32) -> Decision {
        Decision {
            id: outrigger_protocol::id::DecisionId::generate(),
            organization: of.organization,
            deployment: of.id,
            at: NOW,
            from_replicas: from,
            to_replicas: to,
            verdict: Verdict::Approve { target: to },
            reason: String::new(),
            proposals: Vec::new(),
            guards: Vec::new(),
            input: String::new(),
            reaction: None,
            repeats: 0,
        }
    }

    fn all(board: &Board) -> Vec<Standing> {
        board.read(usize::MAX, |_| true).0
    }

    #[test]
    fn decisions_count_by_direction_and_the_newest_is_not_overtaken_by_an_older_one() {
        let (board, running) = (Board::default(), deployment(DeploymentStatus::Running, 3));
        assert!(board.saw(&running) && !board.saw(&running));
        board.decided(&decision(&running, 1, 3));
        board.decided(&decision(&running, 3, 2));
        board.decided(&decision(&running, 2, 2));
        board.recalled(&decision(&running, 7, 9));
        let standing = &all(&board)[0];
        assert_eq!(standing.decisions, [1, 1, 1]);
        assert_eq!(standing.last_decision.map(|last| (last.from_replicas, last.to_replicas)), Some((2, 2)));
    }

    #[test]
    fn what_does_not_run_serves_nothing_and_what_is_destroyed_is_forgotten() {
        let (board, mut seen) = (Board::default(), deployment(DeploymentStatus::Running, 3));
        board.saw(&seen);
        board.looked(seen.id, 3, 1);
        assert_eq!((all(&board)[0].ready_replicas, all(&board)[0].breakers_open), (3, 1));
        seen.status = DeploymentStatus::Stopping;
        board.saw(&seen);
        assert_eq!((all(&board)[0].ready_replicas, all(&board)[0].breakers_open), (0, 0));
        seen.status = DeploymentStatus::Destroyed;
        board.saw(&seen);
        board.decided(&decision(&seen, 1, 0));
        assert_eq!(all(&board), []);
    }

    #[test]
    fn more_than_the_limit_are_counted_and_not_shown() {
        let board = Board::default();
        let seen: Vec<Deployment> = (0..3).map(|_| deployment(DeploymentStatus::Running, 1)).collect();
        seen.iter().for_each(|one| assert!(board.saw(one)));
        let (shown, left_out) = board.read(2, |_| true);
        assert_eq!((shown.len(), left_out), (2, 1));
        let (shown, left_out) = board.read(2, |one| one.organization == seen[2].organization);
        assert_eq!((shown.len(), left_out), (1, 0));
    }
}
