//! What asking a policy costs, and how soon one that never answers is stopped.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_builtin_policies::{builtin, test_support};
use outrigger_policy_host::{Fault, HostConfig, Input, Policy, PolicyHost};
use rustix::time::{ClockId, clock_gettime};

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
    let spin = longest_spin(&host, &hostile)?;
    Ok(vec![
        Figure::new(
            format!("policy: evaluate {POINTS} points x 4 metrics in a fresh instance, p50"),
            "µs",
            call.median(),
        )
        .at_most(GOAL_CALL_US)
        .beside(Reference::new("a fresh instance that looks at nothing", instance.median())),
        Figure::new("policy: the same, p99", "µs", call.p99()),
        Figure::new(format!("policy: one that spins is stopped, longest of {SPINS}"), "ms", spin.wall)
            .at_most(GOAL_SPIN_MS)
            .beside(Reference::new("of it on a processor", spin.processor)),
    ])
}

fn calls(host: &PolicyHost, policy: &Policy, input: &Input) -> Result<Measurements> {
    let mut elapsed = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let started = Instant::now();
        let evaluation = host.evaluate(policy, input);
        let took = started.elapsed();
        evaluation.outcome.with_context(|| format!("call {call}"))?;
        if call >= WARM_UP {
            elapsed.push(micros(took));
        }
    }
    Measurements::new(elapsed).context("nothing was measured")
}

/// How long a spin took at most, on the clock and of that on a processor, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Spin {
    wall: f64,
    processor: f64,
}

fn longest_spin(host: &PolicyHost, hostile: &Policy) -> Result<Spin> {
    let input = policy_input(r#"{"misbehave":"spin"}"#);
    let mut longest = Spin { wall: 0.0, processor: 0.0 };
    for _ in 0..SPINS {
        // The guest runs on the thread that asks.
        let (started, processor) = (Instant::now(), processor_time());
        let evaluation = host.evaluate(hostile, &input);
        let (wall, processor) = (started.elapsed(), processor_time().saturating_sub(processor));
        if millis(wall) > longest.wall {
            longest = Spin { wall: millis(wall), processor: millis(processor) };
        }
        let stopped = matches!(evaluation.outcome, Err(Fault::OutOfFuel { .. } | Fault::Deadline { .. }));
        ensure!(stopped, "a policy that spins was not stopped: {:?}", evaluation.outcome);
    }
    Ok(longest)
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
