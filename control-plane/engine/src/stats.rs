//! What the engine counted and timed since it was started.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $help:literal;)+) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Count { $($(#[$doc])* $variant,)+ }

        impl Count {
            const ALL: &'static [(Self, &'static str, &'static str)] = &[$((Self::$variant, $name, $help)),+];
        }
    };
}

counts! {
    Looks = "looks", "Looks at a deployment.";
    LooksFailed = "looks_failed", "Looks that came to nothing because something else failed.";
    LookPanics = "look_panics", "Looks that panicked.";
    Approved = "decisions_approved", "Decisions to do what the policies asked for.";
    Clamped = "decisions_clamped", "Decisions to do less than the policies asked for.";
    Held = "decisions_held", "Decisions to change nothing.";
    Stale = "decisions_stale", "Decisions that were void because something else had changed meanwhile.";
    PolicyFaults = "policy_faults", "Evaluations that failed.";
    BreakersOpened = "policy_breakers_opened", "Times a failing policy was no longer asked.";
    Created = "instances_created", "Instances that a driver made.";
    Destroyed = "instances_destroyed", "Instances that a driver ended.";
    CallsFailed = "driver_calls_failed", "Driver calls that failed.";
    EffectsFailed = "effects_failed", "Effects that failed for good, or for now.";
    EffectsDeferred = "effects_deferred", "Effects that found no room in memory and wait in the store.";
    Lost = "instances_lost", "Instances that ended on their own.";
    Replaced = "instances_replaced", "Replacements of lost instances.";
    Strays = "instances_stray", "Sandboxes that nobody wanted.";
    Pushes = "config_pushes", "Configurations that were pushed to a deployment.";
    TaskPanics = "task_panics", "Tasks that panicked.";
}

macro_rules! timings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $help:literal;)+) => {
        /// What is timed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Timing { $($(#[$doc])* $variant,)+ }

        impl Timing {
            pub const ALL: &'static [(Self, &'static str, &'static str)] = &[$((Self::$variant, $name, $help)),+];
        }
    };
}

timings! {
    Look = "look", "One look at a deployment.";
    /// Only for decisions that changed something or were written down.
    SampleToDecision = "sample_to_decision", "From the newest sample's arrival to the decision being stored.";
    SampleToCall = "sample_to_driver_call", "From the newest sample's arrival to the call of the driver.";
    Call = "driver_call", "One driver call.";
}

#[derive(Debug, Default)]
pub(crate) struct Stats {
    counts: [AtomicU64; Count::ALL.len()],
    timings: [Mutex<LatencyHistogram>; Timing::ALL.len()],
}

impl Stats {
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn time(&self, timing: Timing, duration: Duration) {
        // A histogram is whole between any two records.
        self.timings[timing as usize].lock().unwrap_or_else(PoisonError::into_inner).record(duration);
    }

    #[cfg(test)]
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self, deployments: usize, effects: usize) -> EngineStats {
        EngineStats {
            deployments,
            effects,
            counts: self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)),
            timings: self.timings.each_ref().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }
}

/// A reading of the engine's counters and histograms, all since its start.
#[derive(Debug, Clone)]
pub struct EngineStats {
    /// Deployments that are known.
    pub deployments: usize,
    /// Effects that wait in memory or are under way.
    pub effects: usize,
    counts: [u64; Count::ALL.len()],
    timings: [LatencyHistogram; Timing::ALL.len()],
}

impl EngineStats {
    /// By the name in the metrics, `decisions_held`; `None` for a name that is not counted.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        Count::ALL.iter().position(|(_, known, _)| *known == name).map(|at| self.counts[at])
    }

    #[must_use]
    pub const fn timing(&self, timing: Timing) -> &LatencyHistogram {
        &self.timings[timing as usize]
    }

    /// Appends them in Prometheus' text format (version 0.0.4).
    pub fn write_prometheus(&self, out: &mut String) {
        // Writing into a String cannot fail.
        let gauges = [
            ("deployments", "Deployments that are known.", self.deployments),
            ("effects", "Effects that wait in memory or are under way.", self.effects),
        ];
        for (name, help, value) in gauges {
            let name = format!("outrigger_engine_{name}");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        for ((_, name, help), value) in Count::ALL.iter().zip(self.counts) {
            let name = format!("outrigger_engine_{name}_total");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        for ((_, name, help), histogram) in Timing::ALL.iter().zip(&self.timings) {
            let name = format!("outrigger_engine_{name}_seconds");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} summary");
            for q in [0.5, 0.9, 0.99] {
                let value = histogram.quantile(q).map_or(f64::NAN, |value| value.as_secs_f64());
                let _ = writeln!(out, "{name}{{quantile=\"{q}\"}} {value}");
            }
            let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
            let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {count}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_and_timing_is_in_the_text() {
        let stats = Stats::default();
        stats.add(Count::Held, 3);
        stats.time(Timing::SampleToDecision, Duration::from_millis(20));
        let reading = stats.read(2, 1);
        assert_eq!((reading.count("decisions_held"), reading.count("nothing")), (Some(3), None));
        let mut text = String::new();
        reading.write_prometheus(&mut text);
        assert!(text.contains("outrigger_engine_deployments 2\n") && text.contains("decisions_held_total 3\n"));
        assert!(text.contains("sample_to_decision_seconds{quantile=\"0.99\"} 0.02\n"), "{text}");
        assert!(text.contains("outrigger_engine_driver_call_seconds{quantile=\"0.5\"} NaN\n"), "{text}");
    }
}
