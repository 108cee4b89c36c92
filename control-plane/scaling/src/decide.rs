//! The decision: proposals in, one verdict out, with a reason for every number on the way.

use outrigger_protocol::time::UnixMillis;

use crate::combine::{Combine, Vote, combine};
use crate::guard::{self, GuardConfig, GuardOutcome, GuardReport, Step};

/// What the guards know of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub now: UnixMillis,
    /// Replicas there should be at this moment.
    pub replicas: u32,
    /// Of those, the ones that are up and ready.
    pub ready: u32,
    pub min: u32,
    pub max: u32,
    pub last_scale_up: Option<UnixMillis>,
    pub last_scale_down: Option<UnixMillis>,
    /// Automatic scaling is off: nothing changes, not even a size out of bounds.
    pub paused: bool,
    /// When the newest sample was taken.
    pub freshest: Option<UnixMillis>,
    /// Instances with a sample no older than [`GuardConfig::freshness`].
    pub fresh_instances: u32,
    /// Instances that should report.
    pub expected_instances: u32,
}

/// What one active policy said.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOutcome {
    /// The binding's name.
    pub name: String,
    /// A wish, or the fault in words.
    pub result: Result<Wish, String>,
}

/// The part of a proposal that takes part in the decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub desired: u32,
    /// 0 to 1; anything else makes the wish a fault.
    pub confidence: f64,
    pub reason: String,
}

/// What became of the wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As asked.
    Approve { target: u32 },
    /// A change, but not the one that was asked for.
    Clamp { asked: u32, target: u32 },
    /// No change.
    Hold,
}

impl Verdict {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Clamp { .. } => "clamp",
            Self::Hold => "hold",
        }
    }
}

/// What settled a decision; coarse and stable, so that decisions that repeat each other can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The policies' own number.
    Policies,
    /// No policy takes part.
    NoPolicy,
    /// Every policy failed.
    AllFailed,
    /// A guard, by its name.
    Guard(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub verdict: Verdict,
    /// Replicas there should be from now on.
    pub target: u32,
    pub cause: Cause,
    /// One sentence a person can act on.
    pub reason: String,
    /// In the order in which they judged. A hold ends the list.
    pub guards: Vec<GuardReport>,
}

/// One decision about one deployment, from what its active policies said.
///
/// A size outside of its bounds is repaired whatever the policies and metrics say; from there on, every guard can
/// only bring the wish nearer to what is there. Unless paused, the target is within `min..=max` (crossed bounds count
/// as `min`).
#[must_use]
pub fn decide(view: &View, config: &GuardConfig, mode: Combine, outcomes: &[PolicyOutcome]) -> Decided {
    let paused = guard::pause(view);
    if paused.outcome == GuardOutcome::Held {
        let (cause, reason) = (Cause::Guard(guard::PAUSE), paused.reason.clone());
        return Decided { verdict: Verdict::Hold, target: view.replicas, cause, reason, guards: vec![paused] };
    }
    let repaired = guard::within(view.replicas, view);
    let tally = Tally::of(mode, repaired, outcomes);
    let asked = tally.asked.unwrap_or(view.replicas);
    let (guards, to) =
        judge(view, config, Step { from: repaired, to: tally.asked.unwrap_or(repaired) }, &tally, paused);

    let verdict = match to {
        target if target == view.replicas => Verdict::Hold,
        target if target == asked => Verdict::Approve { target },
        target => Verdict::Clamp { asked, target },
    };
    let (cause, reason) = explain(view, repaired, to, &tally, &guards);
    Decided { verdict, target: to, cause, reason, guards }
}

/// What the policies come to together.
struct Tally<'a> {
    asked: Option<u32>,
    /// The wish that weighed most: the one nearest to what was asked.
    leading: Option<(&'a str, &'a Wish)>,
    failed: Vec<&'a str>,
    first_fault: Option<String>,
}

impl<'a> Tally<'a> {
    fn of(mode: Combine, current: u32, outcomes: &'a [PolicyOutcome]) -> Self {
        let mut wishes = Vec::with_capacity(outcomes.len());
        let mut failed = Vec::new();
        let mut first_fault = None;
        for PolicyOutcome { name, result } in outcomes {
            let fault = match result {
                Ok(wish) if (0.0..=1.0).contains(&wish.confidence) => {
                    wishes.push((name.as_str(), wish));
                    continue;
                }
                Ok(wish) => format!("a confidence of {} is none", wish.confidence),
                Err(fault) => fault.clone(),
            };
            failed.push(name.as_str());
            first_fault.get_or_insert_with(|| format!("{name}: {fault}"));
        }
        let votes: Vec<Vote> =
            wishes.iter().map(|(_, wish)| Vote { desired: wish.desired, confidence: wish.confidence }).collect();
        let asked = combine(mode, current, &votes);
        let leading = asked.and_then(|asked| wishes.into_iter().min_by_key(|(_, wish)| wish.desired.abs_diff(asked)));
        Self { asked, leading, failed, first_fault }
    }
}

/// Sends a step through the guards; a hold ends the way back where it began.
fn judge(
    view: &View,
    config: &GuardConfig,
    wanted: Step,
    tally: &Tally<'_>,
    paused: GuardReport,
) -> (Vec<GuardReport>, u32) {
    let mut reports = vec![paused];
    let mut step = wanted;
    let guards: [&dyn Fn(Step) -> GuardReport; 5] = [
        &|step| guard::faults(step, &tally.failed),
        &|step| guard::freshness(step, view, config),
        &|step| guard::bounds(step, view),
        &|step| guard::step(step, config),
        &|step| guard::cooldown(step, view, config),
    ];
    for guard in guards {
        let report = guard(step);
        match report.outcome {
            GuardOutcome::Passed => {}
            GuardOutcome::Clamped { to, .. } => step.to = to,
            GuardOutcome::Held => step.to = step.from,
        }
        let held = report.outcome == GuardOutcome::Held;
        reports.push(report);
        if held {
            break;
        }
    }
    (reports, step.to)
}

fn explain(view: &View, repaired: u32, target: u32, tally: &Tally<'_>, guards: &[GuardReport]) -> (Cause, String) {
    let wish = tally.leading.map(|(name, wish)| format!("{name}: {}", wish.reason));
    if let Some(held) = guards.iter().find(|report| report.outcome == GuardOutcome::Held) {
        let repair = repair(view, repaired).map(|text| format!("{text}; ")).unwrap_or_default();
        let wish = wish.map(|text| format!("; {text}")).unwrap_or_default();
        return (Cause::Guard(held.guard), format!("{repair}{}{wish}", held.reason));
    }
    if let Some(repair) = repair(view, repaired).filter(|_| target == repaired) {
        return (Cause::Guard(guard::BOUNDS), repair);
    }
    match (wish, &tally.first_fault) {
        (Some(wish), _) => {
            let clamped = guards.iter().rfind(|report| matches!(report.outcome, GuardOutcome::Clamped { .. }));
            match clamped {
                Some(clamp) => (Cause::Guard(clamp.guard), format!("{wish}; {}", clamp.reason)),
                None => (Cause::Policies, wish),
            }
        }
        (None, Some(fault)) => (Cause::AllFailed, format!("every policy failed: {fault}")),
        (None, None) => (Cause::NoPolicy, "no active policy is bound".to_owned()),
    }
}

fn repair(view: &View, repaired: u32) -> Option<String> {
    let replicas = view.replicas;
    (repaired != replicas).then(|| {
        let side = if repaired > replicas { "minimum" } else { "maximum" };
        format!("{replicas} replicas are beyond the {side} of {repaired}")
    })
}

#[cfg(test)]
mod tests;
