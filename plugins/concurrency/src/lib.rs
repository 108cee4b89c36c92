//! Scales on how much is under way at once, over a stable and a panic window, as Knative's autoscaler does.
//!
//! `README.md` has the formulas and their source. What must never be true: that the deployment shrinks in panic, or
//! on a window of which less than half is known.

mod config;
mod panic;

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, export_policy, rounded};

pub use config::Config;
use panic::Panic;

/// What a proposal may ask for at most.
const MOST: u32 = 1_000_000;

/// The policy.
pub struct Concurrency;

impl Policy for Concurrency {
    const NAME: &'static str = "concurrency";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Scales on what is under way at once, over a stable and a panic window, as Knative's autoscaler does.";
    const CONFIG_SCHEMA: &'static str = include_str!("../config.schema.json");

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        config.check(problems)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let series = config.series();
        let stable = input.window(&series, config.stable_window).summary();
        let panicking = input.window(&series, config.panic_window()).summary();
        let before = Panic::remembered(input);
        // A sum of what is absurd may not be finite.
        let [stable_mean, panic_mean] = [stable, panicking].map(|window| window.mean.filter(|mean| mean.is_finite()));
        let proposal = match (stable_mean, panic_mean) {
            (Some(stable_mean), Some(panic_mean)) => {
                let wanted = Wanted::of(config, input, stable_mean.max(0.0), panic_mean.max(0.0));
                let after = before.after(&wanted, config, input);
                propose(&wanted, &after, stable.coverage(), input).remember(&after)
            }
            _ => Proposal::hold(input, format!("no current value of {series}")).remember(&before),
        };
        Ok(proposal
            .confidence(if panic_mean.is_some() { stable.coverage() } else { 0.0 })
            .signal("stable", stable_mean.unwrap_or(f64::NAN))
            .signal("panic", panic_mean.unwrap_or(f64::NAN))
            .signal("target", config.target_value()))
    }
}

export_policy!(Concurrency);

/// What the two windows ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wanted {
    stable_mean: f64,
    panic_mean: f64,
    /// Within the rates at which it may change.
    stable: u32,
    panic: u32,
    /// Whether the panic window asks for so much more than there is that it is time to panic.
    is_over_threshold: bool,
}

impl Wanted {
    fn of(config: &Config, input: &Input, stable_mean: f64, panic_mean: f64) -> Self {
        let ready = f64::from(input.deployment.ready_replicas.max(1));
        let most = (config.max_scale_up_rate * ready).ceil();
        // More may be ready than are asked for, while some drain: they are no reason to ask for more.
        let staying = ready.min(f64::from(input.deployment.replicas.max(1)));
        let least = (staying / config.max_scale_down_rate).floor();
        let [stable, panic] = [stable_mean, panic_mean].map(|mean| (mean / config.target_value()).ceil());
        let within = |wanted: f64| {
            let limited = whole(wanted.max(least).min(most));
            if wanted > 0.0 { limited.max(config.activation_scale) } else { limited }
        };
        Self {
            stable_mean,
            panic_mean,
            stable: within(stable),
            panic: within(panic),
            is_over_threshold: panic / ready >= config.panic_threshold_percentage / 100.0,
        }
    }
}

fn propose(wanted: &Wanted, state: &Panic, coverage: f64, input: &Input) -> Proposal {
    let asked = input.deployment.replicas;
    let [stable_mean, panic_mean] = [wanted.stable_mean, wanted.panic_mean].map(|mean| rounded(mean, 1));
    if state.is_on() {
        let reason = format!("{panic_mean} under way now, {stable_mean} on average; panicking, so nothing is taken");
        return Proposal::of(state.most(), reason);
    }
    if wanted.stable < asked && coverage < 0.5 {
        return Proposal::hold(input, format!("{stable_mean} under way, but too little is known to scale down"));
    }
    let outcome = if wanted.stable == asked {
        format!("{asked} are right")
    } else {
        format!("{} instead of {asked}", wanted.stable)
    };
    Proposal::of(wanted.stable, format!("{stable_mean} under way on average: {outcome}"))
}

fn whole(replicas: f64) -> u32 {
    // Within the range of a u32, and never a NaN: the configuration has been checked and means are finite.
    replicas.clamp(0.0, f64::from(MOST)) as u32
}

#[cfg(test)]
mod tests;
