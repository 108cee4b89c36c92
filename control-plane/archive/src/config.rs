//! What an archive keeps, and how much of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_history::Tiers;
use outrigger_protocol::time::UnixMillis;

/// Where the archive learns what time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixMillis + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    #[must_use]
    pub fn now(&self) -> UnixMillis {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How an [`Archive`](crate::Archive) works.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// Resolutions, and how long each is kept. Every step has to divide an hour.
    pub tiers: Tiers,
    /// How long a sample may be in memory alone. Four seconds, so that with the write itself it is less than five.
    pub flush_every: Duration,
    /// After how long a deployment's samples leave memory for the store. Two minutes: an idle instance then takes some
    /// three KiB.
    pub cut_after: Duration,
    /// Bytes of all deployments' samples in memory above which the largest deployments are cut earlier: 48 MiB.
    pub memory_bytes: usize,
    /// Bytes above which samples are dropped, as when the store takes no writes: 256 MiB.
    pub most_memory_bytes: usize,
    /// How long after its end an hour is sealed. Five minutes, for agents that were away; what comes later seals it again.
    pub grace: Duration,
    /// How old a sample may be when it comes: seven days, which is what ingest believes. What is older than the finest
    /// tier fills gaps of the coarser ones.
    pub latest: Duration,
    /// Deployments; the samples of further ones are dropped. 20,000.
    pub deployments: usize,
    /// Metrics of an instance that are kept in a piece or an hour: 256. An agent sends at most 192 in one sample.
    pub metrics: usize,
    /// Metrics of which a deployment as a whole has roll-ups: 1,024.
    pub metrics_of_whole: usize,
    /// Queries that read at a time; more wait.
    pub queries: usize,
    pub clock: Clock,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            tiers: Tiers::default(),
            flush_every: Duration::from_secs(4),
            cut_after: Duration::from_secs(120),
            memory_bytes: 48 * MIB,
            most_memory_bytes: 256 * MIB,
            grace: Duration::from_secs(300),
            latest: Duration::from_secs(7 * 24 * 3_600),
            deployments: 20_000,
            metrics: 256,
            metrics_of_whole: 1_024,
            queries: 2,
            clock: Clock::new(UnixMillis::now),
        }
    }
}

/// How much longer than the finest tier promises its hours are kept, so that none goes while it is sealed.
pub(crate) const MARGIN: Duration = Duration::from_millis(HOUR / 2);

/// How much of the finest tier is sealed at once, and what every step divides.
pub(crate) const HOUR: u64 = 3_600_000;

/// What is in one row at most, by the step of its tier: an hour of seconds, six of tens of seconds, a day of minutes.
pub(crate) fn period(step: u64) -> u64 {
    [24 * HOUR, 6 * HOUR].into_iter().find(|period| step.saturating_mul(2_160) >= *period).unwrap_or(HOUR)
}

/// Where the hour begins that a time lies in.
pub(crate) const fn hour_of(at: u64) -> u64 {
    at - at % HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_an_hour_of_seconds_and_a_day_of_minutes() {
        assert_eq!([1_000, 10_000, 60_000, 300_000].map(|step| period(step) / HOUR), [1, 6, 24, 24]);
    }
}
