//! What the kernel accounts to the sandbox's control groups, version 2, version 1 and the hybrid of both.
//!
//! `locate` finds the directories, `ownership` says whether a group is the sandbox's alone, `limits` walks from
//! it up to the mount and takes the smallest limit. This module keeps the accounting files open and reads them.
//!
//! What must never be true: usage of a group that others share reported as the program's, or a file that is missing
//! reported as zero.

pub(super) mod limits;
pub(super) mod locate;
pub(super) mod ownership;

use std::path::Path;

use self::locate::{Group, Version};
use super::kept_file::{KeptFile, Scratch};
use super::text;

/// Processor time and throttling of one group.
pub(super) struct CpuAccount {
    version: Version,
    /// `cpu.stat` of version 2, `cpuacct.usage` of version 1.
    usage: KeptFile,
    /// `cpu.stat` of version 1, in another hierarchy.
    throttling: Option<KeptFile>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuReading {
    pub usage_ns: Option<u64>,
    /// Enforcement periods that passed while the group was runnable, and those in which it was throttled.
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
}

impl CpuAccount {
    /// `usage` and `bandwidth` are the groups of the controllers `cpuacct` and `cpu`; in version 2 both are the same.
    pub(super) fn open(usage: &Group, bandwidth: Option<&Group>) -> Self {
        match usage.version {
            Version::V2 => {
                Self { version: Version::V2, usage: KeptFile::open(usage.dir.join("cpu.stat")), throttling: None }
            }
            Version::V1 => Self {
                version: Version::V1,
                usage: KeptFile::open(usage.dir.join("cpuacct.usage")),
                throttling: bandwidth.map(|group| KeptFile::open(group.dir.join("cpu.stat"))),
            },
        }
    }

    pub(super) fn read(&mut self, scratch: &mut Scratch) -> CpuReading {
        let mut reading = CpuReading::default();
        let Some(content) = self.usage.read(scratch) else { return reading };
        match self.version {
            Version::V2 => {
                reading.usage_ns = text::keyed(content, "usage_usec").and_then(|us| us.checked_mul(1_000));
                reading.take_periods(content);
            }
            Version::V1 => {
                reading.usage_ns = text::number(content);
                if let Some(content) = self.throttling.as_mut().and_then(|file| file.read(scratch)) {
                    reading.take_periods(content);
                }
            }
        }
        reading
    }

    pub(super) fn reopen(&mut self) {
        self.usage.reopen();
        if let Some(file) = &mut self.throttling {
            file.reopen();
        }
    }
}

impl CpuReading {
    fn take_periods(&mut self, content: &[u8]) {
        self.periods = text::keyed(content, "nr_periods");
        self.throttled_periods = text::keyed(content, "nr_throttled");
    }
}

/// Memory of one group and everything below it.
pub(super) struct MemoryAccount {
    version: Version,
    usage: KeptFile,
    stat: KeptFile,
    events: KeptFile,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryReading {
    /// Usage less inactive file pages: what cannot be reclaimed without pain, as the kubelet computes it.
    pub working_set: Option<u64>,
    /// Anonymous memory.
    pub rss: Option<u64>,
    pub oom_kills: Option<u64>,
}

impl MemoryAccount {
    pub(super) fn open(group: &Group) -> Self {
        let file = |name: &str| KeptFile::open(group.dir.join(name));
        let (usage, events) = match group.version {
            Version::V2 => ("memory.current", "memory.events"),
            Version::V1 => ("memory.usage_in_bytes", "memory.oom_control"),
        };
        Self { version: group.version, usage: file(usage), stat: file("memory.stat"), events: file(events) }
    }

    pub(super) fn read(&mut self, scratch: &mut Scratch) -> MemoryReading {
        let mut reading = MemoryReading::default();
        let usage = self.usage.read(scratch).and_then(text::number);
        if let Some(stat) = self.stat.read(scratch) {
            // The plain keys of version 1 leave out the groups below.
            let (inactive_file, rss) = match self.version {
                Version::V2 => ("inactive_file", "anon"),
                Version::V1 => ("total_inactive_file", "total_rss"),
            };
            let inactive = text::keyed(stat, inactive_file);
            reading.working_set = usage.zip(inactive).map(|(usage, inactive)| usage.saturating_sub(inactive));
            reading.rss = text::keyed(stat, rss);
        }
        reading.oom_kills = self.events.read(scratch).and_then(|events| text::keyed(events, "oom_kill"));
        reading
    }

    pub(super) fn reopen(&mut self) {
        self.usage.reopen();
        self.stat.reopen();
        self.events.reopen();
    }
}

/// Bytes that one group read from and wrote to block devices.
pub(super) struct DiskAccount {
    version: Version,
    file: KeptFile,
}

impl DiskAccount {
    pub(super) fn open(group: &Group) -> Self {
        let name = match group.version {
            Version::V2 => "io.stat",
            Version::V1 => "blkio.throttle.io_service_bytes_recursive",
        };
        Self { version: group.version, file: KeptFile::open(group.dir.join(name)) }
    }

    /// Bytes read and written so far.
    pub(super) fn read(&mut self, scratch: &mut Scratch) -> Option<(u64, u64)> {
        let content = self.file.read(scratch)?;
        match self.version {
            Version::V2 => Some(io_stat(content)),
            Version::V1 => Some(io_service_bytes(content)),
        }
    }

    pub(super) fn reopen(&mut self) {
        self.file.reopen();
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`, one line a device; an empty file is a group that did no I/O.
fn io_stat(content: &[u8]) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for word in text::words(content) {
        if let Some(bytes) = word.strip_prefix(b"rbytes=").and_then(text::number) {
            read = read.saturating_add(bytes);
        } else if let Some(bytes) = word.strip_prefix(b"wbytes=").and_then(text::number) {
            written = written.saturating_add(bytes);
        }
    }
    (read, written)
}

/// `8:0 Read 1`, `8:0 Write 2` … and a `Total` at the end.
fn io_service_bytes(content: &[u8]) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text::lines(content) {
        let mut words = text::words(line).skip(1);
        let (Some(operation), Some(bytes)) = (words.next(), words.next().and_then(text::number)) else { continue };
        match operation {
            b"Read" => read = read.saturating_add(bytes),
            b"Write" => written = written.saturating_add(bytes),
            _ => {}
        }
    }
    (read, written)
}

/// One number of a file that is read now and then.
fn number_in(dir: &Path, name: &str, scratch: &mut Scratch) -> Option<u64> {
    scratch.read(&dir.join(name)).and_then(text::number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn group(version: Version, dir: &Path) -> Group {
        Group { version, dir: dir.to_owned(), mount: dir.to_owned() }
    }

    fn files(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in entries {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn version_2_files_are_read() {
        let dir = files(&[
            ("cpu.stat", "usage_usec 5000000\nuser_usec 1\nnr_periods 100\nnr_throttled 25\nthrottled_usec 9\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 300\nfile 500\ninactive_anon 7\ninactive_file 400\n"),
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=1 wbytes=2\n"),
        ]);
        let (group, mut scratch) = (group(Version::V2, dir.path()), Scratch::new());
        assert_eq!(
            CpuAccount::open(&group, None).read(&mut scratch),
            CpuReading { usage_ns: Some(5_000_000_000), periods: Some(100), throttled_periods: Some(25) }
        );
        assert_eq!(
            MemoryAccount::open(&group).read(&mut scratch),
            MemoryReading { working_set: Some(600), rss: Some(300), oom_kills: Some(1) }
        );
        assert_eq!(DiskAccount::open(&group).read(&mut scratch), Some((11, 22)));
    }

    #[test]
    fn version_1_files_are_read() {
        let usage = files(&[("cpuacct.usage", "7000\n")]);
        let bandwidth = files(&[("cpu.stat", "nr_periods 10\nnr_throttled 5\nthrottled_time 77\n")]);
        let memory = files(&[
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.stat", "rss 1\ninactive_file 2\ntotal_rss 300\ntotal_inactive_file 400\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ]);
        let blkio = files(&[(
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 10\n8:0 Write 20\n8:0 Sync 5\n8:0 Total 30\nTotal 30\n",
        )]);
        let mut scratch = Scratch::new();
        let bandwidth = group(Version::V1, bandwidth.path());
        assert_eq!(
            CpuAccount::open(&group(Version::V1, usage.path()), Some(&bandwidth)).read(&mut scratch),
            CpuReading { usage_ns: Some(7_000), periods: Some(10), throttled_periods: Some(5) }
        );
        assert_eq!(
            MemoryAccount::open(&group(Version::V1, memory.path())).read(&mut scratch),
            MemoryReading { working_set: Some(600), rss: Some(300), oom_kills: Some(3) }
        );
        assert_eq!(DiskAccount::open(&group(Version::V1, blkio.path())).read(&mut scratch), Some((10, 20)));
    }

    #[test]
    fn missing_files_are_absent_values() {
        let group = group(Version::V2, &PathBuf::from("/nonexistent"));
        let mut scratch = Scratch::new();
        assert_eq!(CpuAccount::open(&group, None).read(&mut scratch), CpuReading::default());
        assert_eq!(MemoryAccount::open(&group).read(&mut scratch), MemoryReading::default());
        assert_eq!(DiskAccount::open(&group).read(&mut scratch), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = (io_stat(&bytes), io_service_bytes(&bytes));
        }
    }
}
