//! Configuration as it comes in, and how it reaches the program.

use std::rc::Rc;
use std::time::Instant;

use outrigger_protocol::message::{ApplyState, ApplyStrategy, ConfigRef};

use super::{Effect, Held, Lifecycle, Next, Nonce, Outcome, Phase};
use crate::environment::Prepared;

impl Lifecycle {
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
                if self.terms.gated {
                    self.report(nonce, ApplyState::Applying);
                }
                self.unanswered = Some(nonce);
                self.start(held);
            }
            Phase::Finished | Phase::Leaving => {
                self.refuse(config, nonce, "the program is being stopped".to_owned());
            }
            _ if self.runs(&config) && !self.file_is_ahead() => self.confirm(held, nonce),
            Phase::Running => self.accept(now, entropy, held, nonce),
            Phase::Starting | Phase::Replacing | Phase::Restarting => {
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: Some(now), written: None });
            }
            Phase::Pausing { .. } => {
                // It may well be the cure: no reason to wait.
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: None, written: None });
                self.resume();
            }
        }
    }

    fn runs(&self, config: &ConfigRef) -> bool {
        self.current.as_ref().is_some_and(|current| current.config.hash == config.hash)
    }

    /// Whether the environment file has what the program does not run with yet.
    fn file_is_ahead(&self) -> bool {
        self.phase == Phase::Running && self.next.as_ref().is_some_and(|next| next.written.is_some())
    }

    /// The same content under another number: it runs already, and whatever waited to replace it does so no longer.
    fn confirm(&mut self, held: Held, nonce: Nonce) {
        self.next = None;
        if self.proven.is_some_and(|proven| proven.hash == held.config.hash) {
            self.proven = Some(held.config);
            self.effects.push_back(Effect::Remember(Rc::clone(&held.environment)));
        }
        self.current = Some(held);
        if self.phase == Phase::Running && !self.gated {
            self.status.running = self.current.as_ref().map(|current| current.config);
            return self.report(nonce, ApplyState::Applied);
        }
        // It is started again with what it has, or has yet to pass its probes.
        if let Some(trial) = &mut self.trial {
            trial.nonce = Some(nonce);
        }
        self.answer_later(nonce);
    }

    fn answer_later(&mut self, nonce: Nonce) {
        self.unanswered = Some(nonce);
        self.report(nonce, ApplyState::Applying);
    }

    fn accept(&mut self, now: Instant, entropy: f64, held: Held, nonce: Nonce) {
        match self.terms.strategy {
            ApplyStrategy::Restart { jitter } => {
                // What takes the place of another takes its turn, too: pushes in a row do not put a restart off for ever.
                let turn = self.next.as_ref().and_then(|next| next.due);
                let drawn = now + jitter.mul_f64(entropy.clamp(0.0, 1.0));
                let due = turn.map_or(drawn, |turn| turn.min(drawn));
                self.report(nonce, ApplyState::Applying);
                self.next = Some(Next { held, nonce, due: Some(due), written: None });
                self.replace_if_due(now);
            }
            ApplyStrategy::Signal { .. } | ApplyStrategy::File => {
                self.report(nonce, ApplyState::Applying);
                self.effects.push_back(Effect::WriteFile(Rc::clone(&held.environment)));
                self.next = Some(Next { held, nonce, due: None, written: None });
            }
            ApplyStrategy::None => {
                self.report(nonce, ApplyState::PendingRestart);
                self.next = Some(Next { held, nonce, due: None, written: None });
            }
        }
    }

    /// The answer to [`Effect::WriteFile`].
    pub fn file_written(&mut self, now: Instant, written: Result<(), String>) {
        let Some(Next { held, nonce, .. }) = self.next.take() else { return };
        if let Err(error) = written {
            return self.refuse(held.config, nonce, error);
        }
        if let ApplyStrategy::Signal { signal } = self.terms.strategy {
            self.effects.push_back(Effect::Signal(signal));
        }
        if self.needs_restart(&held) {
            self.report(nonce, ApplyState::PendingRestart);
            let written = Some(now + self.terms.bake_time);
            self.next = Some(Next { held, nonce, due: None, written });
            return;
        }
        // Otherwise the file is back where the program is.
        if !self.runs(&held.config) {
            self.begin_trial(&held, nonce);
        }
        self.current = Some(held);
        self.unanswered = Some(nonce);
        if self.terms.gated {
            self.gated = true;
            self.effects.push_back(Effect::AskAnew);
        } else {
            self.serve(now);
        }
    }

    /// Whether something has changed that the program reads at its start alone.
    fn needs_restart(&self, held: &Held) -> bool {
        let Some(current) = &self.current else { return false };
        let value = |held: &Held, name: &str| held.environment.value(name.as_bytes()).map(<[u8]>::to_vec);
        self.terms.start_only.iter().any(|name| value(current, name) != value(held, name))
    }

    pub(super) fn replace_if_due(&mut self, now: Instant) {
        if self.phase == Phase::Running && self.next.as_ref().is_some_and(|next| next.due.is_some_and(|due| due <= now))
        {
            self.phase = Phase::Replacing;
            self.effects.push_back(Effect::Stop);
        }
    }

    /// Starts with what waits, or with what ran before.
    pub(super) fn resume(&mut self) {
        if let Some(next) = self.next.take() {
            self.unanswered = Some(next.nonce);
            self.begin_trial(&next.held, next.nonce);
            self.start(next.held);
        } else if let Some(current) = self.current.take() {
            self.start(current);
        }
    }

    pub(super) fn start(&mut self, held: Held) {
        self.effects.push_back(Effect::Start(Rc::clone(&held.environment)));
        self.current = Some(held);
        self.phase = Phase::Starting;
    }
}
