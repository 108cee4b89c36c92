//! What asking a policy costs, and how soon one that never answers is stopped.

use anyhow::{Context as _, Result, ensure};
use outrigger_builtin_policies::{builtin, test_support};
use outrigger_policy_host::{Fault, HostConfig, Input, Policy, PolicyHost};

use crate::figure::{Figure, Reference};
use crate::statistics::{Measurements, micros, millis};
use crate::workload::{POINTS, THRESHOLD, policy_input};

const CALLS: usize = 20_000;
const WARM_UP: usize = 1_000;
const SPINS: usize = 50;

const GOAL_CALL_US: f64 = 20.0;
const GOAL_SPIN_MS: f64 = 50.0;

/// Blocks for some seconds.
///
/// # Errors
/// The host does not start, or a policy does not do what it is made for.
pub fn measure() -> Result<Vec<Figure>> {
    let host = PolicyHost::new(HostConfig::in_process())?;
    let threshold = builtin().iter().find(|policy| policy.name == "threshold").context("no threshold is built in")?;
    let threshold = host.load(threshold.component)?;
    let hostile = host.load(test_support::HOSTILE)?;
    let call = calls(&host, &threshold, &policy_input(THRESHOLD))?;
    let empty = Input { series: Vec::new(), ..policy_input("{}") };
    let instance = calls(&host, &hostile, &empty)?;
    let spin = spins(&host, &hostile)?;
    Ok(vec![
        Figure::new(
            format!("policy: evaluate {POINTS} points x 4 metrics in a fresh instance, p50"),
            "µs",
            call.median(),
        )
        .at_most(GOAL_CALL_US)
        .beside(Reference::new("a fresh instance that looks at nothing", instance.median())),
        Figure::new("policy: the same, p99", "µs", call.p99()),
        Figure::new(format!("policy: one that spins is stopped, longest of {SPINS}"), "ms", spin.max())
            .at_most(GOAL_SPIN_MS),
    ])
}

fn calls(host: &PolicyHost, policy: &Policy, input: &Input) -> Result<Measurements> {
    let mut elapsed = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = std::time::Instant::now();
        let evaluation = host.evaluate(policy, input);
        let took = started.elapsed();
        evaluation.outcome.with_context(|| format!("call {call}"))?;
        if call >= WARM_UP {
            elapsed.push(micros(took));
        }
    }
    Measurements::new(elapsed).context("nothing was measured")
}

fn spins(host: &PolicyHost, hostile: &Policy) -> Result<Measurements> {
    let input = policy_input(r#"{"misbehave":"spin"}"#);
    let mut elapsed = Vec::with_capacity(SPINS);
    for _ in 0..SPINS {
        let started = std::time::Instant::now();
        let evaluation = host.evaluate(hostile, &input);
        elapsed.push(millis(started.elapsed()));
        let stopped = matches!(evaluation.outcome, Err(Fault::OutOfFuel { .. } | Fault::Deadline { .. }));
        ensure!(stopped, "a policy that spins was not stopped: {:?}", evaluation.outcome);
    }
    Measurements::new(elapsed).context("nothing was measured")
}
