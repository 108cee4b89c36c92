//! What the engine counted and timed since it was started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;

/// How one count is presented.
#[derive(Debug)]
struct Entry {
    /// By which it is asked for.
    name: &'static str,
    /// Several counts that are told apart by a label are one family.
    family: &'static str,
    label: Option<(&'static str, &'static str)>,
    help: &'static str,
}

macro_rules! counts {
    ($($variant:ident = $name:literal $(in $family:literal, $label:literal = $value:literal)?, $help:literal;)+) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Count { $($variant,)+ }

        impl Count {
            const ALL: &'static [Entry] = &[$(counts!(@entry $name, $help $(, $family, $label, $value)?)),+];
        }
    };
    (@entry $name:literal, $help:literal) => {
        Entry { name: $name, family: $name, label: None, help: $help }
    };
    (@entry $name:literal, $help:literal, $family:literal, $label:literal, $value:literal) => {
        Entry { name: $name, family: $family, label: Some(($label, $value)), help: $help }
    };
}

// Counts of one family stand next to each other; the help is that of the first.
counts! {
    Looks = "looks", "Looks at a deployment.";
    LooksFailed = "looks_failed", "Looks that came to nothing because something else failed.";
    LookPanics = "look_panics", "Looks that panicked.";
    Approved = "decisions_approved" in "decisions", "verdict" = "approved",
        "Decisions, by what the guards made of the policies' wish.";
    Clamped = "decisions_clamped" in "decisions", "verdict" = "clamped", "To do less than the policies asked for.";
    Held = "decisions_held" in "decisions", "verdict" = "held", "To change nothing.";
    Up = "written_up" in "decisions_written", "direction" = "up",
        "Decisions that were written down, also those of people, by where they led.";
    Down = "written_down" in "decisions_written", "direction" = "down", "To fewer replicas.";
    Level = "written_none" in "decisions_written", "direction" = "none", "To as many replicas.";
    Stale = "decisions_stale", "Decisions that were void because something else had changed meanwhile.";
    PolicyFaults = "policy_faults", "Evaluations that failed.";
    BreakersOpened = "policy_breakers_opened", "Times a failing policy was no longer asked.";
    IntentsCreate = "intents_create" in "intents", "effect" = "create",
        "Effects that were written down to be carried out.";
    IntentsDestroy = "intents_destroy" in "intents", "effect" = "destroy", "Instances to end.";
    Created = "instances_created", "Instances that a driver made.";
    Destroyed = "instances_destroyed", "Instances that a driver ended.";
    Calls = "driver_calls", "Driver calls that ended, however.";
    CallsFailed = "driver_calls_failed", "Driver calls that failed.";
    EffectsFailed = "effects_failed", "Effects that failed for good, or for now.";
    EffectsDeferred = "effects_deferred", "Effects that found no room in memory and wait in the store.";
    Lost = "instances_lost", "Instances that ended on their own.";
    Replaced = "instances_replaced", "Replacements of lost instances.";
    Strays = "instances_stray", "Sandboxes that nobody wanted.";
    Rounds = "reconciler_rounds", "Comparisons of what is written down with what there is.";
    RoundsFailed = "reconciler_rounds_failed", "Comparisons that came to nothing.";
    Pushes = "config_pushes", "Configurations whose rollout to a deployment began.";
    RolloutsCompleted = "rollouts_completed" in "rollouts_ended", "outcome" = "completed",
        "Rollouts that ended, by how.";
    RolloutsRolledBack = "rollouts_rolled_back" in "rollouts_ended", "outcome" = "rolled-back", "Gone back.";
    RolloutsFailed = "rollouts_failed" in "rollouts_ended", "outcome" = "failed", "With nothing to go back to.";
    RolloutsSuperseded = "rollouts_superseded" in "rollouts_ended", "outcome" = "superseded", "By a newer one.";
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

/// One count, as it is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub family: &'static str,
    /// What tells it from the others of its family.
    pub label: Option<(&'static str, &'static str)>,
    /// Of a family, that of the first one.
    pub help: &'static str,
    pub value: u64,
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
    /// By name, `decisions_held`; `None` for a name that is not counted.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        Count::ALL.iter().position(|entry| entry.name == name).map(|at| self.counts[at])
    }

    /// All counts, those of one family next to each other.
    pub fn counts(&self) -> impl Iterator<Item = Counted> + '_ {
        Count::ALL.iter().zip(&self.counts).map(|(entry, value)| Counted {
            family: entry.family,
            label: entry.label,
            help: entry.help,
            value: *value,
        })
    }

    #[must_use]
    pub const fn timing(&self, timing: Timing) -> &LatencyHistogram {
        &self.timings[timing as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_by_name_and_in_its_family() {
        let stats = Stats::default();
        stats.add(Count::Held, 3);
        stats.time(Timing::SampleToDecision, Duration::from_millis(20));
        let reading = stats.read(2, 1);
        assert_eq!((reading.count("decisions_held"), reading.count("nothing")), (Some(3), None));
        let held = reading.counts().find(|one| one.label == Some(("verdict", "held"))).unwrap();
        assert_eq!((held.family, held.value), ("decisions", 3));
        assert_eq!(reading.timing(Timing::SampleToDecision).count(), 1);
    }

    #[test]
    fn counts_of_a_family_stand_next_to_each_other_and_differ_in_their_label() {
        let all: Vec<Counted> = Stats::default().read(0, 0).counts().collect();
        let families: Vec<&str> = all.chunk_by(|a, b| a.family == b.family).map(|chunk| chunk[0].family).collect();
        for (at, family) in families.iter().enumerate() {
            assert!(!families[at + 1..].contains(family), "{family} is in two places");
        }
        for (at, one) in all.iter().enumerate() {
            assert!(
                all[at + 1..].iter().all(|other| (one.family, one.label) != (other.family, other.label)),
                "{one:?}"
            );
        }
    }
}
