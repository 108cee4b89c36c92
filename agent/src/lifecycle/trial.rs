//! New content on trial: how it proves itself, and what happens when it fails.

use std::rc::Rc;
use std::time::Instant;

use outrigger_protocol::message::{ApplyState, ConfigFailure};
use outrigger_protocol::probe::ProbeKind;

use super::{Effect, Held, Lifecycle, Next, Nonce, Phase, StartFailure};
use crate::environment::Prepared;
use crate::supervisor::{Ended, RestartPolicy};

/// New content that has to prove itself.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Known once the program serves with it.
    pub(super) until: Option<Instant>,
    /// What comes back when it fails; absent for the first configuration of this process.
    pub(super) previous: Option<Held>,
    /// The offer that is answered a second time when it fails.
    pub(super) nonce: Option<Nonce>,
}

/// By what content fails.
#[derive(Debug)]
pub(super) enum Cause {
    NotStarted(StartFailure),
    Ended(Ended),
    /// The program still runs.
    Probe(ProbeKind),
}

/// Content that has failed, and what there is to go back to is not known yet.
#[derive(Debug)]
pub(super) struct Failing {
    words: String,
    cause: Cause,
}

impl Lifecycle {
    /// `new` takes the place of what runs, which comes back when it fails; unless that is on trial itself.
    pub(super) fn begin_trial(&mut self, new: &Held, nonce: Nonce) {
        let older = self.trial.take().and_then(|trial| trial.previous);
        let previous = older.or_else(|| self.current.take());
        // The same content would fail the same way.
        let previous = previous.filter(|previous| previous.config.hash != new.config.hash);
        self.trial = Some(Trial { until: None, previous, nonce: Some(nonce) });
    }

    /// What runs has been good for long enough.
    pub(super) fn prove(&mut self) {
        if self.trial.take().is_some()
            && let Some(current) = &self.current
        {
            self.proven = Some(current.config);
            self.effects.push_back(Effect::Remember(Rc::clone(&current.environment)));
        }
    }

    /// Whether the disk may know what was good before this process. A program that is not started again when it ends is
    /// somebody's job: it is not run a second time with something else.
    pub(super) fn may_recall(&self) -> bool {
        !self.recalled && self.rules.restart != RestartPolicy::Never
    }

    pub(super) fn fail_trial(&mut self, now: Instant, entropy: f64, words: String, cause: Cause) {
        let failing = Failing { words, cause };
        match self.trial.as_mut().and_then(|trial| trial.previous.take()) {
            Some(previous) => self.roll_back(previous, failing),
            None if self.may_recall() => {
                self.recalled = true;
                self.failing = Some(failing);
                self.effects.push_back(Effect::Recall);
            }
            None => self.stand_by(now, entropy, failing),
        }
    }

    /// The answer to [`Effect::Recall`]: what was good before this process, if that is known.
    pub fn recalled(&mut self, now: Instant, entropy: f64, environment: Option<Rc<Prepared>>) {
        let Some(failing) = self.failing.take() else { return };
        let failed = self.current.as_ref().map(|current| current.config.hash);
        match environment.filter(|good| Some(good.config().hash) != failed) {
            Some(environment) => {
                let config = environment.config();
                self.proven = Some(config);
                self.roll_back(Held { config, environment }, failing);
            }
            None => self.stand_by(now, entropy, failing),
        }
    }

    /// Back to what ran before, at once.
    fn roll_back(&mut self, previous: Held, failing: Failing) {
        let Failing { words, cause } = failing;
        let nonce = self.trial.take().and_then(|trial| trial.nonce).or(self.unanswered.take());
        if let Some(failed) = self.current.take() {
            self.status.last_failed = Some(ConfigFailure { config: failed.config, error: words });
        }
        self.unanswered = None;
        self.gated = false;
        self.status.running = Some(previous.config);
        if let Some(nonce) = nonce {
            self.report(nonce, ApplyState::Failed);
        }
        match cause {
            Cause::Probe(_) => {
                self.current = Some(previous);
                self.phase = Phase::Replacing;
                self.effects.push_back(Effect::Stop);
            }
            Cause::Ended(_) => {
                self.restarts = self.restarts.saturating_add(1);
                self.start(previous);
            }
            Cause::NotStarted(_) => self.start(previous),
        }
    }

    /// There is nothing to go back to: says that it failed, and goes on as far as the restart policy allows. It may still
    /// come to serve, and is applied then.
    fn stand_by(&mut self, now: Instant, entropy: f64, failing: Failing) {
        let Failing { words, cause } = failing;
        let was_serving = !self.gated && self.trial.as_ref().is_some_and(|trial| trial.until.is_some());
        // Of a program that has served, a crash is told as a crash, and the probe says itself that it is not ready.
        let is_told = matches!(cause, Cause::Ended(_) | Cause::Probe(ProbeKind::Readiness));
        if !(was_serving && is_told) {
            self.blame(words);
        }
        match cause {
            Cause::Probe(ProbeKind::Readiness) => {}
            Cause::Probe(ProbeKind::Startup | ProbeKind::Liveness) => self.restart(),
            Cause::Ended(ended) => self.end_of_run(now, entropy, ended),
            Cause::NotStarted(failure) => self.not_started(now, entropy, failure),
        }
    }

    /// Holds a failure against what runs, which goes on for want of something better.
    pub(super) fn blame(&mut self, error: String) {
        let Some(config) = self.current.as_ref().map(|current| current.config) else { return };
        self.status.last_failed = Some(ConfigFailure { config, error });
        self.status.running = None;
        let trial = self.trial.as_ref().and_then(|trial| trial.nonce);
        if let Some(nonce) = self.unanswered.or(trial) {
            self.unanswered = Some(nonce);
            self.report(nonce, ApplyState::Failed);
        }
    }

    /// Whether what waits for a restart is in the environment file, and the program may have read it.
    pub(super) fn is_suspect(&self, now: Instant) -> bool {
        self.next.as_ref().is_some_and(|next| next.written.is_some_and(|until| now < until))
    }

    /// The program has crashed over what was only written for it: it is started again without.
    pub(super) fn withdraw(&mut self, words: String) {
        let Some(Next { held, nonce, .. }) = self.next.take() else { return };
        self.refuse(held.config, nonce, words);
        self.restarts = self.restarts.saturating_add(1);
        self.resume();
    }
}
