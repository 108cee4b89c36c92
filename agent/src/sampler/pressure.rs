//! Pressure stall information: the share of time in which tasks waited for a resource.
//!
//! Read from the sandbox's cgroup when it has one of version 2, otherwise from `/proc/pressure` (the whole kernel).
//! Computed from the growth of `total=` in microseconds, not from the kernel's averages, which lag by ten seconds
//! and more (Documentation/accounting/psi.rst).

use std::path::{Path, PathBuf};
use std::time::Instant;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use super::counter::Counter;
use super::kept_file::{KeptFile, Scratch};
use super::text;

pub(super) struct Pressure {
    /// `None` is the kernel's.
    group: Option<PathBuf>,
    resources: [Resource; 3],
}

struct Resource {
    file: KeptFile,
    some: (Metric, Counter),
    full: Option<(Metric, Counter)>,
}

impl Resource {
    fn open(file: PathBuf, some: Metric, full: Option<Metric>) -> Self {
        let counted = |metric| (metric, Counter::default());
        Self { file: KeptFile::open(file), some: counted(some), full: full.map(counted) }
    }
}

impl Pressure {
    /// Of the cgroup, when the kernel accounts its pressure, else of everything that the kernel runs.
    pub(super) fn of(group: Option<&Path>, proc: &Path) -> Self {
        Self::accounted(group).map_or_else(|| Self::of_kernel(proc), Self::of_cgroup)
    }

    /// Whether [`of`](Self::of) would give the same files now. Pressure can be switched off for a group.
    pub(super) fn is_of(&self, group: Option<&Path>) -> bool {
        self.group.as_deref() == Self::accounted(group)
    }

    fn accounted(group: Option<&Path>) -> Option<&Path> {
        group.filter(|dir| dir.join("cpu.pressure").exists())
    }

    /// The files `cpu.pressure`, `memory.pressure` and `io.pressure` of a cgroup.
    fn of_cgroup(dir: &Path) -> Self {
        Self::open(Some(dir), |resource| dir.join(format!("{resource}.pressure")), Some(Metric::PressureCpuFull))
    }

    /// The files of `/proc/pressure`. Of all tasks of a kernel, the idle ones too, none waits for a processor: `full` of
    /// the processor is undefined there and written as zero.
    fn of_kernel(proc: &Path) -> Self {
        Self::open(None, |resource| proc.join("pressure").join(resource), None)
    }

    fn open(group: Option<&Path>, path: impl Fn(&str) -> PathBuf, cpu_full: Option<Metric>) -> Self {
        Self {
            group: group.map(Path::to_owned),
            resources: [
                Resource::open(path("cpu"), Metric::PressureCpuSome, cpu_full),
                Resource::open(path("memory"), Metric::PressureMemorySome, Some(Metric::PressureMemoryFull)),
                Resource::open(path("io"), Metric::PressureIoSome, Some(Metric::PressureIoFull)),
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
            record_share(some, total(content, b"some"), at, sample);
            if let Some(full) = full {
                record_share(full, total(content, b"full"), at, sample);
            }
        }
    }
}

fn record_share((metric, counter): &mut (Metric, Counter), total: Option<u64>, at: Instant, sample: &mut Sample) {
    if let Some((stalled_us, elapsed)) = counter.advance(total, at) {
        let share = stalled_us as f64 / (elapsed.as_secs_f64() * 1e6);
        // The kernel's accounting and this clock are not read at the same instant.
        sample.set(*metric, (share * 100.0).min(100.0));
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
    fn the_kernel_has_no_moment_in_which_everything_waits_for_a_processor() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pressure")).unwrap();
        let total = |total| format!("some avg10=0.00 total={total}\nfull avg10=0.00 total=0\n");
        std::fs::write(dir.path().join("pressure/cpu"), total(0)).unwrap();
        let (mut pressure, mut scratch, start) = (Pressure::of_kernel(dir.path()), Scratch::new(), Instant::now());
        pressure.record(start, &mut scratch, &mut Sample::new(UnixMillis::EPOCH));
        std::fs::write(dir.path().join("pressure/cpu"), total(100_000)).unwrap();
        let mut sample = Sample::new(UnixMillis::EPOCH);
        pressure.record(start + Duration::from_secs(1), &mut scratch, &mut sample);
        assert_eq!(sample.values, [(Metric::PressureCpuSome, 10.0)]);
    }

    #[test]
    fn a_line_without_a_total_is_absent() {
        assert_eq!(total(b"some avg10=0.00\n", b"some"), None);
        assert_eq!(total(b"some total=abc\n", b"some"), None);
        assert_eq!(total(b"somewhat total=3\n", b"some"), None);
        assert_eq!(total(b"full total=1\nsome avg10=1 total=3\n", b"some"), Some(3));
    }
}
