//! What the control plane asks of a lifecycle, as far as it is believed.

use std::time::Duration;

use outrigger_protocol::message::{AgentSettings, ApplyStrategy};

/// No deployment is allowed more; a control plane that asks for it gets this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// On trial where nothing watches the program but its supervisor: a start that fails fails soon.
const BAKE_TIME: Duration = Duration::from_secs(2);
/// On trial where probes watch the program: three rounds of them at their default period.
const PROBED_BAKE_TIME: Duration = Duration::from_secs(30);

/// How configuration is applied and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub strategy: ApplyStrategy,
    /// How long new content is on trial, from when the program serves with it.
    pub bake_time: Duration,
    /// The program has startup or readiness probes to pass before it serves.
    pub gated: bool,
    /// Variables whose change takes effect at the next start alone, whatever the strategy.
    pub start_only: Vec<String>,
}

impl Terms {
    /// Before the control plane has said anything. `bake_time` is the operator's word, which wins.
    #[must_use]
    pub fn unknown(bake_time: Option<Duration>) -> Self {
        Self {
            strategy: ApplyStrategy::Restart { jitter: Duration::ZERO },
            bake_time: bake_time.unwrap_or(BAKE_TIME),
            gated: false,
            start_only: Vec::new(),
        }
    }

    /// As the deployment says. `bake_time` is the operator's word, which wins.
    #[must_use]
    pub fn new(settings: &AgentSettings, bake_time: Option<Duration>) -> Self {
        let default = if settings.probes.is_empty() { BAKE_TIME } else { PROBED_BAKE_TIME };
        let strategy = match settings.apply {
            ApplyStrategy::Restart { jitter } => ApplyStrategy::Restart { jitter: jitter.min(LONGEST) },
            strategy => strategy,
        };
        Self {
            strategy,
            bake_time: bake_time.or(settings.bake_time).unwrap_or(default).min(LONGEST),
            gated: settings.probes.iter().any(outrigger_protocol::probe::Probe::is_gate),
            start_only: settings.start_only.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::probe::{Probe, ProbeKind, ProbeLevel, ProbeTarget};

    fn settings(probes: &[ProbeKind], bake_time: Option<Duration>, jitter: Duration) -> AgentSettings {
        let probe =
            |kind: &ProbeKind| Probe::new(*kind, ProbeLevel::default(), ProbeTarget::Command(vec!["true".to_owned()]));
        AgentSettings {
            sample_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(10),
            apply: ApplyStrategy::Restart { jitter },
            allowed_names: Vec::new(),
            start_only: Vec::new(),
            bake_time,
            probes: probes.iter().map(probe).collect(),
        }
    }

    #[test]
    fn the_bake_time_is_the_operators_then_the_deployments_then_the_probes() {
        let [one, two] = [1, 2].map(|seconds| Some(Duration::from_secs(seconds)));
        let cases = [
            (&[][..], None, None, BAKE_TIME),
            (&[ProbeKind::Liveness][..], None, None, PROBED_BAKE_TIME),
            (&[ProbeKind::Readiness][..], two, None, Duration::from_secs(2)),
            (&[ProbeKind::Readiness][..], two, one, Duration::from_secs(1)),
        ];
        for (probes, deployment, operator, expected) in cases {
            let terms = Terms::new(&settings(probes, deployment, Duration::ZERO), operator);
            assert_eq!(terms.bake_time, expected, "{probes:?} {deployment:?} {operator:?}");
        }
    }

    #[test]
    fn startup_and_readiness_are_gates_and_liveness_is_none() {
        for (kind, gated) in [(ProbeKind::Startup, true), (ProbeKind::Readiness, true), (ProbeKind::Liveness, false)] {
            assert_eq!(Terms::new(&settings(&[kind], None, Duration::ZERO), None).gated, gated, "{kind}");
        }
    }

    #[test]
    fn times_that_no_clock_reaches_are_not_believed() {
        let terms = Terms::new(&settings(&[], Some(Duration::MAX), Duration::MAX), None);
        assert_eq!(terms.bake_time, LONGEST);
        assert_eq!(terms.strategy, ApplyStrategy::Restart { jitter: LONGEST });
    }
}
