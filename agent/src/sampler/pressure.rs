//! Pressure stall information: the share of time in which tasks waited for a resource.
//!
//! Read from the sandbox's cgroup when it has one of version 2, otherwise from `/proc/pressure` (the whole kernel).
//! Computed from the growth of `total=` in microseconds, not from the kernel's averages, which lag by ten seconds
//! and more (Documentation/accounting/psi.rst).

use std::path::Path;
use std::time::Instant;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use super::counter::Counter;
use super::kept_file::{KeptFile, Scratch};
use super::text;

pub(super) struct Pressure {
    resources: [Resource; 3],
}

struct Resource {
    file: KeptFile,
    some: (Metric, Counter),
    full: (Metric, Counter),
}

impl Resource {
    fn open(file: std::path::PathBuf, some: Metric, full: Metric) -> Self {
        Self { file: KeptFile::open(file), some: (some, Counter::default()), full: (full, Counter::default()) }
    }
}

impl Pressure {
    /// The files `cpu.pressure`, `memory.pressure` and `io.pressure` of a cgroup.
    pub(super) fn of_cgroup(dir: &Path) -> Self {
        Self::open(|resource| dir.join(format!("{resource}.pressure")))
    }

    /// The files of `/proc/pressure`.
    pub(super) fn of_kernel(proc: &Path) -> Self {
        Self::open(|resource| proc.join("pressure").join(resource))
    }

    fn open(path: impl Fn(&str) -> std::path::PathBuf) -> Self {
        Self {
            resources: [
                Resource::open(path("cpu"), Metric::PressureCpuSome, Metric::PressureCpuFull),
                Resource::open(path("memory"), Metric::PressureMemorySome, Metric::PressureMemoryFull),
                Resource::open(path("io"), Metric::PressureIoSome, Metric::PressureIoFull),
            ],
        }
    }

    pub(super) fn reopen(&mut self) {
        for resource in &mut self.resources {
            resource.file.reopen();
        }
    }

    pub(super) fn record(&mut self, at: Instant, scratch: &mut Scratch, sample: &mut Sample) {
        for Resource { file, some, full } in &mut self.resources {
            let Some(content) = file.read(scratch) else { continue };
            for ((metric, counter), line) in [(some, &b"some"[..]), (full, b"full")] {
                if let Some((stalled_us, elapsed)) = counter.advance(total(content, line), at) {
                    let share = stalled_us as f64 / (elapsed.as_secs_f64() * 1e6);
                    // The kernel's accounting and this clock are not read at the same instant.
                    sample.set(*metric, (share * 100.0).min(100.0));
                }
            }
        }
    }
}

/// `total=` of the line that begins with `kind`.
fn total(content: &[u8], kind: &[u8]) -> Option<u64> {
    let line = text::lines(content).find(|line| text::words(line).next() == Some(kind))?;
    text::words(line).find_map(|word| text::number(word.strip_prefix(b"total=")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;
    use std::time::Duration;

    fn stall(dir: &Path, resource: &str, some: u64, full: u64) {
        let zero = "avg10=0.00 avg60=0.00 avg300=0.00";
        std::fs::write(
            dir.join(format!("{resource}.pressure")),
            format!("some {zero} total={some}\nfull {zero} total={full}\n"),
        )
        .unwrap();
    }

    #[test]
    fn pressure_is_the_share_of_time_that_was_added() {
        let dir = tempfile::tempdir().unwrap();
        stall(dir.path(), "memory", 1_000_000, 0);
        let (mut pressure, mut scratch) = (Pressure::of_cgroup(dir.path()), Scratch::new());
        let start = Instant::now();
        let mut first = Sample::new(UnixMillis::EPOCH);
        pressure.record(start, &mut scratch, &mut first);
        assert_eq!(first.values, [], "one reading is no share yet");

        stall(dir.path(), "memory", 1_250_000, 3_000_000);
        let mut second = Sample::new(UnixMillis::EPOCH);
        pressure.record(start + Duration::from_secs(1), &mut scratch, &mut second);
        assert_eq!(second.value(Metric::PressureMemorySome), Some(25.0));
        assert_eq!(second.value(Metric::PressureMemoryFull), Some(100.0), "never above all of the time");
        assert_eq!(second.value(Metric::PressureCpuSome), None, "no file, no value");
    }

    #[test]
    fn a_line_without_a_total_is_absent() {
        assert_eq!(total(b"some avg10=0.00\n", b"some"), None);
        assert_eq!(total(b"some total=abc\n", b"some"), None);
        assert_eq!(total(b"somewhat total=3\n", b"some"), None);
        assert_eq!(total(b"full total=1\nsome avg10=1 total=3\n", b"some"), Some(3));
    }
}
