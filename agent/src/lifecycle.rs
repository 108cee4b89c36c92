//! What happens next to the program: a state machine without I/O and without a clock.
//!
//! Configuration, exits, findings of probes, signals and time go in; [`Effect`]s come out, and the shell in [`crate::app`]
//! performs them. `offers` takes configuration in, `run` follows the program, `trial` judges what is new. The rules that
//! they keep:
//!
//! - Every offer is answered, and a refusal is the presence of an error.
//! - A generation never goes backwards; equal content is running already, whatever its number.
//! - Content is applied when the program runs with it and passes its startup and readiness probes, and not before.
//! - New content is on trial until the program has kept going for the bake time after that. When the program fails
//!   meanwhile, it gets the previous content back at once. What failed is not tried again under the same generation.
//! - Content that survived its trial, or with which the program ended successfully, is the last known good one.
//! - Whoever asked the agent to stop is obeyed: nothing is started after that.

mod effect;
mod offers;
mod run;
mod terms;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger_protocol::message::{ApplyState, ConfigFailure, ConfigRef, ConfigStatus, ProgramState};

pub use effect::{Effect, Outcome, StartFailure};
pub use terms::Terms;
use trial::{Failing, Trial};

use crate::environment::Prepared;
use crate::supervisor::{Backoff, ExitStatus, RestartPolicy};

/// Nonce of an offer, by which its answer is known.
pub type Nonce = [u8; 16];

/// What the operator decided.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub restart: RestartPolicy,
    /// How long after an interrupt the program's end counts as an answer to it.
    pub stop_grace: Duration,
}

/// A configuration that could run.
#[derive(Debug, Clone)]
struct Held {
    config: ConfigRef,
    environment: Rc<Prepared>,
}

/// An accepted offer that does not run yet.
#[derive(Debug)]
struct Next {
    held: Held,
    nonce: Nonce,
    /// When the program is stopped for it; `None` waits for the next start.
    due: Option<Instant>,
    /// It is in the environment file already. Until then, a crash of the program is held against it.
    written: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No configuration yet.
    Waiting,
    /// An [`Effect::Start`] is out.
    Starting,
    Running,
    /// Being stopped: to be started with the next configuration, or with the previous one.
    Replacing,
    /// Being stopped, because a probe has failed: what comes next is for the restart policy to say.
    Restarting,
    /// Being stopped: for good.
    Leaving,
    Pausing {
        until: Instant,
    },
    Finished,
}

#[derive(Debug)]
pub struct Lifecycle {
    rules: Rules,
    terms: Terms,
    phase: Phase,
    current: Option<Held>,
    next: Option<Next>,
    trial: Option<Trial>,
    /// Whether the program has yet to pass its startup and readiness probes with what it has.
    gated: bool,
    /// Content that was good once in this process: it does not have to prove itself again.
    proven: Option<ConfigRef>,
    /// The disk was asked for what was good before this process.
    recalled: bool,
    /// What has failed while the disk is asked.
    failing: Option<Failing>,
    status: ConfigStatus,
    /// The offer that is answered when the program serves.
    unanswered: Option<Nonce>,
    /// An interrupt was passed on; an end until then is its effect.
    interrupted_until: Option<Instant>,
    backoff: Backoff,
    restarts: u32,
    last_exit: Option<ExitStatus>,
    effects: VecDeque<Effect>,
}

impl Lifecycle {
    #[must_use]
    pub fn new(rules: Rules, terms: Terms) -> Self {
        Self {
            rules,
            terms,
            phase: Phase::Waiting,
            current: None,
            next: None,
            trial: None,
            gated: false,
            proven: None,
            recalled: false,
            failing: None,
            status: ConfigStatus::default(),
            unanswered: None,
            interrupted_until: None,
            backoff: Backoff::default(),
            restarts: 0,
            last_exit: None,
            effects: VecDeque::new(),
        }
    }

    /// What to do now, in order. Performing one may add more.
    pub fn take_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    #[must_use]
    pub const fn status(&self) -> &ConfigStatus {
        &self.status
    }

    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// No configuration has been accepted yet.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting)
    }

    /// The program is being stopped for good.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Finished)
    }

    /// What the control plane asks for from now on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// When [`wake`](Self::wake) is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let due = self.next.as_ref().and_then(|next| next.due).filter(|_| self.phase == Phase::Running);
        let baked = self.trial.as_ref().and_then(|trial| trial.until).filter(|_| self.phase == Phase::Running);
        let resumed = match self.phase {
            Phase::Pausing { until } => Some(until),
            _ => None,
        };
        [due, baked, resumed].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Instant) {
        match self.phase {
            Phase::Running => {
                let baked = self.trial.as_ref().and_then(|trial| trial.until).is_some_and(|until| until <= now);
                if baked {
                    self.prove();
                }
                self.replace_if_due(now);
            }
            Phase::Pausing { until } if until <= now => {
                self.restarts = self.restarts.saturating_add(1);
                self.resume();
            }
            _ => {}
        }
    }

    fn refuse(&mut self, config: ConfigRef, nonce: Nonce, error: String) {
        self.status.last_failed = Some(ConfigFailure { config, error });
        self.report(nonce, ApplyState::Failed);
    }

    fn report(&mut self, nonce: Nonce, state: ApplyState) {
        self.effects.push_back(Effect::Report { nonce, state, status: self.status.clone() });
    }

    fn announce(&mut self, state: ProgramState) {
        self.effects.push_back(Effect::Announce(state));
    }

    fn finish(&mut self, outcome: Outcome) {
        self.phase = Phase::Finished;
        self.status.running = None;
        self.announce(ProgramState::Exited { code: outcome.exit_code() });
        self.effects.push_back(Effect::Finish(outcome));
    }
}
