//! The HPA's arithmetic: `pkg/controller/podautoscaler/replica_calculator.go` of Kubernetes 1.33.

use outrigger_policy_sdk::Input;

use crate::config::{Config, Metric, Target};
use crate::usage::{Usage, latest, thousandths};

/// What a proposal may ask for at most.
const MOST: f64 = 1_000_000.0;

/// What one metric asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) replicas: u32,
    /// The metric as it was compared with the target, before anything was assumed about what is missing.
    pub(crate) usage: f64,
    /// That, in relation to the target.
    pub(crate) ratio: f64,
}

/// The HPA's `ReplicaCalculator`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calculator {
    up: f64,
    down: f64,
    /// Replicas that are asked for now.
    asked: u32,
    ready: u32,
}

impl Calculator {
    pub(crate) const fn new(config: &Config, input: &Input) -> Self {
        let deployment = &input.deployment;
        Self {
            up: config.tolerance_up,
            down: config.tolerance_down,
            asked: deployment.replicas,
            ready: deployment.ready_replicas,
        }
    }

    /// What a metric asks for; `None` where nothing is known of it.
    pub(crate) fn verdict(&self, metric: &Metric, usage: &Usage, input: &Input) -> Option<Verdict> {
        match metric.target {
            Target::Value(target) => self.of_value(latest(input, &metric.metric)?, target),
            Target::AverageValue(target) if metric.is_total() => self.of_total(latest(input, &metric.metric)?, target),
            target => self.of_instances(target, usage),
        }
    }

    /// `GetResourceReplicas` and `calcPlainMetricReplicas`.
    fn of_instances(&self, target: Target, usage: &Usage) -> Option<Verdict> {
        if usage.known == 0 {
            return None;
        }
        let Usage { sum, known, missing, starting } = *usage;
        let [known, missing, starting] = [known, missing, starting].map(f64::from);
        let (level, ratio) = relation(target, sum, known)?;
        let rises_with_starting = starting > 0.0 && ratio > 1.0;
        let replicas = if missing == 0.0 && !rises_with_starting {
            if self.tolerates(ratio) { self.asked } else { whole(ratio * known) }
        } else {
            // On the way down what is missing counts as busy, on the way up as idle; so does what is starting.
            let (assumed, counted) = if ratio < 1.0 {
                (missing * fallback(target)?, missing)
            } else if ratio > 1.0 {
                (0.0, missing)
            } else {
                (0.0, 0.0)
            };
            let counted = known + counted + if rises_with_starting { starting } else { 0.0 };
            let (_, anew) = relation(target, sum + assumed, counted)?;
            let has_flipped = (ratio < 1.0 && anew > 1.0) || (ratio > 1.0 && anew < 1.0);
            if self.tolerates(anew) || has_flipped { self.asked } else { whole(anew * counted) }
        };
        Some(Verdict { replicas: self.same_direction(ratio, replicas), usage: level, ratio })
    }

    /// `GetObjectMetricReplicas` and `GetExternalMetricReplicas`.
    fn of_value(&self, value: f64, target: f64) -> Option<Verdict> {
        let ratio = value / thousandths(target)?;
        let replicas = if self.asked == 0 {
            whole(ratio)
        } else if self.tolerates(ratio) {
            self.asked
        } else if self.ready == 0 {
            // Nobody is there whom the number could be about; the HPA would take this for a wish for none.
            return None;
        } else {
            whole(ratio * f64::from(self.ready))
        };
        let replicas = if self.asked == 0 { replicas } else { self.same_direction(ratio, replicas) };
        Some(Verdict { replicas, usage: value / 1000.0, ratio })
    }

    /// `GetObjectPerPodMetricReplicas` and `GetExternalPerPodMetricReplicas`.
    fn of_total(&self, total: f64, target: f64) -> Option<Verdict> {
        let wanted = total / thousandths(target)?;
        let ratio = wanted / f64::from(self.asked.max(1));
        let replicas = if self.asked > 0 && self.tolerates(ratio) { self.asked } else { whole(wanted) };
        Some(Verdict { replicas, usage: total / 1000.0 / f64::from(self.asked.max(1)), ratio })
    }

    /// Whether a ratio is too near to 1 to do anything about it: `Tolerances.isWithin`.
    pub(crate) fn tolerates(&self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }

    /// A metric above its target never takes a replica, and one below never adds one. There may be fewer instances
    /// than are asked for, as after a scale-up, and more, as in a rollout.
    const fn same_direction(&self, ratio: f64, replicas: u32) -> u32 {
        let is_turned = (ratio < 1.0 && replicas > self.asked) || (ratio > 1.0 && replicas < self.asked);
        if is_turned { self.asked } else { replicas }
    }
}

/// The mean of a sum in thousandths, and its relation to the target, both rounded down as the HPA does: to whole
/// percent (`GetResourceUtilizationRatio`), or to thousandths (`GetMetricUsageRatio`).
fn relation(target: Target, sum: f64, count: f64) -> Option<(f64, f64)> {
    match target {
        Target::AverageUtilization(percent) => {
            let mean = (sum / (count * 1000.0)).floor();
            Some((mean, mean / percent))
        }
        Target::AverageValue(target) | Target::Value(target) => {
            let mean = (sum / count).floor();
            Some((mean / 1000.0, mean / thousandths(target)?))
        }
    }
}

/// What a missing instance counts as on the way down, in thousandths: all that it may use, or the target.
fn fallback(target: Target) -> Option<f64> {
    match target {
        Target::AverageUtilization(percent) => thousandths(percent.max(100.0)),
        Target::AverageValue(target) | Target::Value(target) => thousandths(target),
    }
}

fn whole(replicas: f64) -> u32 {
    // Within the range of a u32; a NaN would be 0, but targets are above 0 and metrics are finite.
    replicas.ceil().clamp(0.0, MOST) as u32
}
