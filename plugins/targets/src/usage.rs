//! What the instances say about a metric, grouped as the HPA groups pods (`groupPods`).

use outrigger_policy_sdk::Input;

use crate::config::{Config, Metric};

/// A value beyond this counts as this: thousandths of it are still whole numbers.
const LARGEST: f64 = 1e12;

/// The instances of a deployment in three groups.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Usage {
    /// The sum over `known`, in thousandths.
    pub(crate) sum: f64,
    /// Instances whose value counts.
    pub(crate) known: u32,
    /// Instances that should have a value and have none.
    pub(crate) missing: u32,
    /// Instances that are starting: whatever value they have, it is not that of load.
    pub(crate) starting: u32,
}

impl Usage {
    /// From each instance where the host tells them apart, else from the mean over the ready ones.
    pub(crate) fn of(metric: &Metric, config: &Config, input: &Input) -> Self {
        let column = input.instances.latest.iter().find(|column| column.name == metric.metric);
        match column {
            Some(column) if !input.instances.ids.is_empty() => {
                Self::of_instances(metric, config, input, &column.values)
            }
            _ => Self::of_mean(metric, input),
        }
    }

    fn of_instances(metric: &Metric, config: &Config, input: &Input, values: &[f64]) -> Self {
        let mut usage = Self::default();
        let instances = &input.instances;
        for row in 0..instances.ids.len() {
            let is_ready = instances.ready.get(row).copied().unwrap_or(false);
            let age = instances.age_ms.get(row).copied().unwrap_or(0);
            let is_young = age < config.cpu_initialization_period.as_millis();
            let is_newborn = age < config.initial_readiness_delay.as_millis();
            match values.get(row).copied().and_then(thousandths) {
                // Nothing has come from it yet: the HPA's pending pod.
                None if !is_ready && is_young => usage.starting += 1,
                None => usage.missing += 1,
                Some(_) if metric.is_of_processor() && (is_newborn || is_young && !is_ready) => usage.starting += 1,
                Some(value) => {
                    usage.sum += value;
                    usage.known += 1;
                }
            }
        }
        usage
    }

    fn of_mean(metric: &Metric, input: &Input) -> Self {
        let ready = input.deployment.ready_replicas;
        let starting = input.deployment.replicas.saturating_sub(ready);
        match latest(input, &metric.metric) {
            Some(mean) => Self { sum: mean * f64::from(ready), known: ready, missing: 0, starting },
            None => Self { missing: ready, starting, ..Self::default() },
        }
    }

    /// The share of the instances whose value counts.
    pub(crate) fn coverage(&self) -> f64 {
        let all = f64::from(self.known) + f64::from(self.missing) + f64::from(self.starting);
        if all > 0.0 { f64::from(self.known) / all } else { 0.0 }
    }
}

/// The value of a series now, in thousandths.
pub(crate) fn latest(input: &Input, series: &str) -> Option<f64> {
    input.window(series, outrigger_policy_sdk::Span::default()).latest().and_then(thousandths)
}

/// The HPA counts in thousandths, as whole numbers; so a sum does not depend on the order of what is summed. What is
/// negative is no measurement of load.
pub(crate) fn thousandths(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then(|| (value.min(LARGEST) * 1000.0).round())
}
