//! The configuration, as `config.schema.json` describes it.

use outrigger_policy_sdk::{Needs, Problems};
use serde::Deserialize;

use crate::cron::Cron;

/// What a proposal may ask for at most.
const MOST: u32 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub windows: Vec<Window>,
    #[serde(default)]
    pub otherwise: u32,
}

/// A stretch of time that comes again and again, and the replicas that it asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub name: String,
    pub start: Cron,
    pub end: Cron,
    pub replicas: u32,
}

impl Config {
    pub fn check(&self, problems: &mut Problems) -> Needs {
        if self.windows.is_empty() {
            problems.add("/windows", "at least one window is needed");
        }
        let mut within = |path: String, replicas: u32| {
            if replicas > MOST {
                problems.add(path, format!("{replicas} must be at most {MOST}"));
            }
        };
        within("/otherwise".to_owned(), self.otherwise);
        for (number, window) in self.windows.iter().enumerate() {
            within(format!("/windows/{number}/replicas"), window.replicas);
        }
        for (number, window) in self.windows.iter().enumerate() {
            if window.start == window.end {
                problems.add(format!("/windows/{number}/end"), "must not be the same as `start`");
            }
            if self.windows[..number].iter().any(|earlier| earlier.name == window.name) {
                problems.add(format!("/windows/{number}/name"), format!("`{}` is there twice", window.name));
            }
        }
        Needs::nothing()
    }
}
