//! Scales so that metrics meet their targets, by the arithmetic of the Kubernetes HPA.
//!
//! `README.md` has the formulas and their source. What must never be true: that a metric above its target lets the
//! deployment shrink, or that it shrinks while nothing is known of one of its metrics.

mod config;
mod replicas;
mod usage;

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, export_policy, rounded};

pub use config::{Config, Metric, Target};
use replicas::{Calculator, Verdict};
use usage::Usage;

/// The policy.
pub struct TargetPolicy;

impl Policy for TargetPolicy {
    const NAME: &'static str = "target";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Scales so that every metric meets its target, as the Kubernetes HPA computes it.";
    const CONFIG_SCHEMA: &'static str = include_str!("../config.schema.json");

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        config.check(problems)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let calculator = Calculator::new(config, input);
        let views: Vec<View<'_>> = config.metrics.iter().map(|one| View::of(one, config, input, &calculator)).collect();
        let coverage = views.iter().map(View::coverage).sum::<f64>() / views.len().max(1) as f64;
        let proposal = propose(&views, input, &calculator).confidence(coverage);
        Ok(views.iter().fold(proposal, |proposal, view| {
            let (usage, ratio) = view.verdict.map_or((f64::NAN, f64::NAN), |verdict| (verdict.usage, verdict.ratio));
            let name = &*view.metric.metric;
            proposal.signal(name, usage).signal(format!("{name}.ratio"), ratio)
        }))
    }
}

export_policy!(TargetPolicy);

/// A metric and what comes of it.
struct View<'a> {
    metric: &'a Metric,
    usage: Usage,
    verdict: Option<Verdict>,
}

impl<'a> View<'a> {
    fn of(metric: &'a Metric, config: &Config, input: &Input, calculator: &Calculator) -> Self {
        let usage = if counts_instances(metric) { Usage::of(metric, config, input) } else { Usage::default() };
        Self { metric, usage, verdict: calculator.verdict(metric, &usage, input) }
    }

    /// The share of the instances whose value counted; a number that is about all of them is known or is not.
    fn coverage(&self) -> f64 {
        match self.verdict {
            Some(_) if counts_instances(self.metric) => self.usage.coverage(),
            Some(_) => 1.0,
            None => 0.0,
        }
    }

    /// What the metric is, and what that comes to.
    fn reason(&self, verdict: &Verdict, input: &Input, calculator: &Calculator) -> String {
        let Verdict { replicas, usage, ratio } = *verdict;
        let asked = input.deployment.replicas;
        let outcome = if replicas != asked {
            format!("{replicas} instead of {asked}")
        } else if calculator.tolerates(ratio) {
            "within tolerance".to_owned()
        } else {
            format!("{asked} are right")
        };
        let target = self.metric.target.number();
        let mut text = format!(
            "{} is {}, {} % of its target {target}: {outcome}",
            self.metric.metric,
            rounded(usage, 1),
            rounded(ratio * 100.0, 0)
        );
        let Usage { missing, starting, .. } = self.usage;
        // What is missing counts in either direction, what is starting only upwards.
        if missing > 0 {
            text.push_str(&format!("; {missing} did not report"));
        }
        if starting > 0 && ratio > 1.0 {
            text.push_str(&format!("; {starting} still starting"));
        }
        text
    }
}

/// Whether a metric is read from each instance and not from a number about all of them.
fn counts_instances(metric: &Metric) -> bool {
    match metric.target {
        Target::AverageUtilization(_) => true,
        Target::AverageValue(_) => !metric.is_total(),
        Target::Value(_) => false,
    }
}

/// The largest number that any metric asks for; but while one of them is unknown, none below the present one.
fn propose(views: &[View<'_>], input: &Input, calculator: &Calculator) -> Proposal {
    let unknown: Vec<&str> =
        views.iter().filter(|view| view.verdict.is_none()).map(|view| &*view.metric.metric).collect();
    let known = views.iter().filter_map(|view| view.verdict.map(|verdict| (view, verdict)));
    let Some((view, verdict)) = known.max_by_key(|(_, verdict)| verdict.replicas) else {
        return Proposal::hold(input, format!("no current value of {}", unknown.join(", ")));
    };
    let reason = view.reason(&verdict, input, calculator);
    if !unknown.is_empty() && verdict.replicas < input.deployment.replicas {
        let names = unknown.join(", ");
        return Proposal::hold(input, format!("{reason}; but not without a current value of {names}"));
    }
    Proposal::of(verdict.replicas, reason)
}

#[cfg(test)]
mod tests;
