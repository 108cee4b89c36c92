//! How soon a lost instance is replaced. Pure: time and dice are arguments.
//!
//! The first one at once. When the replacement dies young as well, the next one has to wait, twice as long each time:
//! a program that cannot start must not take the machine with it. One instance that lived long enough ends the loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::equal_jitter;
use crate::config::ReconcilerConfig;

#[derive(Debug, Default)]
pub(super) struct CrashLoop {
    /// Young deaths since the last old one.
    deaths: u32,
    blocked_until: Option<Instant>,
}

impl CrashLoop {
    /// An instance is gone after it `lived` for so long.
    pub(super) fn lost(&mut self, lived: Duration, now: Instant, config: &ReconcilerConfig, dice: u64) {
        if lived >= config.steady_after {
            *self = Self::default();
            return;
        }
        self.deaths = self.deaths.saturating_add(1);
        if let Some(doublings) = self.deaths.checked_sub(2) {
            self.blocked_until = Some(now + equal_jitter(doublings, config.backoff, config.max_backoff, dice));
        }
    }

    /// How long until a replacement may be made; absent when it may be made now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.blocked_until.map(|until| until.duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_death_is_replaced_at_once_and_every_further_one_later() {
        let (config, mut crash, mut now) = (ReconcilerConfig::default(), CrashLoop::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            crash.lost(Duration::from_secs(2), now, &config, u64::MAX);
            let wait = crash.wait(now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(crash.wait(now), None, "when the time has come");
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_long_life_ends_the_loop() {
        let (config, mut crash, now) = (ReconcilerConfig::default(), CrashLoop::default(), Instant::now());
        for _ in 0..5 {
            crash.lost(Duration::from_secs(1), now, &config, 0);
        }
        assert!(crash.wait(now).is_some());
        crash.lost(Duration::from_secs(600), now, &config, 0);
        assert_eq!(crash.wait(now), None);
    }
}
