//! What happens next to the program: a state machine without I/O and without a clock.
//!
//! Configuration, exits, signals and time go in; [`Effect`]s come out, and the shell in [`crate::app`] performs them. The
//! rules that it keeps:
//!
//! - Every offer is answered, and a refusal is the presence of an error.
//! - A generation never goes backwards; equal content is running already, whatever its number.
//! - A program that fails within the bake time after it got new configuration gets the previous one back at once. What
//!   failed is not tried again under the same generation.
//! - Content that survived the bake time, or with which the program ended successfully, is the last known good one.
//! - Whoever asked the agent to stop is obeyed: nothing is started after that.

mod effect;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger_protocol::message::{ApplyState, ApplyStrategy, ConfigFailure, ConfigRef, ConfigStatus, ProgramState};

pub use effect::{Effect, Outcome, StartFailure};

use crate::environment::Prepared;
use crate::supervisor::{Backoff, Ended, ExitStatus, RestartPolicy};

/// Nonce of an offer, by which its answer is known.
pub type Nonce = [u8; 16];

/// What the operator decided.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub restart: RestartPolicy,
    pub bake_time: Duration,
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
}

/// New content that has to prove itself.
#[derive(Debug)]
struct Trial {
    /// Known once the program runs with it.
    until: Option<Instant>,
    /// What comes back when it fails; absent for the first configuration of this process.
    previous: Option<Held>,
    /// The offer that is answered a second time when it fails.
    nonce: Option<Nonce>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No configuration yet.
    Waiting,
    /// An [`Effect::Start`] is out.
    Starting,
    Running,
    /// Being stopped: to be started with the next configuration.
    Replacing,
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
    strategy: ApplyStrategy,
    phase: Phase,
    current: Option<Held>,
    next: Option<Next>,
    trial: Option<Trial>,
    /// Content that was good once in this process: it does not have to prove itself again.
    proven: Option<ConfigRef>,
    status: ConfigStatus,
    /// The offer that is answered when the program has started.
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
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            strategy: ApplyStrategy::Restart { jitter: Duration::ZERO },
            phase: Phase::Waiting,
            current: None,
            next: None,
            trial: None,
            proven: None,
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

    /// How configuration reaches the program from now on.
    pub const fn set_strategy(&mut self, strategy: ApplyStrategy) {
        self.strategy = strategy;
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

    /// Starts with the last known good configuration, because the control plane does not answer.
    pub fn start_from_cache(&mut self, environment: Rc<Prepared>) {
        if self.phase == Phase::Waiting {
            let config = environment.config();
            self.proven = Some(config);
            self.status.last_received = Some(config);
            self.start(Held { config, environment });
        }
    }

    /// A configuration came in: opened and checked, or why it cannot be used. `entropy` is uniform in [0, 1).
    pub fn offer(
        &mut self,
        now: Instant,
        entropy: f64,
        config: ConfigRef,
        nonce: Nonce,
        environment: Result<Rc<Prepared>, String>,
    ) {
        if let Some(newest) = self.status.last_received.filter(|newest| newest.generation > config.generation) {
            let error = format!("generation {} is older than {}", config.generation, newest.generation);
            return self.refuse(config, nonce, error);
        }
        self.status.last_received = Some(config);
        let environment = match environment {
            Ok(environment) => environment,
            Err(error) => {
                self.refuse(config, nonce, error.clone());
                if self.phase == Phase::Waiting {
                    self.finish(Outcome::Refused { error });
                }
                return;
            }
        };
        if let Some(failed) = &self.status.last_failed
            && failed.config == config
        {
            return self.report(nonce, ApplyState::Failed);
        }
        let held = Held { config, environment };
        match self.phase {
            Phase::Waiting => {
                self.unanswered = Some(nonce);
                self.start(held);
            }
            Phase::Finished | Phase::Leaving => {
                self.refuse(config, nonce, "the program is being stopped".to_owned());
            }
            _ if self.runs(&config) => self.confirm(held, nonce),
            Phase::Running => self.accept(now, entropy, held, nonce),
            Phase::Starting | Phase::Replacing => {
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: Some(now) });
            }
            Phase::Pausing { .. } => {
                // It may well be the cure: no reason to wait.
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: None });
                self.resume();
            }
        }
    }

    fn runs(&self, config: &ConfigRef) -> bool {
        self.current.as_ref().is_some_and(|current| current.config.hash == config.hash)
    }

    /// The same content under another number: it runs already, and whatever waited to replace it does so no longer.
    fn confirm(&mut self, held: Held, nonce: Nonce) {
        self.next = None;
        if self.proven.is_some_and(|proven| proven.hash == held.config.hash) {
            self.proven = Some(held.config);
            self.effects.push_back(Effect::Remember(Rc::clone(&held.environment)));
        }
        self.status.running = Some(held.config);
        self.current = Some(held);
        if self.phase == Phase::Replacing {
            // It was being stopped for what is now withdrawn; it is started again with what it had.
            self.unanswered = Some(nonce);
            self.report(nonce, ApplyState::Applying);
        } else {
            self.report(nonce, ApplyState::Applied);
        }
    }

    fn accept(&mut self, now: Instant, entropy: f64, held: Held, nonce: Nonce) {
        match self.strategy {
            ApplyStrategy::Restart { jitter } => {
                let due = now + jitter.mul_f64(entropy.clamp(0.0, 1.0));
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: Some(due) });
                self.replace_if_due(now);
            }
            ApplyStrategy::Signal { .. } | ApplyStrategy::File => {
                self.report(nonce, ApplyState::Applying);
                self.effects.push_back(Effect::WriteFile(Rc::clone(&held.environment)));
                self.next = Some(Next { held, nonce, due: None });
            }
            ApplyStrategy::None => {
                self.report(nonce, ApplyState::PendingRestart);
                self.next = Some(Next { held, nonce, due: None });
            }
        }
    }

    /// The answer to [`Effect::WriteFile`].
    pub fn file_written(&mut self, now: Instant, written: Result<(), String>) {
        let Some(Next { held, nonce, .. }) = self.next.take() else { return };
        if let Err(error) = written {
            return self.refuse(held.config, nonce, error);
        }
        if let ApplyStrategy::Signal { signal } = self.strategy {
            self.effects.push_back(Effect::Signal(signal));
        }
        self.begin_trial(Some(nonce), Some(now + self.rules.bake_time));
        self.status.running = Some(held.config);
        self.current = Some(held);
        self.report(nonce, ApplyState::Applied);
    }

    fn replace_if_due(&mut self, now: Instant) {
        if self.phase == Phase::Running && self.next.as_ref().is_some_and(|next| next.due.is_some_and(|due| due <= now))
        {
            self.phase = Phase::Replacing;
            self.effects.push_back(Effect::Stop);
        }
    }

    fn start(&mut self, held: Held) {
        self.effects.push_back(Effect::Start(Rc::clone(&held.environment)));
        self.current = Some(held);
        self.phase = Phase::Starting;
    }

    /// What runs until now comes back when what replaces it fails; unless it is on trial itself.
    fn begin_trial(&mut self, nonce: Option<Nonce>, until: Option<Instant>) {
        let older = self.trial.take().and_then(|trial| trial.previous);
        let previous = older.or_else(|| self.current.take());
        self.trial = Some(Trial { until, previous, nonce });
    }

    /// Starts with what waits, or with what ran before.
    fn resume(&mut self) {
        if let Some(next) = self.next.take() {
            self.unanswered = Some(next.nonce);
            self.begin_trial(Some(next.nonce), None);
            self.start(next.held);
        } else if let Some(current) = self.current.take() {
            self.start(current);
        }
    }

    /// The answer to [`Effect::Start`]: the program's process, or why there is none.
    pub fn started(&mut self, now: Instant, entropy: f64, started: Result<u32, StartFailure>) {
        let Some(config) = self.current.as_ref().map(|current| current.config) else { return };
        let pid = match started {
            Ok(pid) => pid,
            Err(failure) => return self.start_failed(now, entropy, config, failure),
        };
        self.phase = Phase::Running;
        self.status.running = Some(config);
        if self.proven.is_none_or(|proven| proven.hash != config.hash) {
            let until = Some(now + self.rules.bake_time);
            self.trial.get_or_insert(Trial { until, previous: None, nonce: None }).until = until;
        } else {
            self.trial = None;
        }
        if let Some(nonce) = self.unanswered.take() {
            self.report(nonce, ApplyState::Applied);
        }
        self.announce(ProgramState::Running { pid, restarts: self.restarts });
        self.replace_if_due(now);
    }

    fn start_failed(&mut self, now: Instant, entropy: f64, config: ConfigRef, failure: StartFailure) {
        if self.has_previous() {
            return self.roll_back(failure.error);
        }
        if let Some(nonce) = self.unanswered.take() {
            self.refuse(config, nonce, failure.error.clone());
        } else if self.last_exit.is_some() && self.rules.restart.wants_restart(ExitStatus::Code(failure.exit_code)) {
            return self.pause(now, Duration::ZERO, entropy);
        }
        self.finish(Outcome::NotStarted(failure));
    }

    fn has_previous(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.previous.is_some())
    }

    /// The program and all that it left behind are gone.
    pub fn ended(&mut self, now: Instant, entropy: f64, ended: Ended) {
        self.last_exit = Some(ended.status);
        match self.phase {
            Phase::Replacing => {
                self.restarts = self.restarts.saturating_add(1);
                self.resume();
            }
            Phase::Leaving => self.finish(Outcome::Exited(ended.status)),
            Phase::Running if self.interrupted_until.is_some_and(|until| now <= until) => {
                self.finish(Outcome::Exited(ended.status));
            }
            Phase::Running => self.ended_by_itself(now, entropy, ended),
            Phase::Waiting | Phase::Starting | Phase::Pausing { .. } | Phase::Finished => {}
        }
    }

    fn ended_by_itself(&mut self, now: Instant, entropy: f64, ended: Ended) {
        if ended.status.is_success() {
            self.prove();
        } else if self.has_previous() {
            self.restarts = self.restarts.saturating_add(1);
            let after = ended.uptime.as_secs_f64();
            return self.roll_back(format!("the program ended with {} after {after:.1} s", ended.status));
        }
        if self.rules.restart.wants_restart(ended.status) {
            self.pause(now, ended.uptime, entropy);
        } else {
            self.finish(Outcome::Exited(ended.status));
        }
    }

    fn pause(&mut self, now: Instant, uptime: Duration, entropy: f64) {
        self.phase = Phase::Pausing { until: now + self.backoff.next(uptime, entropy) };
        self.announce(ProgramState::Backoff { restarts: self.restarts });
    }

    /// Back to what ran before, at once.
    fn roll_back(&mut self, error: String) {
        let Some(Trial { previous: Some(previous), nonce, .. }) = self.trial.take() else { return };
        if let Some(failed) = self.current.take() {
            self.status.last_failed = Some(ConfigFailure { config: failed.config, error });
        }
        self.unanswered = None;
        self.status.running = Some(previous.config);
        if let Some(nonce) = nonce {
            self.report(nonce, ApplyState::Failed);
        }
        self.start(previous);
    }

    /// What runs has been good for long enough.
    fn prove(&mut self) {
        if self.trial.take().is_some()
            && let Some(current) = &self.current
        {
            self.proven = Some(current.config);
            self.effects.push_back(Effect::Remember(Rc::clone(&current.environment)));
        }
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

    /// An interrupt (INT, QUIT, HUP) came in and is passed on. The program may have a use of its own for it; if it ends
    /// within the grace period, that was the wish, and it is not started again.
    pub fn interrupt(&mut self, now: Instant, signal: i32) {
        match self.phase {
            Phase::Running => {
                self.interrupted_until = Some(now + self.rules.stop_grace);
                self.effects.push_back(Effect::Signal(signal));
            }
            Phase::Replacing | Phase::Leaving => {
                self.phase = Phase::Leaving;
                self.effects.push_back(Effect::Signal(signal));
            }
            Phase::Waiting | Phase::Starting | Phase::Pausing { .. } => self.finish(Outcome::Signalled(signal)),
            Phase::Finished => {}
        }
    }

    /// The program was interrupted by somebody else: the terminal, whose ctrl-c never passes through the agent.
    pub fn was_interrupted(&mut self, now: Instant) {
        self.interrupted_until = Some(now);
    }

    /// A signal that asks the program for something else (USR1, USR2, WINCH).
    pub fn pass_on(&mut self, signal: i32) {
        if matches!(self.phase, Phase::Running | Phase::Replacing | Phase::Leaving) {
            self.effects.push_back(Effect::Signal(signal));
        }
    }

    /// The agent is to leave: TERM came in, or the control plane said so. `otherwise` is the outcome when no program runs.
    pub fn leave(&mut self, otherwise: Outcome) {
        match self.phase {
            Phase::Running | Phase::Replacing | Phase::Leaving => {
                self.phase = Phase::Leaving;
                self.effects.push_back(Effect::Stop);
            }
            Phase::Waiting | Phase::Starting | Phase::Pausing { .. } => self.finish(otherwise),
            Phase::Finished => {}
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
