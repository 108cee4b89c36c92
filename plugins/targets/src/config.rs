//! The configuration, as `config.schema.json` describes it.

use outrigger_policy_sdk::{Needs, Problems, Span};
use serde::Deserialize;

/// Below this a target is a typing error: metrics are counted in thousandths.
const LEAST_TARGET: f64 = 0.001;
/// Above this a target is one, and thousandths are no longer exact.
const LARGEST_TARGET: f64 = 1e12;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    pub metrics: Vec<Metric>,
    #[serde(default = "default_tolerance")]
    pub tolerance_up: f64,
    #[serde(default = "default_tolerance")]
    pub tolerance_down: f64,
    #[serde(default = "default_cpu_initialization_period")]
    pub cpu_initialization_period: Span,
    #[serde(default = "default_initial_readiness_delay")]
    pub initial_readiness_delay: Span,
}

/// A metric and what it should be.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Metric {
    pub metric: String,
    pub target: Target,
}

/// The three kinds of target that the HPA knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The mean over the instances, in whole percent.
    AverageUtilization(f64),
    /// The mean over the instances, or each replica's share of a total (`requests.sum`).
    AverageValue(f64),
    /// One number that more replicas bring down.
    Value(f64),
}

/// A metric as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    metric: String,
    average_utilization: Option<f64>,
    average_value: Option<f64>,
    value: Option<f64>,
}

impl TryFrom<Written> for Metric {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { metric, average_utilization, average_value, value } = written;
        let target = match (average_utilization, average_value, value) {
            (Some(percent), None, None) => Target::AverageUtilization(percent),
            (None, Some(each), None) => Target::AverageValue(each),
            (None, None, Some(value)) => Target::Value(value),
            _ => {
                return Err(format!("`{metric}` needs one of `averageUtilization`, `averageValue` and `value`"));
            }
        };
        Ok(Self { metric, target })
    }
}

impl Target {
    /// The number itself.
    pub(crate) const fn number(self) -> f64 {
        match self {
            Self::AverageUtilization(number) | Self::AverageValue(number) | Self::Value(number) => number,
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::AverageUtilization(_) => "averageUtilization",
            Self::AverageValue(_) => "averageValue",
            Self::Value(_) => "value",
        }
    }
}

impl Metric {
    /// Whether the metric is the total of all instances.
    pub(crate) fn is_total(&self) -> bool {
        self.metric.ends_with(".sum")
    }

    /// Whether starting alone moves it, so that an instance that has just started says nothing about the load.
    pub(crate) fn is_of_processor(&self) -> bool {
        matches!(&*self.metric, "cpu" | "cpu_usage_cores")
    }

    fn check(&self, number: usize, problems: &mut Problems) {
        let at = format!("/metrics/{number}/{}", self.target.field());
        let target = self.target.number();
        // Not a comparison the other way round: what is not a number is no target either.
        if !(LEAST_TARGET..=LARGEST_TARGET).contains(&target) {
            problems.add(at, format!("{target} must be from {LEAST_TARGET} to {LARGEST_TARGET}"));
        }
        let suffix = self.metric.rsplit_once('.').map(|(_, suffix)| suffix).filter(|one| matches!(*one, "max" | "sum"));
        let fits = match (self.target, suffix) {
            (Target::AverageUtilization(_), Some(_)) | (Target::AverageValue(_), Some("max")) => false,
            (Target::AverageUtilization(_) | Target::AverageValue(_) | Target::Value(_), _) => true,
        };
        if !fits {
            let message = format!("`{}` is no average: leave the suffix out, or give it a `value`", self.metric);
            problems.add(format!("/metrics/{number}/metric"), message);
        }
    }
}

/// `--horizontal-pod-autoscaler-tolerance`.
const fn default_tolerance() -> f64 {
    0.1
}

/// `--horizontal-pod-autoscaler-cpu-initialization-period`.
const fn default_cpu_initialization_period() -> Span {
    Span::from_secs(300)
}

/// `--horizontal-pod-autoscaler-initial-readiness-delay`.
const fn default_initial_readiness_delay() -> Span {
    Span::from_secs(30)
}

impl Config {
    pub fn check(&self, problems: &mut Problems) -> Needs {
        if self.metrics.is_empty() {
            problems.add("/metrics", "at least one metric is needed");
        }
        for (path, tolerance) in [("/toleranceUp", self.tolerance_up), ("/toleranceDown", self.tolerance_down)] {
            if !(0.0..=1.0).contains(&tolerance) {
                problems.add(path, format!("{tolerance} must be from 0 to 1; 0.1 is 10 %"));
            }
        }
        if self.initial_readiness_delay > self.cpu_initialization_period {
            let message = format!(
                "{} must not be longer than `cpuInitializationPeriod`, {}",
                self.initial_readiness_delay, self.cpu_initialization_period
            );
            problems.add("/initialReadinessDelay", message);
        }
        let mut needs = Needs::nothing();
        for (number, metric) in self.metrics.iter().enumerate() {
            metric.check(number, problems);
            if self.metrics[..number].iter().any(|earlier| earlier.metric == metric.metric) {
                problems.add(format!("/metrics/{number}/metric"), format!("`{}` is there twice", metric.metric));
            }
            // The value now; the instances' own latest values come with it.
            needs = needs.series(&metric.metric, Span::default());
        }
        needs
    }
}
