//! The configuration, as `config.schema.json` describes it.

use outrigger_policy_sdk::{Needs, Problems, Span, Step};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub rules: Vec<Rule>,
}

/// One metric and the values between which the deployment is left alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    pub metric: String,
    pub above: Option<f64>,
    pub below: Option<f64>,
    #[serde(default)]
    pub up_for: Span,
    #[serde(default = "default_down_for")]
    pub down_for: Span,
    #[serde(default = "one")]
    pub step_up: Step,
    #[serde(default = "one")]
    pub step_down: Step,
}

/// Going up late costs answers, going down late costs a minute of a replica.
const fn default_down_for() -> Span {
    Span::from_secs(60)
}

const fn one() -> Step {
    Step::Count(1)
}

impl Config {
    pub fn check(&self, problems: &mut Problems) -> Needs {
        if self.rules.is_empty() {
            problems.add("/rules", "at least one rule is needed");
        }
        let mut needs = Needs::nothing();
        for (number, rule) in self.rules.iter().enumerate() {
            match (rule.above, rule.below) {
                (None, None) => problems.add(format!("/rules/{number}"), "needs `above`, `below` or both"),
                (Some(above), Some(below)) if below >= above => {
                    problems
                        .add(format!("/rules/{number}/below"), format!("{below} must be less than `above`, {above}"));
                }
                _ => {}
            }
            needs = needs.series(&rule.metric, rule.up_for.max(rule.down_for));
        }
        needs
    }
}
