//! Probes of the program: whether it has started, still works, and can serve.
//!
//! `checks` is the logic, without I/O and without a clock; `attempt` puts one question and judges its answer; [`Probes`]
//! runs each attempt as a task of its own on the agent's one thread, and says what was found. What follows from a finding is
//! for [`crate::lifecycle`] to decide.
//!
//! What must never be true: two attempts of one probe at a time; an attempt that outlives its time-out, or the run of the
//! program that it asked about; a redirect that is followed; an answer of the program in an error.

mod attempt;
mod checks;
mod lookup;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger_protocol::probe::{Probe, ProbeStatus, ProbeTarget};
use tokio::task::JoinSet;

use attempt::Question;
pub use checks::Finding;
use checks::{Answer, Checks, Ticket};
pub(crate) use lookup::{Lookup, LookupError};

use crate::environment::Prepared;
use crate::supervisor::{Supervisor, sleep_until};

/// Between two reports: a control plane that hears of every attempt of a hasty probe would be busy with nothing else.
const REPORT_PAUSE: Duration = Duration::from_millis(200);

/// What there is to do next; handed back to [`Probes::handle`].
#[derive(Debug)]
pub struct Step(Kind);

#[derive(Debug)]
enum Kind {
    /// The time has come for something.
    Due,
    Answered(Ticket, Answer),
}

/// All probes of the program, and their attempts under way.
#[derive(Debug)]
pub struct Probes {
    checks: Checks,
    attempts: JoinSet<(Ticket, Answer)>,
    /// To which the attempts belong.
    round: u64,
    lookup: Lookup,
    /// What the program was started with, while it runs: commands get the same, and a port may be written there.
    environment: Option<Rc<Prepared>>,
    /// When a report may follow the last one.
    report_from: Instant,
    unreported: bool,
}

impl Probes {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            checks: Checks::new(now),
            attempts: JoinSet::new(),
            round: 0,
            lookup: Lookup::default(),
            environment: None,
            report_from: now,
            unreported: false,
        }
    }

    /// Whether the program has to pass probes before it serves.
    #[must_use]
    pub fn has_gates(&self) -> bool {
        self.checks.has_gates()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// How all of them stand.
    #[must_use]
    pub fn statuses(&self) -> Vec<ProbeStatus> {
        self.checks.statuses().cloned().collect()
    }

    /// The deployment's probes, which may be others than before.
    pub fn configure(&mut self, probes: &[Probe], now: Instant) -> Vec<Finding> {
        let findings = self.checks.replace(probes, now);
        self.settle(findings)
    }

    /// The program was started, with `other` content than before or with the same.
    pub fn program_started(&mut self, environment: Rc<Prepared>, other: bool, now: Instant) {
        self.environment = Some(environment);
        self.checks.start(now, other);
        self.settle(Vec::new());
    }

    /// The program is being stopped, or has ended.
    pub fn program_stopped(&mut self) {
        self.environment = None;
        self.checks.stop();
        self.settle(Vec::new());
    }

    /// The running program was given other content: readiness has to be found anew.
    pub fn ask_anew(&mut self, now: Instant) -> Vec<Finding> {
        let findings = self.checks.ask_anew(now);
        self.settle(findings)
    }

    /// After a change of what is asked: attempts for what was asked before end with it.
    fn settle(&mut self, findings: Vec<Finding>) -> Vec<Finding> {
        if self.round != self.checks.round() {
            self.round = self.checks.round();
            self.attempts.abort_all();
        }
        self.unreported |= self.checks.take_changed();
        findings
    }

    /// Waits until there is something to do. Cancel safe.
    pub async fn next(&mut self) -> Step {
        let report = self.unreported.then_some(self.report_from);
        let due = self.checks.next_due().into_iter().chain(report).min();
        let mut due = std::pin::pin!(sleep_until(due));
        loop {
            tokio::select! {
                () = due.as_mut() => return Step(Kind::Due),
                Some(ended) = self.attempts.join_next() => {
                    // One that was ended early has nothing to say.
                    if let Ok((ticket, answer)) = ended {
                        return Step(Kind::Answered(ticket, answer));
                    }
                }
            }
        }
    }

    /// Does it: takes an answer in, begins the attempts that are due.
    pub fn handle(&mut self, step: Step, supervisor: &Supervisor, now: Instant) -> Vec<Finding> {
        let mut findings = match step.0 {
            Kind::Due => Vec::new(),
            Kind::Answered(ticket, answer) => self.checks.finish(ticket, now, answer),
        };
        findings.extend(self.checks.wake(now));
        for ticket in self.checks.take_due(now) {
            self.begin(ticket, supervisor);
        }
        self.settle(findings)
    }

    fn begin(&mut self, ticket: Ticket, supervisor: &Supervisor) {
        let (Some(probe), Some(environment)) = (self.checks.probe(ticket), &self.environment) else { return };
        let question = match &probe.target {
            ProbeTarget::Http(http) => Question::http(http, environment),
            ProbeTarget::Tcp { host, port } => Question::tcp(host, port, environment),
            ProbeTarget::Command(command) => {
                let command: Vec<_> = command.iter().map(Into::into).collect();
                Question::command(supervisor.run_aside(&command, environment))
            }
        };
        let (limit, lookup) = (probe.timeout, self.lookup.clone());
        self.attempts.spawn(async move { (ticket, question.put(limit, lookup).await) });
    }

    /// How all of them stand, when that has changed and the last report is long enough ago.
    pub fn take_report(&mut self, now: Instant) -> Option<Vec<ProbeStatus>> {
        if !self.unreported || now < self.report_from {
            return None;
        }
        self.unreported = false;
        self.report_from = now + REPORT_PAUSE;
        Some(self.statuses())
    }
}
