//! The time by which the control plane is told when something was.
//!
//! The sandbox's clock is read once, when the agent starts, and from then on what has passed since is added to it. So
//! nothing that the agent tells jumps when that clock is set, by NTP, by an operator or by a hypervisor: the distances
//! between samples and lines are what they were, also of those that were taken before. Whether the sandbox's clock was
//! right to begin with does not matter: the control plane hears what this one says with every hello and heartbeat, and
//! corrects everything by the difference to its own.
//!
//! What has passed is read from a clock that nobody sets and that goes on while the machine sleeps (`CLOCK_BOOTTIME`,
//! clock_gettime(2)). When that jumps all the same, because a sandbox was frozen and thawed elsewhere, the next heartbeat
//! tells.
//!
//! Certificates are another matter: they are valid by the clock on the wall.

use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use rustix::time::{ClockId, clock_gettime};

/// A clock that is never set. Copies show the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteadyClock {
    /// What the clock on the wall said…
    wall: UnixMillis,
    /// … this long after the machine had started.
    uptime: Duration,
}

impl SteadyClock {
    /// Set to what the sandbox's clock says now.
    #[must_use]
    pub fn start() -> Self {
        Self::set(UnixMillis::now(), uptime())
    }

    /// That `wall` was `uptime` after the machine had started.
    #[must_use]
    pub const fn set(wall: UnixMillis, uptime: Duration) -> Self {
        Self { wall, uptime }
    }

    #[must_use]
    pub fn now(self) -> UnixMillis {
        self.at(uptime())
    }

    /// What it shows `uptime` after the machine has started; never less than when it was set.
    #[must_use]
    pub fn at(self, uptime: Duration) -> UnixMillis {
        self.wall.saturating_add(uptime.saturating_sub(self.uptime))
    }
}

fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is negative or beyond its range on a kernel that works; zero makes a clock that stands, and no panic.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_what_counts_and_not_what_the_wall_says() {
        let clock = SteadyClock::set(UnixMillis::from_millis(1_000_000), Duration::from_secs(50));
        assert_eq!(clock.at(Duration::from_millis(50_250)), UnixMillis::from_millis(1_000_250));
        assert_eq!(clock.at(Duration::from_secs(49)), UnixMillis::from_millis(1_000_000), "never back");
        let late = SteadyClock::set(UnixMillis::from_millis(u64::MAX), Duration::ZERO);
        assert_eq!(late.at(Duration::MAX), UnixMillis::from_millis(u64::MAX), "and never over");
    }

    #[test]
    fn it_starts_with_what_the_wall_says_and_goes_on() {
        let before = UnixMillis::now();
        let clock = SteadyClock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(first >= before && second >= first);
        assert!(first.since(before) < Duration::from_secs(60), "{first} after {before}");
    }
}
