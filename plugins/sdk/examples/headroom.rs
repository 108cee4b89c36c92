//! A complete policy: keeps a share of capacity free, and looks ahead by the trend.
//!
//! Build it with `cargo build --release --target wasm32-unknown-unknown --example headroom`.

use outrigger_policy_sdk::{Decision, Input, Needs, Policy, Problems, Proposal, Span, debug, export_policy, rounded};
use serde::Deserialize;

/// The policy.
pub struct Headroom;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Requests per second that one replica serves at its ease.
    capacity: f64,
    /// How far to look back for the trend, and ahead along it.
    horizon: Span,
}

impl Policy for Headroom {
    const NAME: &'static str = "headroom";
    const VERSION: &'static str = "0.1.0";
    const SUMMARY: &'static str = "Keeps enough replicas for the requests that are about to come.";
    const CONFIG_SCHEMA: &'static str = r#"{
        "type": "object",
        "required": ["capacity", "horizon"],
        "additionalProperties": false,
        "properties": {
            "capacity": { "type": "number", "exclusiveMinimum": 0 },
            "horizon": { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }
        }
    }"#;

    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) -> Needs {
        if config.horizon < Span::from_secs(5) {
            problems.add("/horizon", "a trend needs at least 5s");
        }
        Needs::nothing().series("requests.sum", config.horizon)
    }

    fn decide(config: &Config, input: &Input) -> Decision {
        let requests = input.window("requests.sum", config.horizon);
        let (Some(now), Some(trend)) = (requests.latest(), requests.trend()) else {
            return Ok(Proposal::hold(input, "too little is known of the requests").confidence(0.0));
        };
        let soon = (now + trend * config.horizon.as_millis() as f64 / 1000.0).max(now);
        debug!("{} requests/s now, {} in {}", rounded(now, 0), rounded(soon, 0), config.horizon);
        // A float converts to the nearest number there is, so nonsense cannot wrap around.
        let replicas = (soon / config.capacity).ceil().max(1.0) as u32;
        Ok(Proposal::of(replicas, format!("{} requests/s are expected in {}", rounded(soon, 0), config.horizon))
            .confidence(requests.coverage())
            .signal("requests.now", now)
            .signal("requests.expected", soon))
    }
}

export_policy!(Headroom);
