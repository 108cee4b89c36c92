//! The program's probes: what is asked, what was found, and what is told of it.

use std::rc::Rc;
use std::time::Instant;

use outrigger_protocol::log::Level;
use outrigger_protocol::message::AgentSettings;

use super::Shell;
use crate::entropy;
use crate::environment::Prepared;
use crate::lifecycle::Terms;
use crate::probes::{Finding, Step};
use crate::session::text;

impl Shell {
    /// Goes by what the control plane asks for.
    pub(super) fn obey(&mut self, settings: &AgentSettings, now: Instant) {
        self.lifecycle.set_terms(Terms::new(settings, self.bake_time));
        let findings = self.probes.configure(&settings.probes, now);
        self.found(findings, now);
    }

    /// The program was started.
    pub(super) fn watch(&mut self, environment: &Rc<Prepared>, now: Instant) {
        let content = environment.config().hash;
        let other = self.started_with.replace(content) != Some(content);
        self.probes.program_started(Rc::clone(environment), other, now);
    }

    /// The program runs with other content than it was started with.
    pub(super) fn ask_anew(&mut self, now: Instant) {
        let findings = self.probes.ask_anew(now);
        self.found(findings, now);
    }

    /// There is something to do about the probes.
    pub(in crate::app) fn probe(&mut self, step: Step, now: Instant) {
        let findings = self.probes.handle(step, &self.supervisor, now);
        self.found(findings, now);
    }

    fn found(&mut self, findings: Vec<Finding>, now: Instant) {
        for finding in findings {
            match &finding {
                Finding::Passed => tracing::debug!("the program passes its startup and readiness probes"),
                Finding::Failed { words, .. } => {
                    tracing::warn!(%words, "probe failed");
                    self.output.note(Level::Warn, words);
                }
                Finding::Recovered { name } => {
                    tracing::info!(probe = %name, "probe passes again");
                    self.output.note(Level::Info, &format!("probe `{name}` passes again"));
                }
            }
            self.lifecycle.probed(now, entropy::uniform(), finding);
        }
    }

    /// Looks for what was good before this process.
    pub(super) fn recall(&mut self, now: Instant) {
        let good = if self.require_fresh { None } else { self.last_good() };
        let prepared = good.and_then(|good| {
            let prepared = self.prepare(&good.offer);
            prepared
                .inspect_err(|error| tracing::warn!(error = %text(error), "what was good before cannot be used"))
                .ok()
        });
        self.lifecycle.recalled(now, entropy::uniform(), prepared.map(Rc::new));
    }
}
