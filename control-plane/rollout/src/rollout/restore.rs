//! To plain data and back.

use crate::rollout::{MEMBERS, Rollout, ordered};
use crate::settings::Settings;
use crate::snapshot::{Phase, RestoreError, Snapshot};

impl Rollout {
    /// Everything, to be stored.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The same rollout again: it goes on exactly as the one that the snapshot was taken of would have. After a restart
    /// of the control plane it is told [`Event::Restarted`](crate::Event::Restarted) first.
    ///
    /// # Errors
    /// When no rollout can have made this snapshot.
    pub fn restore(state: Snapshot) -> Result<Self, RestoreError> {
        let mut plan = Settings::compile(state.settings.clone()).map_err(RestoreError::Settings)?;
        if state.stable.is_none() {
            plan = plan.at_once();
        }
        let (index, steps) = (state.step.index, plan.steps().len());
        if index >= steps {
            return Err(RestoreError::Step { index, steps });
        }
        let members = state.members.len();
        if members > MEMBERS {
            return Err(RestoreError::Members { members, limit: MEMBERS });
        }
        let target = state.target.generation;
        match (state.stable, &state.phase) {
            (Some(stable), _) if stable.generation >= target => {
                return Err(RestoreError::Backwards { stable: stable.generation, target });
            }
            (_, Phase::Restoring { config, .. }) if config.generation < target => {
                return Err(RestoreError::RestoresBackwards { config: config.generation, target });
            }
            (None, Phase::RollingBack { .. } | Phase::Restoring { .. }) => return Err(RestoreError::NothingBefore),
            _ => {}
        }
        Ok(Self { order: ordered(&state), plan, state })
    }
}
