//! The machine: its processors, its memory, its load.
//!
//! Inside a container these are the host's figures; they give the scale where no limit applies. Only the two
//! refreshes that are needed are made: everything that sysinfo can refresh costs a hundred times as much.

use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::kept_file::{KeptFile, Scratch};
use super::text;

/// sysinfo leaves processors as they are when they are asked for sooner than 200 ms after the last time. At shorter
/// intervals than this, not every sample has the share of busy time.
const BUSY_TIME_INTERVAL: Duration = Duration::from_millis(210);

pub(super) struct Host {
    system: Option<System>,
    load: KeptFile,
    /// The share of busy time needs two refreshes.
    refreshed: Option<Instant>,
}

impl Host {
    pub(super) fn open(proc: &Path) -> Self {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kinds)
            .inspect_err(|error| tracing::warn!(%error, "the host's processors and memory cannot be read"))
            .ok();
        Self { system, load: KeptFile::open(proc.join("loadavg")), refreshed: None }
    }

    /// Processors that are online.
    pub(super) fn cores(&self) -> Option<f64> {
        self.system.as_ref().map(|system| system.cpus().len() as f64).filter(|cores| *cores > 0.0)
    }

    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.system.as_ref().map(System::total_memory).filter(|bytes| *bytes > 0)
    }

    pub(super) fn record(&mut self, at: Instant, scratch: &mut Scratch, sample: &mut Sample) {
        if let Some(system) = &mut self.system {
            let elapsed = self.refreshed.map(|last| at.saturating_duration_since(last));
            if elapsed.is_none_or(|elapsed| elapsed >= BUSY_TIME_INTERVAL) {
                system.refresh_cpu_usage();
                self.refreshed = Some(at);
                if elapsed.is_some() {
                    sample.set(Metric::HostCpu, f64::from(system.global_cpu_usage()));
                }
            }
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let (total, available) = (system.total_memory(), system.available_memory());
            if total > 0 {
                sample.set(Metric::HostMemory, total.saturating_sub(available) as f64 / total as f64 * 100.0);
            }
        }
        let load = self.load.read(scratch).and_then(|content| text::words(content).next().and_then(text::fraction));
        if let Some(load) = load {
            sample.set(Metric::HostLoad1, load);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;

    #[test]
    fn the_share_of_busy_time_appears_with_the_second_refresh() {
        let (mut host, mut scratch) = (Host::open(Path::new("/proc")), Scratch::new());
        let start = Instant::now();
        let mut at = |millis| {
            let mut sample = Sample::new(UnixMillis::EPOCH);
            host.record(start + Duration::from_millis(millis), &mut scratch, &mut sample);
            sample
        };
        let first = at(0);
        assert_eq!(first.value(Metric::HostCpu), None);
        assert!(first.value(Metric::HostMemory).is_some_and(|share| (0.0..=100.0).contains(&share)));
        assert!(first.value(Metric::HostLoad1).is_some_and(|load| load >= 0.0));
        assert_eq!(at(100).value(Metric::HostCpu), None, "nothing new is known so soon");
        assert!(at(1_000).value(Metric::HostCpu).is_some_and(|share| (0.0..=100.0).contains(&share)));
    }
}
