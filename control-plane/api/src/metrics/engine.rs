//! Decisions, effects, rollouts and policies.

use outrigger_engine::{EngineStats, PolicyActivity, Timing};

use super::exposition::{Kind, Labels, Page};
use super::histogram;

pub(super) fn write(page: &mut Page, stats: &EngineStats, policies: &[PolicyActivity]) {
    page.gauge("outrigger_engine_deployments", "Deployments that are known.", stats.deployments);
    let help = "Effects that wait in memory or are under way.";
    page.gauge("outrigger_engine_effects", help, stats.effects);
    let counts: Vec<_> = stats.counts().collect();
    for family in counts.chunk_by(|one, next| one.family == next.family) {
        let [first, ..] = family else { continue };
        let mut written = page.family(Kind::Counter, format_args!("outrigger_engine_{}", first.family), first.help);
        for one in family {
            let labels = one.label.map(|(name, value)| Labels::new(&[(name, &value)])).unwrap_or_default();
            written.sample(&labels, one.value);
        }
    }
    for (timing, name, help) in Timing::ALL {
        let help = format!("{help} Quantiles since the start.");
        let mut summary = page.family(Kind::Summary, format_args!("outrigger_engine_{name}_seconds"), &help);
        histogram::summary(&mut summary, &Labels::default(), stats.timing(*timing));
    }
    write_policies(page, policies);
}

fn write_policies(page: &mut Page, policies: &[PolicyActivity]) {
    let labels: Vec<Labels> = policies
        .iter()
        .map(|one| Labels::new(&[("policy", &one.name), ("version", &one.version), ("policy_id", &one.id)]))
        .collect();
    let help = "Evaluations of a policy, whatever came of them.";
    let mut calls = page.family(Kind::Counter, "outrigger_policy_evaluations", help);
    for (labels, one) in labels.iter().zip(policies) {
        calls.sample(labels, one.stats.calls);
    }
    drop(calls);
    let help = "Time of the evaluations of a policy.";
    let mut time = page.family(Kind::Counter, "outrigger_policy_evaluation_seconds", help);
    for (labels, one) in labels.iter().zip(policies) {
        time.sample(labels, one.stats.elapsed.as_secs_f64());
    }
    drop(time);
    let help = "Fuel that the evaluations of a policy used; about an instruction each.";
    let mut fuel = page.family(Kind::Counter, "outrigger_policy_fuel", help);
    for (labels, one) in labels.iter().zip(policies) {
        fuel.sample(labels, one.stats.fuel);
    }
    drop(fuel);
    let help = "Evaluations of a policy that failed, by the kind of fault.";
    let mut faults = page.family(Kind::Counter, "outrigger_policy_faults", help);
    for (labels, one) in labels.iter().zip(policies) {
        for (kind, count) in one.stats.faults.iter().filter(|(_, count)| *count > 0) {
            faults.sample(&labels.with("kind", &kind.name()), *count);
        }
    }
}
