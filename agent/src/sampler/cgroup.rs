//! What the kernel accounts to the sandbox's control groups, version 2, version 1 and the hybrid of both.
//!
//! `locate` finds the directories, `ownership` says whether a group is the sandbox's alone, `limits` walks from
//! it up to the mount and takes the smallest limit, `disk` reads what went to block devices. This module keeps the other
//! accounting files open and reads them.
//!
//! What must never be true: usage of a group that others share reported as the program's, or a file that is missing
//! reported as zero.

pub(super) mod disk;
pub(super) mod limits;
pub(super) mod locate;
pub(super) mod ownership;

use std::path::Path;

use self::locate::{Group, Version};
use super::kept_file::{KeptFile, Scratch};
use super::text;

/// Processor time of one group, and throttling of the one whose quota applies.
pub(super) struct CpuAccount {
    /// `cpu.stat` of version 2, `cpuacct.usage` of version 1.
    usage: Option<(Version, KeptFile)>,
    /// `cpu.stat` of the quota's group, unless it is the file above.
    throttling: Option<KeptFile>,
    is_one_file: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuReading {
    pub usage_ns: Option<u64>,
    /// Enforcement periods that passed while the group was runnable, and those in which it was throttled.
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
}

impl CpuAccount {
    /// `usage` is the group whose processor time is wanted, `quota` the directory of the group whose quota applies.
    pub(super) fn open(usage: Option<&Group>, quota: Option<&Path>) -> Self {
        let is_one_file = usage.is_some_and(|group| group.version == Version::V2 && quota == Some(&*group.dir));
        Self {
            usage: usage.map(|group| (group.version, Self::usage_of(group))),
            throttling: quota.filter(|_| !is_one_file).map(|dir| KeptFile::open(dir.join("cpu.stat"))),
            is_one_file,
        }
    }

    /// Whether the kernel accounts this group's processor time.
    pub(super) fn accounts(group: &Group) -> bool {
        Self::usage_of(group).is_open()
    }

    fn usage_of(group: &Group) -> KeptFile {
        KeptFile::open(group.dir.join(match group.version {
            Version::V2 => "cpu.stat",
            Version::V1 => "cpuacct.usage",
        }))
    }

    pub(super) fn read(&mut self, scratch: &mut Scratch) -> CpuReading {
        let mut reading = CpuReading::default();
        if let Some((version, file)) = &mut self.usage
            && let Some(content) = file.read(scratch)
        {
            reading.usage_ns = match version {
                Version::V2 => text::keyed(content, "usage_usec").and_then(|us| us.checked_mul(1_000)),
                Version::V1 => text::number(content),
            };
            if self.is_one_file {
                reading.take_periods(content);
            }
        }
        if let Some(content) = self.throttling.as_mut().and_then(|file| file.read(scratch)) {
            reading.take_periods(content);
        }
        reading
    }

    /// Whether the processor time that was asked for can be read.
    pub(super) fn has_usage(&self) -> bool {
        self.usage.as_ref().is_some_and(|(_, file)| file.is_open())
    }

    pub(super) fn reopen(&mut self) {
        self.usage.iter_mut().for_each(|(_, file)| file.reopen());
        self.throttling.iter_mut().for_each(KeptFile::reopen);
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
    /// Of version 2 alone: version 1 has it in `memory.stat`.
    swap: Option<KeptFile>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryReading {
    /// Usage less inactive file pages: what cannot be reclaimed without pain, as the kubelet computes it.
    pub working_set: Option<u64>,
    /// Anonymous memory.
    pub rss: Option<u64>,
    pub swap: Option<u64>,
    pub oom_kills: Option<u64>,
}

impl MemoryAccount {
    pub(super) fn open(group: &Group) -> Self {
        let file = |name: &str| KeptFile::open(group.dir.join(name));
        let (usage, events) = match group.version {
            Version::V2 => ("memory.current", "memory.events"),
            Version::V1 => ("memory.usage_in_bytes", "memory.oom_control"),
        };
        Self {
            version: group.version,
            usage: file(usage),
            stat: file("memory.stat"),
            events: file(events),
            swap: (group.version == Version::V2).then(|| file("memory.swap.current")),
        }
    }

    /// Whether the kernel accounts this group's memory: a group of version 2 may be without the controller.
    pub(super) fn has_usage(&self) -> bool {
        self.usage.is_open() && self.stat.is_open()
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
            if self.version == Version::V1 {
                reading.swap = text::keyed(stat, "total_swap");
            }
        }
        if let Some(swap) = &mut self.swap {
            reading.swap = swap.read(scratch).and_then(text::number);
        }
        reading.oom_kills = self.events.read(scratch).and_then(|events| text::keyed(events, "oom_kill"));
        reading
    }

    pub(super) fn reopen(&mut self) {
        self.usage.reopen();
        self.stat.reopen();
        self.events.reopen();
        self.swap.iter_mut().for_each(KeptFile::reopen);
    }
}

/// One number of a file that is read now and then.
fn number_in(dir: &Path, name: &str, scratch: &mut Scratch) -> Option<u64> {
    scratch.read(&dir.join(name)).and_then(text::number)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            ("memory.swap.current", "50\n"),
        ]);
        let (group, mut scratch) = (group(Version::V2, dir.path()), Scratch::new());
        assert_eq!(
            CpuAccount::open(Some(&group), Some(dir.path())).read(&mut scratch),
            CpuReading { usage_ns: Some(5_000_000_000), periods: Some(100), throttled_periods: Some(25) }
        );
        assert_eq!(
            MemoryAccount::open(&group).read(&mut scratch),
            MemoryReading { working_set: Some(600), rss: Some(300), swap: Some(50), oom_kills: Some(1) }
        );
    }

    #[test]
    fn version_1_files_are_read() {
        let usage = files(&[("cpuacct.usage", "7000\n")]);
        let bandwidth = files(&[("cpu.stat", "nr_periods 10\nnr_throttled 5\nthrottled_time 77\n")]);
        let memory = files(&[
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.stat", "rss 1\ninactive_file 2\ntotal_rss 300\ntotal_swap 7\ntotal_inactive_file 400\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ]);
        let mut scratch = Scratch::new();
        assert_eq!(
            CpuAccount::open(Some(&group(Version::V1, usage.path())), Some(bandwidth.path())).read(&mut scratch),
            CpuReading { usage_ns: Some(7_000), periods: Some(10), throttled_periods: Some(5) }
        );
        assert_eq!(
            MemoryAccount::open(&group(Version::V1, memory.path())).read(&mut scratch),
            MemoryReading { working_set: Some(600), rss: Some(300), swap: Some(7), oom_kills: Some(3) }
        );
    }

    #[test]
    fn throttling_is_counted_where_the_quota_is() {
        let own = files(&[("cpu.stat", "usage_usec 5\nnr_periods 0\nnr_throttled 0\n")]);
        let slice = files(&[("cpu.stat", "usage_usec 900\nnr_periods 8\nnr_throttled 2\n")]);
        let own = group(Version::V2, own.path());
        assert_eq!(
            CpuAccount::open(Some(&own), Some(slice.path())).read(&mut Scratch::new()),
            CpuReading { usage_ns: Some(5_000), periods: Some(8), throttled_periods: Some(2) }
        );
        assert_eq!(
            CpuAccount::open(Some(&own), None).read(&mut Scratch::new()),
            CpuReading { usage_ns: Some(5_000), ..CpuReading::default() }
        );
    }

    #[test]
    fn more_inactive_pages_than_usage_are_an_empty_working_set() {
        let dir = files(&[("memory.current", "1000\n"), ("memory.stat", "inactive_file 1001\n")]);
        let reading = MemoryAccount::open(&group(Version::V2, dir.path())).read(&mut Scratch::new());
        assert_eq!(reading, MemoryReading { working_set: Some(0), ..MemoryReading::default() });
    }

    #[test]
    fn missing_files_are_absent_values() {
        let group = group(Version::V2, &PathBuf::from("/nonexistent"));
        let mut scratch = Scratch::new();
        assert_eq!(CpuAccount::open(Some(&group), Some(&group.dir)).read(&mut scratch), CpuReading::default());
        assert_eq!(MemoryAccount::open(&group).read(&mut scratch), MemoryReading::default());
        assert!(!MemoryAccount::open(&group).has_usage());
    }
}
