//! The configuration, as `config.schema.json` describes it.

use outrigger_policy_sdk::{Needs, Problems, Span};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    #[serde(default = "default_metric")]
    pub metric: String,
    #[serde(default = "default_target")]
    pub target: f64,
    #[serde(default = "default_target_utilization")]
    pub target_utilization: f64,
    #[serde(default = "default_stable_window")]
    pub stable_window: Span,
    #[serde(default = "default_panic_window_percentage")]
    pub panic_window_percentage: f64,
    #[serde(default = "default_panic_threshold_percentage")]
    pub panic_threshold_percentage: f64,
    #[serde(default = "default_max_scale_up_rate")]
    pub max_scale_up_rate: f64,
    #[serde(default = "default_max_scale_down_rate")]
    pub max_scale_down_rate: f64,
    #[serde(default = "default_activation_scale")]
    pub activation_scale: u32,
}

fn default_metric() -> String {
    "requests_in_flight".to_owned()
}

// The defaults are those of Knative's `config-autoscaler`, whose keys are named here.

/// `container-concurrency-target-default`.
const fn default_target() -> f64 {
    100.0
}

/// `container-concurrency-target-percentage`.
const fn default_target_utilization() -> f64 {
    0.7
}

/// `stable-window`.
const fn default_stable_window() -> Span {
    Span::from_secs(60)
}

/// `panic-window-percentage`.
const fn default_panic_window_percentage() -> f64 {
    10.0
}

/// `panic-threshold-percentage`.
const fn default_panic_threshold_percentage() -> f64 {
    200.0
}

/// `max-scale-up-rate`.
const fn default_max_scale_up_rate() -> f64 {
    1000.0
}

/// `max-scale-down-rate`.
const fn default_max_scale_down_rate() -> f64 {
    2.0
}

/// `activation-scale`.
const fn default_activation_scale() -> u32 {
    1
}

impl Config {
    /// What one replica should have to do: the target, less the room that is left for what comes next.
    pub(crate) fn target_value(&self) -> f64 {
        self.target * self.target_utilization
    }

    /// The series that is read: the total of all instances.
    pub(crate) fn series(&self) -> String {
        format!("{}.sum", self.metric)
    }

    /// The part of the stable window that shows a surge first.
    pub(crate) fn panic_window(&self) -> Span {
        // A share of a whole number of milliseconds, at most all of it.
        Span::from_millis((self.stable_window.as_millis() as f64 * self.panic_window_percentage / 100.0) as u64)
    }

    pub fn check(&self, problems: &mut Problems) -> Needs {
        if [".sum", ".max"].iter().any(|suffix| self.metric.ends_with(suffix)) {
            problems.add("/metric", format!("`{}` has a suffix; the total is taken by itself", self.metric));
        }
        let window = self.stable_window.as_millis();
        if !(6_000..=3_600_000).contains(&window) {
            problems.add("/stableWindow", format!("{} must be from 6s to 1h", self.stable_window));
        }
        let mut within = |path: &str, value: f64, least: f64, most: f64| {
            // What is not a number is not within either.
            if !(least..=most).contains(&value) {
                problems.add(path, format!("{value} must be from {least} to {most}"));
            }
        };
        within("/target", self.target, 0.01, 1e9);
        within("/targetUtilization", self.target_utilization, 0.01, 1.0);
        within("/panicWindowPercentage", self.panic_window_percentage, 1.0, 100.0);
        within("/panicThresholdPercentage", self.panic_threshold_percentage, 110.0, 1000.0);
        within("/maxScaleUpRate", self.max_scale_up_rate, 1.01, 1e6);
        within("/maxScaleDownRate", self.max_scale_down_rate, 1.01, 1e6);
        Needs::nothing().series(&self.series(), self.stable_window)
    }
}
