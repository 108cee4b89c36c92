//! Requests as they were counted.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

/// More than this a second from one instance is not believed.
const MOST_PER_SECOND: u64 = 1_000_000;

/// Requests, how many of them failed, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    /// Answers of class 5xx and upstream failures; at most `requests`.
    pub errors: u64,
    pub latency: LatencyHistogram,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors).min(self.requests);
        self.latency.merge(&other.latency);
    }

    #[must_use]
    pub fn rate(&self) -> Rate {
        Rate { errors: self.errors.min(self.requests), requests: self.requests }
    }
}

/// What one instance served between two moments of the control plane's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub since: UnixMillis,
    pub until: UnixMillis,
    pub traffic: Traffic,
}

impl Span {
    /// Whether a program could have served that in that time.
    pub(crate) fn is_plausible(&self) -> bool {
        let millis = self.until.as_millis().saturating_sub(self.since.as_millis());
        let most = millis.saturating_mul(MOST_PER_SECOND) / 1_000;
        millis > 0
            && self.traffic.requests <= most
            && self.traffic.errors <= self.traffic.requests
            && self.traffic.latency.count() <= most
    }
}

/// Failures among requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub errors: u64,
    pub requests: u64,
}

impl Rate {
    /// 0 of no requests.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} % ({} of {})", self.share() * 100.0, self.errors, self.requests)
    }
}

/// What one instance did in the present step, to name the one that did worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    pub requests: u64,
    pub errors: u64,
    /// The compared quantile of its newest span.
    pub latency: Option<Duration>,
    /// Up to when its requests were counted: nothing is counted twice.
    pub until: UnixMillis,
}

/// What both cohorts served in the present step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    pub new: Traffic,
    pub old: Traffic,
    /// The old cohort's of the last step in which there was one: for when nobody is left to compare with and nothing
    /// was recorded before the rollout.
    pub earlier: Traffic,
}
