//! Scales by thresholds that hold for a while: any rule scales up, all rules together scale down.
//!
//! `README.md` has the formulas. What must never be true: that a metric which is missing, even for one point of a
//! window, lets the deployment shrink.

mod config;

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, Summary, export_policy, rounded};

pub use config::{Config, Rule};

/// The policy.
pub struct Threshold;

impl Policy for Threshold {
    const NAME: &'static str = "threshold";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Scales up when any metric stays at or above its threshold, down when all stay at or below theirs.";
    const CONFIG_SCHEMA: &'static str = include_str!("../config.schema.json");

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        config.check(problems)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let views: Vec<View<'_>> = config.rules.iter().map(|rule| View::of(rule, input)).collect();
        let proposal = up(&views, input).or_else(|| down(&views, input)).unwrap_or_else(|| hold(&views, input));
        let coverage = views.iter().map(View::coverage).sum::<f64>() / views.len().max(1) as f64;
        let proposal = proposal.confidence(coverage);
        Ok(views
            .iter()
            .fold(proposal, |proposal, view| proposal.signal(&*view.rule.metric, view.up.latest.unwrap_or(f64::NAN))))
    }
}

export_policy!(Threshold);

/// A rule and the stretches of its metric that it looks at.
struct View<'a> {
    rule: &'a Rule,
    up: Summary,
    down: Summary,
}

impl<'a> View<'a> {
    fn of(rule: &'a Rule, input: &'a Input) -> Self {
        let up = input.window(&rule.metric, rule.up_for).summary();
        let is_same = rule.down_for == rule.up_for;
        let down = if is_same { up } else { input.window(&rule.metric, rule.down_for).summary() };
        Self { rule, up, down }
    }

    /// Known to have been at or above the threshold all along. Gaps are passed over as long as the value now is known
    /// and half the points are: under load, losing a sample is no reason to wait.
    fn is_above(&self) -> bool {
        self.rule.above.is_some_and(|above| {
            self.up.latest.is_some() && self.up.coverage() >= 0.5 && self.up.min.is_some_and(|least| least >= above)
        })
    }

    /// Known, without a gap, to have been at or below the threshold all along.
    fn is_below(&self) -> bool {
        self.rule.below.is_some_and(|below| self.down.is_complete() && self.down.max.is_some_and(|most| most <= below))
    }

    /// The share of what the rule looks at that is known.
    fn coverage(&self) -> f64 {
        let windows = [(self.rule.above, self.up), (self.rule.below, self.down)];
        let looked_at = windows.iter().filter(|(threshold, _)| threshold.is_some());
        looked_at.map(|(_, window)| window.coverage()).fold(1.0, f64::min)
    }

    /// Whether the value now is unknown.
    fn is_missing(&self) -> bool {
        self.up.latest.is_none()
    }
}

/// The largest step of all rules that are met upwards.
fn up(views: &[View<'_>], input: &Input) -> Option<Proposal> {
    let replicas = input.deployment.replicas;
    let (view, above) = views
        .iter()
        .filter(|view| view.is_above())
        .filter_map(|view| view.rule.above.map(|above| (view, above)))
        .max_by_key(|(view, _)| view.rule.step_up.up(replicas))?;
    let reason = format!(
        "{} is {}, at or above {above}{}; {} more",
        view.rule.metric,
        rounded(view.up.latest.unwrap_or(f64::NAN), 1),
        for_a_while(view.rule.up_for.as_millis(), input.step, &view.rule.up_for),
        view.rule.step_up,
    );
    Some(Proposal::of(replicas.saturating_add(view.rule.step_up.up(replicas)), reason))
}

/// The smallest step of all rules, if every rule that speaks of down is met and no metric at all is missing.
fn down(views: &[View<'_>], input: &Input) -> Option<Proposal> {
    let replicas = input.deployment.replicas;
    let mut speakers = views.iter().filter(|view| view.rule.below.is_some()).peekable();
    speakers.peek()?;
    let quiet = views.iter().all(|view| !view.is_missing() && (view.rule.below.is_none() || view.is_below()));
    if !quiet || replicas == 0 {
        return None;
    }
    let view = speakers.min_by_key(|view| view.rule.step_down.down(replicas))?;
    let names: Vec<&str> =
        views.iter().filter(|view| view.rule.below.is_some()).map(|view| &*view.rule.metric).collect();
    let reason =
        format!("{} stayed at or below what allows to scale down; {} less", names.join(", "), view.rule.step_down);
    Some(Proposal::of(replicas - view.rule.step_down.down(replicas), reason))
}

/// Why neither.
fn hold(views: &[View<'_>], input: &Input) -> Proposal {
    let missing: Vec<&str> = views.iter().filter(|view| view.is_missing()).map(|view| &*view.rule.metric).collect();
    if !missing.is_empty() {
        return Proposal::hold(
            input,
            format!("no current value of {}; nothing is changed on missing data", missing.join(", ")),
        );
    }
    let gaps: Vec<&str> = views
        .iter()
        .filter(|view| view.rule.below.is_some_and(|below| view.down.max.is_some_and(|most| most <= below)))
        .filter(|view| !view.down.is_complete())
        .map(|view| &*view.rule.metric)
        .collect();
    if gaps.is_empty() {
        return Proposal::hold(input, "every metric is within its thresholds");
    }
    Proposal::hold(input, format!("{} is low, but not known to have been for long enough", gaps.join(", ")))
}

/// " for 30s", where a duration spans more than the value now.
fn for_a_while(millis: u64, step: u64, text: &impl std::fmt::Display) -> String {
    if millis > step { format!(" for {text}") } else { String::new() }
}

#[cfg(test)]
mod tests;
