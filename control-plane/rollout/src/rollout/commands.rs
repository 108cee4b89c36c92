//! What people decide, and what the catalog answers.

use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;

use crate::action::{Action, Actions, Cause, Outcome, What};
use crate::event::{Command, Reach};
use crate::member::{Member, Standing};
use crate::rollout::{Rollout, count};
use crate::snapshot::{Hold, Phase};

/// A command that cannot be carried out in the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("cannot {command}: the rollout has ended")]
    Ended { command: &'static str },
    #[error("cannot {command}: the rollout is being rolled back")]
    RollingBack { command: &'static str },
    #[error("cannot {command}: the rollout is held until somebody promotes, overrides or aborts it")]
    Held { command: &'static str },
    #[error("cannot {command}: a gate has failed; override it or abort")]
    GateFailed { command: &'static str },
    #[error("cannot {command}: the rollout is paused; resume it first")]
    Paused { command: &'static str },
    #[error("cannot resume: the rollout is not paused")]
    NotPaused,
    #[error("the gates are overridden already")]
    Overridden,
}

/// A published generation that is not the rollback that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    #[error("no rollback was asked for")]
    NotAsked,
    #[error("the rollback has generation {generation}, which is not newer than {newest}")]
    NotNewer { generation: u64, newest: u64 },
    #[error("generation {generation} does not have the content that was to be restored")]
    OtherContent { generation: u64 },
}

/// Names of actors, for the timeline.
const ACTOR_BYTES: usize = 256;

impl Rollout {
    /// Carries out what a person wants. `actor` says who, for the timeline; the audit is the caller's.
    ///
    /// # Errors
    /// When the state does not allow it; then nothing has changed, except that time has passed.
    pub fn command(&mut self, command: Command, actor: &str, now: UnixMillis) -> Result<Vec<Action>, CommandError> {
        let mut out = Actions::new(now);
        self.pass_time(now);
        self.check(command)?;
        let actor = actor[..actor.floor_char_boundary(ACTOR_BYTES)].to_owned();
        match command {
            Command::Promote(reach) => {
                out.record(What::Promoted { actor, reach });
                self.promote(reach, &mut out);
            }
            Command::Abort => {
                out.record(What::Aborted { actor: actor.clone() });
                self.roll_back(Cause::Aborted { actor }, &mut out);
            }
            Command::Pause => {
                out.record(What::Paused { actor: actor.clone() });
                self.state.paused = Some(actor);
            }
            Command::Resume => {
                out.record(What::Resumed { actor });
                self.state.paused = None;
            }
            Command::Override => {
                out.record(What::Overridden { actor: actor.clone() });
                self.state.overridden = Some(actor);
                if matches!(self.state.phase, Phase::Held { .. }) {
                    self.promote(Reach::Step, &mut out);
                }
            }
        }
        self.changed();
        self.advance(&mut out);
        Ok(out.into_vec())
    }

    fn check(&self, command: Command) -> Result<(), CommandError> {
        let paused = self.state.paused.is_some();
        let name = command.name();
        match &self.state.phase {
            Phase::Closing(_) | Phase::Ended(_) => return Err(CommandError::Ended { command: name }),
            Phase::RollingBack { .. } | Phase::Restoring { .. } => {
                return Err(CommandError::RollingBack { command: name });
            }
            Phase::Held { why: Hold::Failed, .. } if matches!(command, Command::Promote(_)) => {
                return Err(CommandError::GateFailed { command: name });
            }
            Phase::Held { .. } if matches!(command, Command::Pause) => {
                return Err(CommandError::Held { command: name });
            }
            Phase::Progressing | Phase::Held { .. } => {}
        }
        match command {
            Command::Promote(_) | Command::Pause if paused => Err(CommandError::Paused { command: name }),
            Command::Resume if !paused => Err(CommandError::NotPaused),
            // A stall can be overridden once more: it is not the gates that hold it up.
            Command::Override if self.state.overridden.is_some() && self.state.phase == Phase::Progressing => {
                Err(CommandError::Overridden)
            }
            _ => Ok(()),
        }
    }

    /// A person asks again: whoever is connected and did not answer what everybody should have by now is offered it once
    /// more, as fast as [`Settings::max_unhealthy`](crate::Settings::max_unhealthy) allows. On the way forward that is who
    /// was offered the target already; nobody's turn comes earlier for it. While the rollout is paused, held, or waits for
    /// its rollback to be published, and when it has failed, there is nothing to ask.
    ///
    /// Who has refused is not asked: an agent answers what it has failed with in the same way, and to forget its refusal
    /// would be to forget that it serves.
    pub fn offer_again(&mut self, now: UnixMillis) -> Vec<Action> {
        let mut out = Actions::new(now);
        self.pass_time(now);
        let newest = self.newest();
        let (config, of_touched) = match &self.state.phase {
            Phase::Progressing if self.state.paused.is_none() => (Some(self.state.target), true),
            Phase::Restoring { .. }
            | Phase::Closing(Outcome::Completed | Outcome::RolledBack { .. })
            | Phase::Ended(Outcome::Completed | Outcome::RolledBack { .. }) => (Some(newest), false),
            _ => (None, false),
        };
        if let Some(config) = config {
            let is_asked = |member: &&mut Member| {
                member.is_connected() && (member.touched || !of_touched) && member.standing(config) == Standing::Silent
            };
            let mut asked = 0;
            for member in self.state.members.values_mut().filter(is_asked) {
                member.ask_again = config.into();
                asked += 1;
            }
            if asked > 0 {
                out.record(What::AskedAgain { generation: config.generation, instances: count(asked) });
                self.changed();
            }
        }
        self.advance(&mut out);
        out.into_vec()
    }

    /// The rollback that was asked for is published as `config`. Saying it twice does no harm.
    ///
    /// # Errors
    /// When none was asked for, or it is not what was asked for; then nothing has changed, except that time has passed.
    pub fn rollback_published(&mut self, config: ConfigRef, now: UnixMillis) -> Result<Vec<Action>, PublishedError> {
        let mut out = Actions::new(now);
        self.pass_time(now);
        let generation = config.generation;
        let (Phase::RollingBack { cause, .. }, Some(stable)) = (&self.state.phase, self.state.stable) else {
            let known = self.newest() == config && config != self.state.target;
            return if known { Ok(Vec::new()) } else { Err(PublishedError::NotAsked) };
        };
        let newest = self.state.target.generation;
        if generation <= newest {
            return Err(PublishedError::NotNewer { generation, newest });
        }
        if config.hash != stable.hash {
            return Err(PublishedError::OtherContent { generation });
        }
        let cause = Some(cause.clone());
        out.record(What::RollbackPublished { generation });
        self.enter(Phase::Restoring { config, cause, began_at: self.state.watched.elapsed });
        self.advance(&mut out);
        Ok(out.into_vec())
    }
}
