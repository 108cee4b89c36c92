//! What speaks against a generation.

use std::fmt;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;

use crate::traffic::Rate;

/// What was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Instances that still run the old generation, in the same time.
    OldCohort,
    /// What was recorded before the rollout.
    Baseline,
    /// The old cohort in the last step that had one.
    EarlierCohort,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OldCohort => "the old cohort",
            Self::Baseline => "before the rollout",
            Self::EarlierCohort => "the old cohort of an earlier step",
        })
    }
}

/// A sign that something is wrong, with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// The agent could not use it, or could not start the program with it.
    Refused {
        error: String,
    },
    /// It ran, and the agent went back by itself.
    RolledBackLocally {
        error: String,
    },
    /// No final answer to an offer.
    Silent {
        after: Duration,
    },
    /// The connection was lost and did not come back.
    Lost {
        after: Duration,
    },
    ProbeFailing {
        probe: String,
        consecutive: u32,
        limit: u32,
        error: String,
    },
    Restarting {
        restarts: u32,
        limit: u32,
    },
    /// The program ended by itself, and not because it was asked to.
    Exited {
        code: i32,
    },
    ErrorRate {
        new: Rate,
        old: Rate,
        reference: Reference,
        /// The difference is at least this much: the lower bound, a share of requests.
        at_least: f64,
        floor: f64,
    },
    Latency {
        quantile: f64,
        new: Duration,
        /// The lower bound of `new`.
        new_at_least: Duration,
        old: Duration,
        /// The upper bound of `old`.
        old_at_most: Duration,
        reference: Reference,
        /// Requests behind `new` and `old`.
        requests: (u64, u64),
    },
    /// A step got no further.
    Stalled {
        after: Duration,
        unhealthy: u32,
        allowed: u32,
    },
    /// At the end of the bake time and of all patience, somebody with the new generation was not well.
    Unwell,
    /// Too few requests to compare, and the time for more is over.
    TooFewRequests {
        new: u64,
        old: u64,
        needed: u64,
    },
    /// Nobody who runs the new generation is left.
    NobodyLeft,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { error } => write!(f, "the configuration was refused: {error}"),
            Self::RolledBackLocally { error } => write!(f, "the agent rolled back by itself: {error}"),
            Self::Silent { after } => write!(f, "no answer to the offer after {after:?}"),
            Self::Lost { after } => write!(f, "lost with the new configuration, and not back after {after:?}"),
            Self::ProbeFailing { probe, consecutive, limit, error } => {
                write!(f, "probe `{probe}` failed {consecutive} times in a row ({limit} allowed at most): {error}")
            }
            Self::Restarting { restarts, limit } => {
                write!(f, "the program was restarted {restarts} times after crashes (limit {limit})")
            }
            Self::Exited { code } => write!(f, "the program ended with exit code {code}"),
            Self::ErrorRate { new, old, reference, at_least, floor } => write!(
                f,
                "error rate {new} against {old} of {reference}: worse by at least {:.2} points (floor {:.2})",
                at_least * 100.0,
                floor * 100.0,
            ),
            Self::Latency { quantile, new, new_at_least, old, old_at_most, reference, requests } => write!(
                f,
                "p{} of {new:?} against {old:?} of {reference}: at least {new_at_least:?} against at most \
                 {old_at_most:?}, over {} and {} requests",
                quantile * 100.0,
                requests.0,
                requests.1,
            ),
            Self::Stalled { after, unhealthy, allowed } => {
                write!(f, "no progress for {after:?}: {unhealthy} instances without service, {allowed} allowed")
            }
            Self::Unwell => f.write_str("not well at the end of the bake time"),
            Self::TooFewRequests { new, old, needed } => {
                write!(f, "too few requests to compare: {new} new and {old} old, {needed} needed")
            }
            Self::NobodyLeft => f.write_str("no instance with the new configuration is left to judge by"),
        }
    }
}

/// A signal and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The one that gave it; of a comparison, the one that contributed most; `None` when it is nobody's in particular.
    pub instance: Option<InstanceId>,
    pub signal: Signal,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.instance, &self.signal) {
            (Some(worst), Signal::ErrorRate { .. } | Signal::Latency { .. }) => {
                write!(f, "{}; worst was {worst}", self.signal)
            }
            (Some(instance), signal) => write!(f, "{instance}: {signal}"),
            (None, signal) => signal.fmt(f),
        }
    }
}
