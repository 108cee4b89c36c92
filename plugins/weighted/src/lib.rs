//! Scales by a weighted score of several metrics, smoothed over time, with hysteresis.
//!
//! `README.md` has the formulas. What must never be true: that a metric of which too little is known lets the
//! deployment shrink.

mod config;
mod score;

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, export_policy, rounded};

pub use config::{Aggregate, Config, Method, Metric, Preset, Smoothing};
use score::{Part, Score};

/// The policy.
pub struct Weighted;

/// Where the policy is going, which is all it remembers. A direction is left later than it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Level,
    Down,
}

impl Direction {
    /// A state that nobody knows is that of a deployment that is going nowhere.
    fn remembered(state: &[u8]) -> Self {
        match state {
            b"up" => Self::Up,
            b"down" => Self::Down,
            _ => Self::Level,
        }
    }

    const fn state(self) -> &'static [u8] {
        match self {
            Self::Up => b"up",
            Self::Level => b"level",
            Self::Down => b"down",
        }
    }
}

impl Policy for Weighted {
    const NAME: &'static str = "weighted";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Scales by a weighted score of several metrics, smoothed over time, with hysteresis.";
    const CONFIG_SCHEMA: &'static str = include_str!("../config.schema.json");

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        config.check(problems)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let before = Direction::remembered(&input.state);
        let score = Score::of(config, input);
        let (proposal, direction) = match score.value() {
            Some(value) => act(config, input, &score, value, before),
            // Blind: where it was going is forgotten, so that it does not go on from there when sight comes back.
            None => (Proposal::hold(input, "no metric has a current value"), Direction::Level),
        };
        let proposal = score
            .parts
            .iter()
            .fold(proposal, |proposal, part| proposal.signal(&*part.metric.metric, part.value.unwrap_or(f64::NAN)));
        let proposal = proposal.signal("score", score.value().unwrap_or(f64::NAN)).confidence(score.coverage());
        Ok(proposal.state(direction.state().to_vec()))
    }
}

export_policy!(Weighted);

/// What a score means, given where the policy was going.
fn act(config: &Config, input: &Input, score: &Score, value: f64, before: Direction) -> (Proposal, Direction) {
    let replicas = input.deployment.replicas;
    let up_from = if before == Direction::Up { config.scale_up - config.hysteresis } else { config.scale_up };
    let down_from = if before == Direction::Down { config.scale_down + config.hysteresis } else { config.scale_down };
    let [shown, up_shown, down_shown] = [value, up_from, down_from].map(|number| rounded(number, 2));
    if value >= up_from {
        let reason = format!("score {shown}, at or above {up_shown}{}; {} more", because(score, true), config.step_up);
        return (Proposal::of(replicas.saturating_add(config.step_up.up(replicas)), reason), Direction::Up);
    }
    let unsure = score.unsure();
    if value <= down_from && unsure.is_empty() {
        let reason =
            format!("score {shown}, at or below {down_shown}{}; {} less", because(score, false), config.step_down);
        return (Proposal::of(replicas - config.step_down.down(replicas), reason), Direction::Down);
    }
    let reason = if value <= down_from {
        format!("score {shown}, but too little is known of {} to scale down", unsure.join(", "))
    } else {
        format!("score {shown}, between {down_shown} and {up_shown}")
    };
    (Proposal::hold(input, reason), Direction::Level)
}

/// The metric that says most about a score.
fn because(score: &Score, upwards: bool) -> String {
    match score.loudest(upwards) {
        Some(Part { metric, value: Some(value), .. }) => format!(" ({} {})", metric.metric, rounded(*value, 1)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
