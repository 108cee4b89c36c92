//! How an instance is, as its probes and its program say.

use outrigger_protocol::message::ProgramState;
use outrigger_protocol::probe::{ProbeKind, ProbeStatus, ProbeVerdict};
use outrigger_protocol::time::UnixMillis;

/// What an agent has reported of its probes, all of them, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceHealth {
    /// By this server's clock.
    pub reported_at: UnixMillis,
    /// In the deployment's order; never more than [`outrigger_protocol::limits::PROBES`].
    pub probes: Vec<ProbeStatus>,
}

impl InstanceHealth {
    /// What the probes of one kind come to: failing when one fails, passing when all pass, and `None` when there are none.
    #[must_use]
    pub fn of(&self, kind: ProbeKind) -> Option<ProbeVerdict> {
        let verdicts = self.probes.iter().filter(|probe| probe.kind == kind).map(|probe| probe.verdict);
        verdicts.reduce(|worst, other| match (worst, other) {
            (ProbeVerdict::Failing, _) | (_, ProbeVerdict::Failing) => ProbeVerdict::Failing,
            (ProbeVerdict::Pending, _) | (_, ProbeVerdict::Pending) => ProbeVerdict::Pending,
            (ProbeVerdict::Passing, ProbeVerdict::Passing) => ProbeVerdict::Passing,
        })
    }

    /// Whether its startup and readiness probes all pass.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let passes = |kind| self.of(kind).is_none_or(|verdict| verdict == ProbeVerdict::Passing);
        passes(ProbeKind::Startup) && passes(ProbeKind::Readiness)
    }

    /// The probe with the longest run of failures, of those that say something is wrong. A startup probe that has not used
    /// up its threshold says that the program is still starting, and nothing else.
    #[must_use]
    pub fn worst(&self) -> Option<&ProbeStatus> {
        let is_wrong = |probe: &&ProbeStatus| match probe.kind {
            ProbeKind::Startup => probe.verdict == ProbeVerdict::Failing,
            ProbeKind::Liveness | ProbeKind::Readiness => probe.consecutive_failures > 0,
        };
        self.probes.iter().filter(is_wrong).max_by_key(|probe| probe.consecutive_failures)
    }
}

/// How often the program was started again in its agent's life, as far as this state tells.
pub(crate) const fn restarts(state: ProgramState) -> Option<u32> {
    match state {
        ProgramState::Running { restarts, .. } | ProgramState::Backoff { restarts } => Some(restarts),
        ProgramState::Waiting | ProgramState::Exited { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::probe::ProbeLevel;

    use super::*;
    use ProbeKind::{Liveness, Readiness, Startup};
    use ProbeVerdict::{Failing, Passing, Pending};

    fn health(probes: &[(ProbeKind, ProbeVerdict, u32)]) -> InstanceHealth {
        let status = |(at, (kind, verdict, failures)): (usize, &(ProbeKind, ProbeVerdict, u32))| ProbeStatus {
            name: format!("probe-{at}"),
            kind: *kind,
            level: ProbeLevel::Service,
            verdict: *verdict,
            consecutive_failures: *failures,
            last_error: None,
        };
        let probes = probes.iter().enumerate().map(status).collect();
        InstanceHealth { reported_at: UnixMillis::EPOCH, probes }
    }

    #[test]
    fn a_kind_is_as_good_as_its_worst_probe() {
        let cases = [
            (&[][..], None),
            (&[(Readiness, Passing, 0)], Some(Passing)),
            (&[(Readiness, Passing, 0), (Readiness, Pending, 0)], Some(Pending)),
            (&[(Readiness, Pending, 0), (Readiness, Failing, 3)], Some(Failing)),
            (&[(Liveness, Failing, 3)], None),
        ];
        for (probes, expected) in cases {
            assert_eq!(health(probes).of(Readiness), expected, "{probes:?}");
        }
    }

    #[test]
    fn ready_is_who_has_started_and_passes_readiness() {
        let cases = [
            (&[][..], true),
            (&[(Liveness, Failing, 3)], true),
            (&[(Startup, Passing, 0), (Readiness, Passing, 2)], true),
            (&[(Startup, Pending, 2)], false),
            (&[(Startup, Passing, 0), (Readiness, Pending, 0)], false),
            (&[(Readiness, Failing, 9), (Readiness, Passing, 0)], false),
        ];
        for (probes, expected) in cases {
            assert_eq!(health(probes).is_ready(), expected, "{probes:?}");
        }
    }

    #[test]
    fn the_worst_is_the_longest_run_and_a_slow_start_is_none() {
        let cases = [
            (&[][..], None),
            (&[(Startup, Pending, 20), (Readiness, Pending, 0)], None),
            (&[(Startup, Failing, 30)], Some(30)),
            (&[(Readiness, Passing, 1), (Liveness, Passing, 2)], Some(2)),
        ];
        for (probes, expected) in cases {
            assert_eq!(health(probes).worst().map(|probe| probe.consecutive_failures), expected, "{probes:?}");
        }
    }
}
