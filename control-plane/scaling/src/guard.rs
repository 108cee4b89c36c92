//! The rules that stand between a policy's wish and the world. A policy is untrusted; these are not.
//!
//! Each guard looks at one step, from the size that is there to the size that is wanted, and lets it pass, makes it
//! smaller, or holds it. A guard can only bring the wanted size nearer to the present one: none of them can turn a
//! wish for more into fewer, or make a step larger.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;

use crate::decide::View;

/// What an operator may tune per deployment. The smallest and largest number of replicas are part of the deployment
/// itself and come with the [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// Metrics older than this are no ground for a change.
    pub freshness: Duration,
    /// From one scale-up to the next.
    pub cooldown_up: Duration,
    /// From the last scaling, in either direction, to a scale-down: replicas that were just added are given the time
    /// to show their effect before anything is taken away.
    pub cooldown_down: Duration,
    /// Replicas added by one decision; absent means no limit but the deployment's maximum.
    pub max_step_up: Option<u32>,
    /// Replicas removed by one decision; absent means no limit but the deployment's minimum.
    pub max_step_down: Option<u32>,
}

impl GuardConfig {
    /// Fifteen samples at the default interval, and one period of the Kubernetes HPA
    /// (`--horizontal-pod-autoscaler-sync-period`): what the HPA would act on may be this old.
    pub const FRESHNESS: Duration = Duration::from_secs(15);
    /// Two periods of the HPA's default scale-up policy (`periodSeconds: 15`): a new replica takes its share of the
    /// load before the next step is judged.
    pub const COOLDOWN_UP: Duration = Duration::from_secs(30);
    /// The HPA's `--horizontal-pod-autoscaler-downscale-stabilization`, also the default cooldown of AWS Auto Scaling.
    pub const COOLDOWN_DOWN: Duration = Duration::from_secs(300);
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            freshness: Self::FRESHNESS,
            cooldown_up: Self::COOLDOWN_UP,
            cooldown_down: Self::COOLDOWN_DOWN,
            max_step_up: None,
            max_step_down: None,
        }
    }
}

/// What a guard did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardOutcome {
    Passed,
    /// A smaller step than was asked for.
    Clamped {
        from: u32,
        to: u32,
    },
    /// No step at all.
    Held,
}

/// One guard's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardReport {
    /// One of [`NAMES`].
    pub guard: &'static str,
    pub outcome: GuardOutcome,
    /// In words, with the numbers.
    pub reason: String,
}

pub const PAUSE: &str = "pause";
pub const FAULTS: &str = "faults";
pub const FRESHNESS: &str = "freshness";
pub const BOUNDS: &str = "bounds";
pub const STEP: &str = "step";
pub const COOLDOWN: &str = "cooldown";
/// Every guard, in the order in which they judge.
pub const NAMES: [&str; 6] = [PAUSE, FAULTS, FRESHNESS, BOUNDS, STEP, COOLDOWN];

/// One wanted change: `from` is the present size brought within its bounds, `to` what is wanted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Step {
    const fn up(self) -> bool {
        self.to > self.from
    }

    const fn down(self) -> bool {
        self.to < self.from
    }
}

fn report(guard: &'static str, outcome: GuardOutcome, reason: impl Into<String>) -> GuardReport {
    GuardReport { guard, outcome, reason: reason.into() }
}

pub(crate) fn pause(view: &View) -> GuardReport {
    if view.paused {
        report(PAUSE, GuardOutcome::Held, "automatic scaling is paused")
    } else {
        report(PAUSE, GuardOutcome::Passed, "not paused")
    }
}

/// A policy that failed might have asked for more: nothing is given up without it.
pub(crate) fn faults(step: Step, failed: &[&str]) -> GuardReport {
    if failed.is_empty() {
        report(FAULTS, GuardOutcome::Passed, "every policy answered")
    } else if step.down() {
        report(FAULTS, GuardOutcome::Held, format!("no scale-down while a policy fails: {}", failed.join(", ")))
    } else {
        report(FAULTS, GuardOutcome::Passed, format!("failed, which blocks only scale-down: {}", failed.join(", ")))
    }
}

/// Absent and stale metrics hold; metrics of fewer than half of the instances hold a scale-down.
///
/// A deployment without a replica has nobody who could report: waking it is not held back.
pub(crate) fn freshness(step: Step, view: &View, config: &GuardConfig) -> GuardReport {
    let held = |reason: String| report(FRESHNESS, GuardOutcome::Held, reason);
    if step.from == step.to {
        return report(FRESHNESS, GuardOutcome::Passed, "no change is asked for");
    }
    if view.expected_instances == 0 && step.up() {
        return report(FRESHNESS, GuardOutcome::Passed, "no instance is expected to report");
    }
    let Some(freshest) = view.freshest else {
        return held("no metrics have arrived".to_owned());
    };
    let age = distance(view.now, freshest);
    if age > config.freshness {
        let (age, limit) = (seconds(age), seconds(config.freshness));
        return held(format!("the newest metrics are {age} s away; at most {limit} s are trusted"));
    }
    let (fresh, expected) = (view.fresh_instances, view.expected_instances);
    if step.down() && (fresh == 0 || u64::from(fresh) * 2 < u64::from(expected)) {
        return held(format!("only {fresh} of {expected} instances report: too few to scale down on"));
    }
    report(FRESHNESS, GuardOutcome::Passed, format!("{fresh} of {expected} instances report"))
}

/// `to` within `min..=max`; crossed bounds count as `min`.
pub(crate) fn bounds(step: Step, view: &View) -> GuardReport {
    let to = within(step.to, view);
    if to == step.to {
        return report(BOUNDS, GuardOutcome::Passed, format!("within {} to {}", view.min, view.max));
    }
    let (side, bound) = if to < step.to { ("maximum", view.max.max(view.min)) } else { ("minimum", view.min) };
    report(BOUNDS, GuardOutcome::Clamped { from: step.to, to }, format!("{} is beyond the {side} of {bound}", step.to))
}

pub(crate) fn within(replicas: u32, view: &View) -> u32 {
    replicas.min(view.max).max(view.min)
}

pub(crate) fn step(step: Step, config: &GuardConfig) -> GuardReport {
    let limit = if step.up() { config.max_step_up } else { config.max_step_down };
    let wanted = step.to.abs_diff(step.from);
    match limit {
        None => report(STEP, GuardOutcome::Passed, "no limit"),
        Some(limit) if wanted <= limit => report(STEP, GuardOutcome::Passed, format!("a step of {wanted} of {limit}")),
        Some(limit) => {
            // Cannot leave the range of u32: the step is shorter than the one that was asked for.
            let to = if step.up() { step.from + limit } else { step.from - limit };
            let reason = format!("a step of {wanted} is limited to {limit}");
            report(STEP, GuardOutcome::Clamped { from: step.to, to }, reason)
        }
    }
}

pub(crate) fn cooldown(step: Step, view: &View, config: &GuardConfig) -> GuardReport {
    if step.from == step.to {
        return report(COOLDOWN, GuardOutcome::Passed, "no change is asked for");
    }
    let (direction, cooldown, last) = if step.up() {
        ("up", config.cooldown_up, view.last_scale_up)
    } else {
        ("down", config.cooldown_down, view.last_scale_up.max(view.last_scale_down))
    };
    match last.map(|last| distance(view.now, last)) {
        Some(elapsed) if elapsed < cooldown => {
            let left = seconds(cooldown.saturating_sub(elapsed));
            report(COOLDOWN, GuardOutcome::Held, format!("scaling {direction} cools down for {left} s more"))
        }
        _ => report(COOLDOWN, GuardOutcome::Passed, format!("scaling {direction} has cooled down")),
    }
}

/// Between two moments, whichever is first. A clock that was set back by a day makes the past look like the future:
/// measured as a distance, a fresh look is neither trusted for a day nor a cooldown endless.
fn distance(now: UnixMillis, then: UnixMillis) -> Duration {
    now.since(then).max(then.since(now))
}

/// Whole seconds, rounded up, so that a hold never claims that nothing is left.
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
