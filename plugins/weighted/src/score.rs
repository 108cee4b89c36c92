//! From metrics to one number: 0 where everything is at its lower threshold, 1 where everything is at its upper one.

use outrigger_policy_sdk::{Input, Window};

use crate::config::{Aggregate, Config, Method, Metric};

/// A metric counts from -1 to 2, so that one that has gone wild cannot drown all others.
const FLOOR: f64 = -1.0;
const CEILING: f64 = 2.0;

/// What is known about all metrics together.
pub(crate) struct Score {
    pub(crate) parts: Vec<Part>,
}

/// What is known about one metric.
pub(crate) struct Part {
    pub(crate) metric: Metric,
    /// The smoothed value, where the value now is known.
    pub(crate) value: Option<f64>,
    /// The share of its window that is known, 0 to 1.
    pub(crate) coverage: f64,
}

impl Score {
    pub(crate) fn of(config: &Config, input: &Input) -> Self {
        Self { parts: config.metrics().into_iter().map(|metric| Part::of(metric, config, input)).collect() }
    }

    /// The weighted mean over the metrics that are known; `None` where none is.
    pub(crate) fn value(&self) -> Option<f64> {
        let (sum, weight) = self.parts.iter().fold((0.0, 0.0), |(sum, weight), part| match part.normal() {
            Some(normal) => (sum + part.metric.weight * normal, weight + part.metric.weight),
            None => (sum, weight),
        });
        (weight > 0.0).then(|| sum / weight)
    }

    /// The weighted share of everything looked at that is known.
    pub(crate) fn coverage(&self) -> f64 {
        let weight: f64 = self.parts.iter().map(|part| part.metric.weight).sum();
        let known: f64 = self.parts.iter().map(|part| part.metric.weight * part.coverage).sum();
        if weight > 0.0 { known / weight } else { 0.0 }
    }

    /// Metrics of which too little is known to shrink anything: no value now, or less than half of the window.
    pub(crate) fn unsure(&self) -> Vec<&str> {
        let unsure = self.parts.iter().filter(|part| part.value.is_none() || part.coverage < 0.5);
        unsure.map(|part| &*part.metric.metric).collect()
    }

    /// The metric that pushes hardest in a direction, for the reason.
    pub(crate) fn loudest(&self, upwards: bool) -> Option<&Part> {
        let push = |part: &&Part| part.normal().map_or(f64::NEG_INFINITY, |normal| part.metric.weight * normal);
        let known = self.parts.iter().filter(|part| part.value.is_some());
        if upwards {
            known.max_by(|a, b| push(a).total_cmp(&push(b)))
        } else {
            known.min_by(|a, b| push(a).total_cmp(&push(b)))
        }
    }
}

impl Part {
    fn of(metric: Metric, config: &Config, input: &Input) -> Self {
        let smoothing = config.smoothing();
        let series = config.series(&metric.metric);
        if input.series(&series).is_none() {
            return Self::of_instances(metric, config.aggregate, input);
        }
        let window = input.window(&series, smoothing.window);
        let smooth = match smoothing.method {
            Method::Ewma => Window::ewma,
            Method::Mean => Window::mean,
            Method::None => Window::latest,
        };
        Self { metric, value: window.latest().and_then(|_| smooth(window)), coverage: window.coverage() }
    }

    /// From the latest values of the ready instances, where the host has no series: unsmoothed, but known.
    fn of_instances(metric: Metric, aggregate: Aggregate, input: &Input) -> Self {
        let all: Vec<f64> = input.of_ready_instances(&metric.metric).collect();
        let known: Vec<f64> = all.iter().copied().filter(|value| value.is_finite()).collect();
        let value = match aggregate {
            Aggregate::Average => (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            Aggregate::Max => known.iter().copied().reduce(f64::max),
        };
        Self { metric, value, coverage: known.len() as f64 / all.len().max(1) as f64 }
    }

    /// 0 at the lower threshold, 1 at the upper, linear between and beyond.
    pub(crate) fn normal(&self) -> Option<f64> {
        let Metric { up, down, .. } = self.metric;
        self.value.map(|value| ((value - down) / (up - down)).clamp(FLOOR, CEILING))
    }
}
