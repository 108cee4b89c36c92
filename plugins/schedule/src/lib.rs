//! Asks for replicas by the time of day, the day of the week and the date.
//!
//! `README.md` has the rules. What must never be true: that a moment which is not in the input decides anything.

mod clock;
mod config;
mod cron;

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, export_policy};

use clock::Clock;
pub use config::{Config, Window};
pub use cron::{Cron, ParseCronError};

/// The policy.
pub struct Schedule;

impl Policy for Schedule {
    const NAME: &'static str = "schedule";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Asks for replicas by the time of day, the day of the week and the date.";
    const CONFIG_SCHEMA: &'static str = include_str!("../config.schema.json");

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        config.check(problems)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let clock = Clock::of(input);
        let open: Vec<&Window> = config.windows.iter().filter(|window| window.is_open(clock)).collect();
        let proposal = match open.iter().max_by_key(|window| window.replicas) {
            Some(window) => {
                let reason = format!("`{}` asks for {}{}", window.name, window.replicas, besides(&open, window));
                Proposal::of(window.replicas, reason)
            }
            None => Proposal::of(config.otherwise, format!("no window is open, which asks for {}", config.otherwise)),
        };
        Ok(proposal.signal("windows.open", open.len() as f64).state(clock.state()))
    }
}

export_policy!(Schedule);

impl Window {
    /// Whether it has begun since it last ended.
    fn is_open(&self, clock: Clock) -> bool {
        let last = |cron: &Cron| cron.last(clock.moment, clock.weekday);
        // Of two in the same minute, the one that begins counts. An end that never was is before every beginning.
        last(&self.start).is_some_and(|start| last(&self.end).is_none_or(|end| start >= end))
    }
}

/// The other windows that are open, for the reason.
fn besides(open: &[&Window], largest: &Window) -> String {
    let others: Vec<String> = open
        .iter()
        .filter(|window| window.name != largest.name)
        .map(|window| format!("`{}` for {}", window.name, window.replicas))
        .collect();
    if others.is_empty() { String::new() } else { format!(", more than {}", others.join(", ")) }
}

#[cfg(test)]
mod tests;
