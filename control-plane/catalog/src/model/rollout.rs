use outrigger_protocol::id::{DeploymentId, EnvironmentId, OrganizationId, ProjectId, RolloutId};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::Tally;

use crate::validate::clip;

/// Entries of a rollout's timeline: how it began, and what happened last.
pub const TIMELINE: usize = 200;
/// Of them, the first ones, which stay.
const BEGINNING: usize = 50;
/// Of one entry, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RolloutState {
    /// Goes from step to step.
    Progressing,
    /// As that, but nobody is offered anything until a person resumes it.
    Paused,
    /// Waits for a person to decide.
    Held,
    /// The rollback was asked for and is not published yet.
    RollingBack,
    /// Everybody gets the content from before.
    Restoring,
    /// The last answers are waited for.
    Closing,
    Completed,
    RolledBack,
    /// Stopped, with nothing to go back to.
    Failed,
    /// A newer generation took its place.
    Superseded,
}

impl RolloutState {
    pub const ALL: [Self; 10] = [
        Self::Progressing,
        Self::Paused,
        Self::Held,
        Self::RollingBack,
        Self::Restoring,
        Self::Closing,
        Self::Completed,
        Self::RolledBack,
        Self::Failed,
        Self::Superseded,
    ];

    /// As the API spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::RollingBack => "rolling-back",
            Self::Restoring => "restoring",
            Self::Closing => "closing",
            Self::Completed => "completed",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing comes of it any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack | Self::Failed | Self::Superseded)
    }
}

/// Something that happened in the course of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutEntry {
    pub at: UnixMillis,
    /// In words; never holds a value of a variable.
    pub message: String,
}

/// How one generation spread over the instances of a deployment, as people read it. What the rollout itself knows is
/// [`outrigger_rollout::Snapshot`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    pub id: RolloutId,
    pub organization: OrganizationId,
    pub project: ProjectId,
    pub deployment: DeploymentId,
    pub environment: EnvironmentId,
    /// The generation that is rolled out.
    pub generation: u64,
    /// The last one that was fully promoted, to whose content it goes back if it has to.
    pub from: Option<u64>,
    /// `all-at-once`, `linear`, `exponential` or `canary`.
    pub strategy: String,
    pub state: RolloutState,
    /// What speaks against it, or who has stopped it, in words.
    pub reason: Option<String>,
    /// The present step, from 1.
    pub step: u32,
    pub steps: u32,
    /// Of the present step, in percent of the instances.
    pub share: f64,
    pub tally: Tally,
    /// The generation that is the rollback.
    pub restored_as: Option<u64>,
    pub overridden_by: Option<String>,
    pub paused_by: Option<String>,
    pub started_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    /// Oldest first, at most [`TIMELINE`].
    pub timeline: Vec<RolloutEntry>,
}

impl Rollout {
    /// Adds to the timeline. When it is full, the oldest goes that is none of the first fifty.
    pub fn note(&mut self, at: UnixMillis, message: String) {
        while self.timeline.len() >= TIMELINE {
            self.timeline.remove(BEGINNING);
        }
        // Some of the words come from agents: they stay on their line.
        let message = clip(&message, MESSAGE_BYTES).replace(char::is_control, " ");
        self.timeline.push(RolloutEntry { at, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_keeps_how_it_began_and_what_happened_last() {
        let mut rollout = Rollout {
            id: RolloutId::generate(),
            organization: OrganizationId::generate(),
            project: ProjectId::generate(),
            deployment: DeploymentId::generate(),
            environment: EnvironmentId::generate(),
            generation: 2,
            from: Some(1),
            strategy: "all-at-once".to_owned(),
            state: RolloutState::Progressing,
            reason: None,
            step: 1,
            steps: 1,
            share: 100.0,
            tally: Tally::default(),
            restored_as: None,
            overridden_by: None,
            paused_by: None,
            started_at: UnixMillis::EPOCH,
            ended_at: None,
            timeline: Vec::new(),
        };
        for number in 0..500 {
            rollout.note(UnixMillis::from_millis(number), format!("entry\u{1b}{number}"));
        }
        assert_eq!(rollout.timeline.len(), TIMELINE);
        assert_eq!(rollout.timeline[0].message, "entry 0", "on its line");
        assert_eq!(rollout.timeline[BEGINNING - 1].message, "entry 49");
        assert_eq!(rollout.timeline[BEGINNING].message, "entry 350");
        assert_eq!(rollout.timeline[TIMELINE - 1].message, "entry 499");
        rollout.note(UnixMillis::EPOCH, "é".repeat(MESSAGE_BYTES));
        assert!(rollout.timeline[TIMELINE - 1].message.len() <= MESSAGE_BYTES);
    }
}
