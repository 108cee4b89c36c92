//! The newest rollout of a deployment with what is still to be written down, told and done.

use std::collections::{BTreeMap, HashSet};

use outrigger_catalog::SaveRollout;
use outrigger_catalog::model::{self, Actor, Event as Told};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;
use outrigger_rollout::{Action, Cause, Rollout, Snapshot};
use tokio::time::Instant;

use super::ledger::Ledger;

/// The newest rollout, under way or ended.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) machine: Rollout,
    pub(super) ledger: Ledger,
    /// The one that this one has taken the place of, until that is written down.
    pub(super) superseded: Option<model::Rollout>,
    /// To be told once they are written down.
    pub(super) events: Vec<Told>,
    /// To be done once it is written down.
    pub(super) todo: Todo,
    /// The revision that is written down.
    pub(super) saved: Option<u64>,
    /// Something must be written down before anything else.
    pub(super) urgent: bool,
    /// When what is not urgent is written down.
    pub(super) due: Option<Instant>,
    /// Until when nothing is tried, because something has failed.
    pub(super) hold: Option<Instant>,
    /// When time alone changes something.
    pub(super) tick: Option<Instant>,
    /// It is another than what is shown.
    pub(super) is_news: bool,
}

/// What is to be done. However long nothing can be, it does not grow: of offers to one instance the newest counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Todo {
    pub(super) rollback: Option<(ConfigRef, ConfigRef, Cause)>,
    pub(super) offers: BTreeMap<InstanceId, ConfigRef>,
}

impl Todo {
    pub(super) fn add(&mut self, action: Action) {
        match action {
            Action::Offer { instance, config } => {
                let offered = self.offers.entry(instance).or_insert(config);
                if offered.generation <= config.generation {
                    *offered = config;
                }
            }
            Action::PublishRollback { from, to, cause } => self.rollback = Some((from, to, cause)),
            Action::Record(_) | Action::Ended(_) => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rollback.is_none() && self.offers.is_empty()
    }
}

impl Current {
    pub(super) fn new(machine: Rollout, ledger: Ledger, saved: Option<u64>) -> Self {
        Self {
            machine,
            ledger,
            superseded: None,
            events: Vec::new(),
            todo: Todo::default(),
            saved,
            urgent: false,
            due: None,
            hold: None,
            tick: None,
            is_news: true,
        }
    }

    pub(super) fn save<'a>(&'a self, snapshot: &'a Snapshot, by: Option<(&'a Actor, String)>) -> SaveRollout<'a> {
        SaveRollout {
            rollout: &self.ledger.rollout,
            snapshot,
            superseded: self.superseded.as_ref(),
            events: &self.events,
            by,
        }
    }

    /// Whether an offer of this is still waited for.
    pub(super) fn awaits(&self, config: ConfigRef) -> HashSet<InstanceId> {
        let offered = self.machine.members().filter(|(_, member)| member.offered() == Some(config));
        offered.map(|(instance, _)| instance).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_yet_does_not_grow() {
        let config = |generation| ConfigRef { generation, hash: [0; 32] };
        let fleet: Vec<_> = (0..3).map(|_| InstanceId::generate()).collect();
        let mut todo = Todo::default();
        for _ in 0..1_000 {
            for instance in fleet.iter().copied() {
                todo.add(Action::Offer { instance, config: config(2) });
                todo.add(Action::Offer { instance, config: config(1) });
            }
            let cause = Cause::Aborted { actor: "ada".to_owned() };
            todo.add(Action::PublishRollback { from: config(2), to: config(1), cause });
        }
        assert!(todo.rollback.is_some() && !todo.is_empty());
        assert_eq!(todo.offers, fleet.into_iter().map(|instance| (instance, config(2))).collect());
    }
}
