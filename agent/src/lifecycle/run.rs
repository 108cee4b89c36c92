//! The program's runs: how one begins, serves, and ends.

use std::time::{Duration, Instant};

use outrigger_protocol::message::{ApplyState, ConfigRef, ProgramState};
use outrigger_protocol::probe::ProbeKind;

use super::trial::Cause;
use super::{Effect, Lifecycle, Outcome, Phase, StartFailure, Trial};
use crate::probes::Finding;
use crate::supervisor::{Ended, ExitStatus, RestartPolicy};

impl Lifecycle {
    /// The answer to [`Effect::Start`]: the program's process, or why there is none.
    pub fn started(&mut self, now: Instant, entropy: f64, started: Result<u32, StartFailure>) {
        let Some(config) = self.current.as_ref().map(|current| current.config) else { return };
        let pid = match started {
            Ok(pid) => pid,
            Err(failure) => return self.start_failed(now, entropy, config, failure),
        };
        self.phase = Phase::Running;
        if self.proven.is_none_or(|proven| proven.hash != config.hash) {
            self.trial.get_or_insert_default().until = None;
        } else {
            self.trial = None;
        }
        self.gated = self.terms.gated;
        if !self.gated {
            self.serve(now);
        }
        self.announce(ProgramState::Running { pid, restarts: self.restarts });
        self.replace_if_due(now);
    }

    /// The program runs with what it has, and nothing more has to be passed.
    pub(super) fn serve(&mut self, now: Instant) {
        self.gated = false;
        let Some(config) = self.current.as_ref().map(|current| current.config) else { return };
        self.status.running = Some(config);
        if self.status.last_failed.as_ref().is_some_and(|failed| failed.config == config) {
            // It took longer than it may, and has made it.
            self.status.last_failed = None;
        }
        if let Some(trial) = &mut self.trial {
            trial.until = Some(now + self.terms.bake_time);
        }
        if let Some(nonce) = self.unanswered.take() {
            self.report(nonce, ApplyState::Applied);
        }
    }

    /// What the probes of the running program have found.
    pub fn probed(&mut self, now: Instant, entropy: f64, finding: Finding) {
        if self.phase != Phase::Running {
            return;
        }
        match finding {
            Finding::Passed if self.gated => self.serve(now),
            Finding::Passed | Finding::Recovered { .. } => {}
            Finding::Failed { kind, words } if self.trial.is_some() => {
                self.fail_trial(now, entropy, words, Cause::Probe(kind));
            }
            // Not ready is not broken: whoever sends requests looks elsewhere.
            Finding::Failed { kind: ProbeKind::Readiness, .. } => {}
            Finding::Failed { .. } => self.restart(),
        }
    }

    /// Stops the program; the restart policy says what follows.
    pub(super) fn restart(&mut self) {
        self.phase = Phase::Restarting;
        self.effects.push_back(Effect::Stop);
    }

    fn start_failed(&mut self, now: Instant, entropy: f64, config: ConfigRef, failure: StartFailure) {
        if self.proven.is_none_or(|proven| proven.hash != config.hash) {
            self.trial.get_or_insert_default();
        }
        if self.may_go_back() {
            let words = failure.error.clone();
            return self.fail_trial(now, entropy, words, Cause::NotStarted(failure));
        }
        if self.unanswered.is_some() {
            self.blame(failure.error.clone());
        }
        self.not_started(now, entropy, failure);
    }

    pub(super) fn not_started(&mut self, now: Instant, entropy: f64, failure: StartFailure) {
        let wants_restart = self.rules.restart.wants_restart(ExitStatus::Code(failure.exit_code));
        // What never ran at all will not run by waiting.
        if self.last_exit.is_some() && wants_restart {
            return self.pause(now, Duration::ZERO, entropy);
        }
        self.finish(Outcome::NotStarted(failure));
    }

    /// The program and all that it left behind are gone.
    pub fn ended(&mut self, now: Instant, entropy: f64, ended: Ended) {
        self.last_exit = Some(ended.status);
        match self.phase {
            Phase::Replacing => {
                self.restarts = self.restarts.saturating_add(1);
                self.resume();
            }
            // A cure that came meanwhile does not wait.
            Phase::Restarting if self.next.is_some() => {
                self.restarts = self.restarts.saturating_add(1);
                self.resume();
            }
            // However it took its end: it did not end because it was done.
            Phase::Restarting if self.rules.restart != RestartPolicy::Never => self.pause(now, ended.uptime, entropy),
            Phase::Leaving | Phase::Restarting => self.finish(Outcome::Exited(ended.status)),
            Phase::Running if self.interrupted_until.is_some_and(|until| now <= until) => {
                self.finish(Outcome::Exited(ended.status));
            }
            Phase::Running => self.ended_by_itself(now, entropy, ended),
            Phase::Waiting | Phase::Starting | Phase::Pausing { .. } | Phase::Finished => {}
        }
    }

    fn ended_by_itself(&mut self, now: Instant, entropy: f64, ended: Ended) {
        // What is asked whether it is ready is not meant to end, however well it does.
        let meant_to_stay = self.terms.gated && self.trial.is_some();
        let after = ended.uptime.as_secs_f64();
        let words = || format!("the program ended with {} after {after:.1} s", ended.status);
        if ended.status.is_success() && !meant_to_stay {
            self.prove();
        } else if self.may_go_back() || (self.gated && self.trial.is_some()) {
            return self.fail_trial(now, entropy, words(), Cause::Ended(ended));
        } else if self.is_suspect(now) {
            return self.withdraw(words());
        }
        self.end_of_run(now, entropy, ended);
    }

    /// A run is over and nothing follows from it but what the restart policy says.
    pub(super) fn end_of_run(&mut self, now: Instant, entropy: f64, ended: Ended) {
        if self.rules.restart.wants_restart(ended.status) {
            self.pause(now, ended.uptime, entropy);
        } else {
            self.finish(Outcome::Exited(ended.status));
        }
    }

    pub(super) fn pause(&mut self, now: Instant, uptime: Duration, entropy: f64) {
        self.phase = Phase::Pausing { until: now + self.backoff.next(uptime, entropy) };
        self.announce(ProgramState::Backoff { restarts: self.restarts });
    }

    /// An interrupt (INT, QUIT, HUP) came in and is passed on. The program may have a use of its own for it; if it ends
    /// within the grace period, that was the wish, and it is not started again.
    pub fn interrupt(&mut self, now: Instant, signal: i32) {
        match self.phase {
            Phase::Running => {
                self.interrupted_until = Some(now + self.rules.stop_grace);
                self.effects.push_back(Effect::Signal(signal));
            }
            Phase::Replacing | Phase::Restarting | Phase::Leaving => {
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
        if matches!(self.phase, Phase::Running | Phase::Replacing | Phase::Restarting | Phase::Leaving) {
            self.effects.push_back(Effect::Signal(signal));
        }
    }

    /// The agent is to leave: TERM came in, or the control plane said so. `otherwise` is the outcome when no program runs.
    pub fn leave(&mut self, otherwise: Outcome) {
        match self.phase {
            Phase::Running | Phase::Replacing | Phase::Restarting | Phase::Leaving => {
                self.phase = Phase::Leaving;
                self.effects.push_back(Effect::Stop);
            }
            Phase::Waiting | Phase::Starting | Phase::Pausing { .. } => self.finish(otherwise),
            Phase::Finished => {}
        }
    }

    /// Whether what failed has something before it that could come back.
    fn may_go_back(&self) -> bool {
        let Some(Trial { previous, .. }) = &self.trial else { return false };
        previous.is_some() || self.may_recall()
    }
}
