//! Which probe is due, and what its attempts come to: thresholds, gates, verdicts. Pure: time and results go in, findings
//! come out.
//!
//! ```text
//!   started ──▶ startup probes ── all pass ──▶ readiness probes ── all pass ──▶ the program serves (Passed)
//!                    │ one fails                    │ one fails, or they take too long
//!                    ▼                              ▼
//!                  Failed                         Failed, and they go on
//! ```
//!
//! Liveness probes run beside the readiness probes, from when the startup probes have passed. A startup or liveness probe
//! that has failed rests: its program is about to be stopped. As in the kubelet, a first verdict takes as many attempts
//! in a row as the threshold says, and each start of the program begins anew.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use outrigger_protocol::probe::{Probe, ProbeKind, ProbeStatus, ProbeVerdict};

use crate::config::duration;

/// How an attempt ended; a failure in words.
pub(super) type Answer = Result<(), String>;

/// What has become of the program, as its probes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All startup and readiness probes pass, for the first time since the program was started or the question was put anew.
    Passed,
    /// A probe has failed as often as it may, or readiness took too long.
    Failed { kind: ProbeKind, words: String },
    /// A probe that had failed passes again.
    Recovered { name: String },
}

/// An attempt that is under way, or was. What was meant for an earlier round says nothing about this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) index: usize,
    round: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No program runs.
    Idle,
    /// Startup probes have to pass.
    Starting,
    /// Readiness probes have to pass, until then; `None` when they have taken too long already.
    Settling { until: Option<Instant> },
    /// The program serves, or has served.
    Open,
}

#[derive(Debug)]
struct Check {
    probe: Probe,
    status: ProbeStatus,
    successes: u32,
    failures: u32,
    /// Has passed since the stage began in which it has to.
    settled: bool,
    /// When the next attempt begins; `None` while one is under way, and when none is wanted.
    due: Option<Instant>,
    begun: Option<Instant>,
}

/// All probes of one program.
#[derive(Debug)]
pub(super) struct Checks {
    checks: Vec<Check>,
    stage: Stage,
    started: Instant,
    round: u64,
    changed: bool,
}

impl Check {
    fn new(probe: Probe) -> Self {
        let status = ProbeStatus {
            name: probe.name.clone(),
            kind: probe.kind,
            level: probe.level,
            verdict: ProbeVerdict::Pending,
            consecutive_failures: 0,
            last_error: None,
        };
        Self { probe, status, successes: 0, failures: 0, settled: false, due: None, begun: None }
    }

    /// Nothing has been asked yet of this run of the program.
    fn reset(&mut self) {
        self.status.verdict = ProbeVerdict::Pending;
        self.forget_run();
    }

    fn forget_run(&mut self) {
        (self.successes, self.failures, self.settled) = (0, 0, false);
        (self.due, self.begun) = (None, None);
    }

    fn is(&self, kind: ProbeKind) -> bool {
        self.probe.kind == kind
    }

    /// How long its readiness may stay open: as long as an unlucky order of failures and successes needs for a verdict.
    fn patience(&self) -> Duration {
        let probe = &self.probe;
        let attempts = probe.failure_threshold.saturating_add(probe.success_threshold);
        let attempt = probe.period.max(probe.timeout);
        probe.initial_delay.saturating_add(attempt.saturating_mul(attempts)).saturating_add(probe.timeout)
    }

    fn succeed(&mut self) -> Option<Finding> {
        self.status.consecutive_failures = 0;
        self.status.last_error = None;
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes < self.probe.success_threshold {
            return None;
        }
        self.settled = true;
        let before = std::mem::replace(&mut self.status.verdict, ProbeVerdict::Passing);
        (before == ProbeVerdict::Failing).then(|| Finding::Recovered { name: self.probe.name.clone() })
    }

    fn fail(&mut self, words: String) -> Option<Finding> {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.status.consecutive_failures = self.status.consecutive_failures.saturating_add(1);
        let times = match self.failures {
            1 => "failed".to_owned(),
            times => format!("failed {times} times in a row"),
        };
        let said = format!("{} probe `{}` {times}: {words}", self.probe.kind, self.probe.name);
        self.status.last_error = Some(words);
        if self.failures != self.probe.failure_threshold {
            return None;
        }
        self.status.verdict = ProbeVerdict::Failing;
        Some(Finding::Failed { kind: self.probe.kind, words: said })
    }

    /// A probe of readiness goes on whatever it finds; the others have a say once.
    const fn goes_on(&self) -> bool {
        match (self.probe.kind, self.status.verdict) {
            (ProbeKind::Readiness, _) => true,
            (ProbeKind::Liveness, verdict) => !matches!(verdict, ProbeVerdict::Failing),
            (ProbeKind::Startup, verdict) => matches!(verdict, ProbeVerdict::Pending),
        }
    }
}

impl Checks {
    pub(super) fn new(now: Instant) -> Self {
        Self { checks: Vec::new(), stage: Stage::Idle, started: now, round: 0, changed: false }
    }

    pub(super) fn probe(&self, ticket: Ticket) -> Option<&Probe> {
        self.checks.get(ticket.index).map(|check| &check.probe)
    }

    /// Counts what puts the questions anew. Attempts of an earlier round have nothing to say.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// Whether a program has to pass probes before it serves.
    pub(super) fn has_gates(&self) -> bool {
        self.checks.iter().any(|check| check.probe.is_gate())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = &ProbeStatus> {
        self.checks.iter().map(|check| &check.status)
    }

    /// Whether a status has changed since the last time that this was asked.
    pub(super) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// When there is something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let patience = match self.stage {
            Stage::Settling { until } => until,
            _ => None,
        };
        self.checks.iter().filter_map(|check| check.due).chain(patience).min()
    }

    /// The program was started. `other` content than before takes the failures of the former along.
    pub(super) fn start(&mut self, now: Instant, other: bool) {
        self.round += 1;
        self.started = now;
        self.changed = !self.checks.is_empty();
        for check in &mut self.checks {
            check.reset();
            if other {
                check.status.consecutive_failures = 0;
                check.status.last_error = None;
            }
        }
        self.stage = Stage::Starting;
        self.schedule(now, |check| check.is(ProbeKind::Startup));
        self.advance(now);
    }

    /// The program is being stopped, or has ended: nothing of it is asked any more.
    pub(super) fn stop(&mut self) {
        if self.stage == Stage::Idle {
            return;
        }
        self.round += 1;
        self.stage = Stage::Idle;
        self.changed = !self.checks.is_empty();
        self.checks.iter_mut().for_each(Check::reset);
    }

    /// The running program was given other content: what its probes found before says nothing about it. Readiness has to
    /// be found anew, and everything is asked at once.
    pub(super) fn ask_anew(&mut self, now: Instant) -> Vec<Finding> {
        if !matches!(self.stage, Stage::Settling { .. } | Stage::Open) {
            return Vec::new();
        }
        self.round += 1;
        for check in self.checks.iter_mut().filter(|check| check.goes_on() && !check.is(ProbeKind::Startup)) {
            check.forget_run();
            check.due = Some(now);
        }
        self.stage = self.settling(now);
        self.advance(now)
    }

    /// The deployment has other probes from now on. Those that it had already go on as they are. Of a program that serves,
    /// new ones are taken to pass until they find otherwise.
    pub(super) fn replace(&mut self, probes: &[Probe], now: Instant) -> Vec<Finding> {
        if self.checks.iter().map(|check| &check.probe).eq(probes) {
            return Vec::new();
        }
        // Attempts under way are known by their position, which may be another's now.
        self.round += 1;
        self.changed = true;
        let mut before = std::mem::take(&mut self.checks);
        for probe in probes {
            let kept = before.iter().position(|check| check.probe == *probe).map(|at| before.swap_remove(at));
            let check = kept.unwrap_or_else(|| self.join(Check::new(probe.clone()), now));
            self.checks.push(check);
        }
        for check in &mut self.checks {
            if check.begun.take().is_some() {
                check.due = Some(now);
            }
        }
        self.advance(now)
    }

    fn join(&self, mut check: Check, now: Instant) -> Check {
        let due = self.started.checked_add(check.probe.initial_delay).map(|due| due.max(now));
        match (self.stage, check.probe.kind) {
            (Stage::Starting, ProbeKind::Startup) | (Stage::Settling { .. } | Stage::Open, ProbeKind::Liveness) => {
                check.due = due;
            }
            (Stage::Settling { .. } | Stage::Open, ProbeKind::Startup) => check.status.verdict = ProbeVerdict::Passing,
            (Stage::Settling { .. }, ProbeKind::Readiness) => check.due = due,
            (Stage::Open, ProbeKind::Readiness) => {
                check.status.verdict = ProbeVerdict::Passing;
                (check.settled, check.due) = (true, due);
            }
            (Stage::Idle, _) | (Stage::Starting, _) => {}
        }
        check
    }

    /// The probes whose attempt begins now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Ticket> {
        let round = self.round;
        let due = self.checks.iter_mut().enumerate().filter(|(_, check)| check.due.is_some_and(|due| due <= now));
        due.map(|(index, check)| {
            (check.due, check.begun) = (None, Some(now));
            Ticket { index, round }
        })
        .collect()
    }

    /// An attempt has ended.
    pub(super) fn finish(&mut self, ticket: Ticket, now: Instant, answer: Answer) -> Vec<Finding> {
        let is_current = ticket.round == self.round;
        let Some(check) = self.checks.get_mut(ticket.index).filter(|_| is_current) else { return Vec::new() };
        let before = check.status.clone();
        let finding = match answer {
            Ok(()) => check.succeed(),
            Err(words) => check.fail(words),
        };
        self.changed |= check.status != before;
        let begun = check.begun.take().unwrap_or(now);
        check.due = check.goes_on().then(|| (begun + check.probe.period).max(now));
        let mut findings: Vec<Finding> = finding.into_iter().collect();
        findings.extend(self.advance(now));
        findings
    }

    /// Time has passed: readiness may have taken too long.
    pub(super) fn wake(&mut self, now: Instant) -> Option<Finding> {
        let Stage::Settling { until: Some(until) } = self.stage else { return None };
        let late = self.checks.iter().find(|check| check.is(ProbeKind::Readiness) && !check.settled)?;
        if now < until {
            return None;
        }
        let patience = duration::display(late.patience());
        let why = late.status.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let words = format!("readiness probe `{}` has not passed within {patience}{why}", late.probe.name);
        self.stage = Stage::Settling { until: None };
        Some(Finding::Failed { kind: ProbeKind::Readiness, words })
    }

    fn schedule(&mut self, now: Instant, wanted: impl Fn(&Check) -> bool) {
        for check in self.checks.iter_mut().filter(|check| wanted(check)) {
            // A delay that no clock reaches is as good as none of these attempts.
            check.due = self.started.checked_add(check.probe.initial_delay).map(|due| due.max(now));
        }
    }

    fn settling(&self, now: Instant) -> Stage {
        let readiness = self.checks.iter().filter(|check| check.is(ProbeKind::Readiness));
        let patience = readiness.map(Check::patience).max().unwrap_or_default();
        Stage::Settling { until: now.checked_add(patience) }
    }

    /// Goes on to the next stage when nothing keeps it from that.
    fn advance(&mut self, now: Instant) -> Vec<Finding> {
        let passing = |check: &Check| check.status.verdict == ProbeVerdict::Passing;
        if self.stage == Stage::Starting
            && self.checks.iter().all(|check| !check.is(ProbeKind::Startup) || passing(check))
        {
            self.schedule(now, |check| !check.is(ProbeKind::Startup));
            self.stage = self.settling(now);
        }
        let settled = |check: &Check| !check.is(ProbeKind::Readiness) || (check.settled && passing(check));
        if matches!(self.stage, Stage::Settling { .. }) && self.checks.iter().all(settled) {
            self.stage = Stage::Open;
            return vec![Finding::Passed];
        }
        Vec::new()
    }
}
