//! Whether an instance is well, and whether the new generation is to blame.

use outrigger_protocol::limits::TEXT_BYTES;
use outrigger_protocol::message::ProgramState;
use outrigger_protocol::probe::{ProbeKind, ProbeStatus, ProbeVerdict};

use crate::settings::Gates;
use crate::signal::Signal;

/// Exit codes of a program that was asked to end: success, INT and TERM (128 + n, as shells and the agent have it).
const ASKED_TO_END: [i32; 3] = [0, 130, 143];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Runs, or has not been started yet.
    Up,
    /// Crashed, and will be started again.
    Down,
    /// Ended because it was done, or was asked to.
    Ended,
    /// Ended otherwise.
    Crashed { code: i32 },
}

/// A probe that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    pub probe: String,
    /// How many times in a row, until now; at least 1.
    pub consecutive: u32,
    /// In words, without a value of any variable.
    pub error: String,
}

/// What probes and the program say. What was wrong before the new generation came is not held against it: a count that
/// stood at something when the configuration was applied counts from there, and an instance that was ill when it was
/// offered the generation has to be well once before its illness says anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub program: Program,
    /// The probe with the longest run of failures; `None` when none fails, or none has been heard of.
    pub failing: Option<Box<ProbeFailure>>,
    /// A probe that decides whether it serves does not pass, or not yet.
    pub waiting: bool,
    /// Failures that the present run had when the present configuration was applied.
    pub failures_before: u32,
    /// Probes did not all pass when the generation was first offered, and have not ever since.
    pub was_unwell: bool,
    /// The program was down when the generation was first offered.
    pub was_down: bool,
    /// As the agent counts them, since its own start.
    pub restarts: u32,
    /// What the agent's count stood at when `crashes` began to be counted from it.
    pub restarts_before: u32,
    /// Restarts with the present configuration in former lives of the agent.
    pub crashes_before: u32,
    /// Restarts with the present configuration.
    pub crashes: u32,
}

impl Health {
    pub(crate) fn new(program: ProgramState) -> Self {
        let mut health = Self {
            program: Program::Up,
            failing: None,
            waiting: false,
            failures_before: 0,
            was_unwell: false,
            was_down: false,
            restarts: 0,
            restarts_before: 0,
            crashes_before: 0,
            crashes: 0,
        };
        health.note_program(program);
        health.restarts_before = health.restarts;
        health.crashes = 0;
        health
    }

    fn note_program(&mut self, state: ProgramState) {
        let restarts = match state {
            ProgramState::Waiting => {
                self.program = Program::Up;
                return;
            }
            ProgramState::Running { restarts, .. } => {
                self.program = Program::Up;
                restarts
            }
            ProgramState::Backoff { restarts } => {
                self.program = Program::Down;
                restarts
            }
            ProgramState::Exited { code } => {
                let asked = ASKED_TO_END.contains(&code);
                self.program = if asked { Program::Ended } else { Program::Crashed { code } };
                return;
            }
        };
        self.restarts = restarts;
    }

    pub(crate) fn program(&mut self, state: ProgramState) {
        self.note_program(state);
        let since = self.restarts.saturating_sub(self.restarts_before);
        self.crashes = self.crashes.max(self.crashes_before.saturating_add(since));
    }

    /// The agent has connected again. It may have been started again too, and then counts from nought.
    pub(crate) fn reconnected(&mut self, state: ProgramState) {
        let before = self.restarts;
        self.note_program(state);
        if self.restarts < before {
            self.crashes_before = self.crashes;
            self.restarts_before = 0;
        }
        let since = self.restarts.saturating_sub(self.restarts_before);
        self.crashes = self.crashes.max(self.crashes_before.saturating_add(since));
        // It tells again.
        self.failing = None;
        self.waiting = false;
    }

    /// Takes in how the probes stand. A startup probe fails while the program starts, as long as it is allowed to; only
    /// its verdict counts.
    pub(crate) fn probes(&mut self, probes: &[ProbeStatus]) {
        let fails = |probe: &&ProbeStatus| {
            probe.consecutive_failures > 0
                && (probe.kind != ProbeKind::Startup || probe.verdict == ProbeVerdict::Failing)
        };
        let longest = probes.iter().filter(fails).max_by_key(|probe| probe.consecutive_failures);
        self.failing = longest.map(|probe| {
            Box::new(ProbeFailure {
                probe: cut(&probe.name),
                consecutive: probe.consecutive_failures,
                error: cut(probe.last_error.as_deref().unwrap_or("no reason given")),
            })
        });
        self.waiting =
            probes.iter().any(|probe| probe.kind != ProbeKind::Liveness && probe.verdict != ProbeVerdict::Passing);
        self.was_unwell &= self.failing.is_some() || self.waiting;
        // A shorter run is a new one.
        if self.failing.as_ref().is_none_or(|failing| failing.consecutive < self.failures_before) {
            self.failures_before = 0;
        }
    }

    /// The generation is offered for the first time.
    pub(crate) fn offered(&mut self) {
        self.was_unwell = self.is_unwell();
        self.was_down = self.is_down();
    }

    /// Other content runs from now on.
    pub(crate) fn applied(&mut self) {
        self.failures_before = self.failing.as_ref().map_or(0, |failing| failing.consecutive);
        self.restarts_before = self.restarts;
        self.crashes_before = 0;
        self.crashes = 0;
    }

    /// Whether it does not serve as it should.
    pub(crate) const fn is_ill(&self) -> bool {
        self.is_unwell() || self.is_down()
    }

    /// Whether it is ill and was not before.
    pub(crate) const fn has_become_ill(&self) -> bool {
        (self.is_unwell() && !self.was_unwell) || (self.is_down() && !self.was_down)
    }

    /// Whether probes say so. Nobody probes a program that is done.
    const fn is_unwell(&self) -> bool {
        (self.failing.is_some() || self.waiting) && !matches!(self.program, Program::Ended)
    }

    const fn is_down(&self) -> bool {
        matches!(self.program, Program::Down | Program::Crashed { .. })
    }

    /// What convicts the configuration that runs, if anything does.
    pub(crate) fn verdict(&self, gates: &Gates) -> Option<Signal> {
        if let Some(ProbeFailure { probe, consecutive, error }) = self.failing.as_deref()
            && !self.was_unwell
        {
            let since = consecutive.saturating_sub(self.failures_before);
            if since >= gates.probe_failures {
                return Some(Signal::ProbeFailing {
                    probe: probe.clone(),
                    consecutive: since,
                    limit: gates.probe_failures,
                    error: error.clone(),
                });
            }
        }
        if self.was_down {
            return None;
        }
        match self.program {
            Program::Crashed { code } => Some(Signal::Exited { code }),
            _ if self.crashes >= gates.restarts => {
                Some(Signal::Restarting { restarts: self.crashes, limit: gates.restarts })
            }
            _ => None,
        }
    }
}

/// Texts come from agents: they are kept short.
pub(crate) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::probe::ProbeLevel;

    use super::*;

    const UP: ProgramState = ProgramState::Running { pid: 7, restarts: 0 };

    fn probe(kind: ProbeKind, verdict: ProbeVerdict, consecutive_failures: u32) -> ProbeStatus {
        let last_error = (consecutive_failures > 0).then(|| "503".to_owned());
        let level = ProbeLevel::Service;
        ProbeStatus { name: kind.name().to_owned(), kind, level, verdict, consecutive_failures, last_error }
    }

    /// A readiness probe, of which three failures are a verdict.
    fn failing(times: u32) -> [ProbeStatus; 1] {
        let verdict = if times < 3 { ProbeVerdict::Passing } else { ProbeVerdict::Failing };
        [probe(ProbeKind::Readiness, verdict, times)]
    }

    fn applied() -> Health {
        let mut health = Health::new(UP);
        health.offered();
        health.applied();
        health
    }

    #[test]
    fn five_failures_in_a_row_convict_and_four_do_not() {
        let mut health = applied();
        health.probes(&failing(4));
        assert_eq!(health.verdict(&Gates::default()), None);
        health.probes(&failing(0));
        health.probes(&failing(1));
        assert_eq!(health.verdict(&Gates::default()), None);
        health.probes(&failing(5));
        assert!(matches!(health.verdict(&Gates::default()), Some(Signal::ProbeFailing { consecutive: 5, .. })));
    }

    #[test]
    fn a_program_may_take_its_time_to_start() {
        let mut health = applied();
        let starting = |failures, verdict| {
            [probe(ProbeKind::Startup, verdict, failures), probe(ProbeKind::Readiness, ProbeVerdict::Pending, 0)]
        };
        health.probes(&starting(20, ProbeVerdict::Pending));
        assert_eq!(health.verdict(&Gates::default()), None);
        assert!(health.has_become_ill(), "but it does not serve yet");
        health.probes(&starting(30, ProbeVerdict::Failing));
        assert!(matches!(health.verdict(&Gates::default()), Some(Signal::ProbeFailing { consecutive: 30, .. })));
    }

    #[test]
    fn the_longest_run_counts_and_each_probe_for_itself() {
        let mut health = applied();
        let all = |readiness, liveness| {
            [
                probe(ProbeKind::Readiness, ProbeVerdict::Passing, readiness),
                probe(ProbeKind::Liveness, ProbeVerdict::Passing, liveness),
            ]
        };
        health.probes(&all(3, 4));
        assert_eq!(health.verdict(&Gates::default()), None);
        health.probes(&all(0, 5));
        let Some(Signal::ProbeFailing { probe, .. }) = health.verdict(&Gates::default()) else {
            panic!("five of one probe");
        };
        assert_eq!(probe, "liveness");
    }

    #[test]
    fn failures_while_the_program_was_replaced_do_not_count() {
        let mut health = Health::new(UP);
        health.offered();
        health.probes(&failing(3));
        health.applied();
        health.probes(&failing(7));
        assert_eq!(health.verdict(&Gates::default()), None, "four since it was applied");
        health.probes(&failing(8));
        assert!(health.verdict(&Gates::default()).is_some());
    }

    #[test]
    fn who_was_ill_before_has_to_be_well_once() {
        let mut health = Health::new(UP);
        health.probes(&failing(40));
        health.offered();
        health.applied();
        health.probes(&failing(60));
        assert_eq!(health.verdict(&Gates::default()), None);
        assert!(health.is_ill() && !health.has_become_ill());
        health.probes(&failing(0));
        health.probes(&failing(5));
        assert!(health.verdict(&Gates::default()).is_some());
    }

    #[test]
    fn restarts_count_from_when_it_was_applied_and_across_lives_of_the_agent() {
        let mut health = Health::new(ProgramState::Running { pid: 7, restarts: 9 });
        health.offered();
        health.applied();
        health.program(ProgramState::Running { pid: 8, restarts: 10 });
        health.program(ProgramState::Backoff { restarts: 9 });
        assert_eq!(health.crashes, 1, "an old message takes nothing back");
        health.reconnected(ProgramState::Running { pid: 1, restarts: 0 });
        health.program(ProgramState::Running { pid: 2, restarts: 2 });
        assert!(matches!(health.verdict(&Gates::default()), Some(Signal::Restarting { restarts: 3, limit: 3 })));
    }

    #[test]
    fn a_program_that_was_asked_to_end_is_no_failure() {
        let mut health = applied();
        for code in [0, 143] {
            health.program(ProgramState::Exited { code });
            assert!(!health.is_ill() && health.verdict(&Gates::default()).is_none());
        }
        health.program(ProgramState::Exited { code: 137 });
        assert_eq!(health.verdict(&Gates::default()), Some(Signal::Exited { code: 137 }));
    }
}
