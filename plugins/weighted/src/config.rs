//! The configuration, as `config.schema.json` describes it, and the presets.

use std::borrow::Cow;

use outrigger_policy_sdk::{Needs, Problems, Span, Step};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    pub preset: Option<Preset>,
    #[serde(rename = "metrics")]
    pub own_metrics: Option<Vec<Metric>>,
    pub smoothing: Option<Smoothing>,
    #[serde(default)]
    pub aggregate: Aggregate,
    #[serde(default = "default_hysteresis")]
    pub hysteresis: f64,
    #[serde(default = "default_scale_up")]
    pub scale_up: f64,
    #[serde(default)]
    pub scale_down: f64,
    #[serde(default = "one")]
    pub step_up: Step,
    #[serde(default = "one")]
    pub step_down: Step,
}

/// A metric, its share of the score, and the values that count as 0 and 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    pub metric: Cow<'static, str>,
    #[serde(default = "default_weight")]
    pub weight: f64,
    pub up: f64,
    pub down: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoothing {
    #[serde(default)]
    pub method: Method,
    #[serde(default = "default_window")]
    pub window: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    #[default]
    Ewma,
    Mean,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    #[default]
    Average,
    Max,
}

/// A shape of load and what suits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Answers requests: busy at 70 % CPU, 80 % memory, 100 requests a second and instance; idle at 30, 40, 20.
    WebApi,
    /// Works off a queue: busy at 85 % CPU, 90 % memory, 10 waiting for each instance; idle at 20, 30 and none.
    BatchJob,
}

impl Preset {
    fn metrics(self) -> [Metric; 3] {
        let metric = |metric, weight, up, down| Metric { metric: Cow::Borrowed(metric), weight, up, down };
        match self {
            Self::WebApi => [
                metric("cpu", 1.0, 70.0, 30.0),
                metric("memory", 1.0, 80.0, 40.0),
                metric("requests", 1.0, 100.0, 20.0),
            ],
            Self::BatchJob => [
                metric("cpu", 1.0, 85.0, 20.0),
                metric("memory", 1.0, 90.0, 30.0),
                metric("queue_depth", 1.0, 10.0, 0.0),
            ],
        }
    }

    const fn smoothing(self) -> Smoothing {
        match self {
            Self::WebApi => Smoothing { method: Method::Ewma, window: Span::from_secs(30) },
            Self::BatchJob => Smoothing { method: Method::Mean, window: Span::from_secs(60) },
        }
    }
}

const fn default_hysteresis() -> f64 {
    0.1
}

const fn default_scale_up() -> f64 {
    1.0
}

const fn default_weight() -> f64 {
    1.0
}

const fn default_window() -> Span {
    Span::from_secs(30)
}

const fn one() -> Step {
    Step::Count(1)
}

impl Config {
    /// The configured metrics, or those of the preset.
    pub fn metrics(&self) -> Vec<Metric> {
        match (&self.own_metrics, self.preset) {
            (Some(own), _) => own.clone(),
            (None, Some(preset)) => preset.metrics().to_vec(),
            (None, None) => Vec::new(),
        }
    }

    /// How far back to look and how to average; a window of nothing is the value now.
    pub fn smoothing(&self) -> Smoothing {
        let smoothing = match (self.smoothing, self.preset) {
            (Some(own), _) => own,
            (None, Some(preset)) => preset.smoothing(),
            (None, None) => Smoothing { method: Method::default(), window: default_window() },
        };
        match smoothing.method {
            Method::None => Smoothing { window: Span::default(), ..smoothing },
            Method::Ewma | Method::Mean => smoothing,
        }
    }

    /// The series that a metric is read from.
    pub fn series(&self, metric: &str) -> String {
        match self.aggregate {
            Aggregate::Average => metric.to_owned(),
            Aggregate::Max => format!("{metric}.max"),
        }
    }

    pub fn check(&self, problems: &mut Problems) -> Needs {
        let metrics = self.metrics();
        if metrics.is_empty() {
            problems.add("", "needs a `preset`, or at least one entry in `metrics`");
        }
        let mut needs = Needs::nothing();
        for (number, metric) in metrics.iter().enumerate() {
            if metric.down >= metric.up {
                let message = format!("{} must be less than `up`, {}", metric.down, metric.up);
                problems.add(format!("/metrics/{number}/down"), message);
            }
            if metrics[..number].iter().any(|earlier| earlier.metric == metric.metric) {
                problems.add(format!("/metrics/{number}/metric"), format!("`{}` is there twice", metric.metric));
            }
            if metric.weight <= 0.0 {
                problems.add(format!("/metrics/{number}/weight"), "must be greater than 0");
            }
            needs = needs.series(&self.series(&metric.metric), self.smoothing().window);
        }
        if self.scale_down + self.hysteresis >= self.scale_up - self.hysteresis {
            problems.add(
                "/hysteresis",
                format!(
                    "must be less than half of what lies between `scaleDown`, {}, and `scaleUp`, {}",
                    self.scale_down, self.scale_up
                ),
            );
        }
        needs
    }
}
