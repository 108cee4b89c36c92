//! How the generations of a deployment spread, as its settings have it.

use std::time::Duration;

use outrigger_rollout::{Amount, Gates, OnInconclusive, OnSilence, Plan, Settings, Strategy};

/// The plan of a generation that takes the place of another.
pub(super) fn compiled(settings: &Settings) -> Plan {
    settings.clone().compile().unwrap_or_else(|error| {
        // Was checked when it was written.
        tracing::warn!(error = &error as &dyn std::error::Error, "the defaults are used instead");
        Settings::new(Strategy::AllAtOnce).compile().expect("the defaults are valid")
    })
}

/// The plan of the first generation: nothing runs that it could endanger, and there is nothing to go back to. An instance
/// with which something is wrong is told of, and is offered it all the same.
pub(super) fn first(settings: &Settings) -> Plan {
    let lenient = Settings {
        strategy: Strategy::AllAtOnce,
        final_bake: Duration::ZERO,
        max_unhealthy: Amount::Percent(100.0),
        tolerated_failures: Amount::Percent(100.0),
        on_silence: OnSilence::Tolerate,
        on_inconclusive: OnInconclusive::Promote,
        gates: Gates { error_rate: None, latency: None, ..settings.gates.clone() },
        ..settings.clone()
    };
    compiled(&lenient)
}
