//! The limit that really applies: the smallest one between a group and the top of its hierarchy.

use std::path::{Path, PathBuf};

use super::super::kept_file::Scratch;
use super::super::text;
use super::locate::{Group, Version};
use super::number_in;

/// Groups above a group that are looked at; the kernel's own default is far deeper than anyone nests.
const MAX_DEPTH: usize = 32;

/// Version 1 writes "no limit" as the largest multiple of a page in an `i64`; nobody has a limit of an exbibyte.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// A limit of processor bandwidth, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Quota {
    pub cores: f64,
    /// Of the group that has the limit: there, and in no group below, throttling is counted.
    pub dir: PathBuf,
}

/// Processor bandwidth: `cpu.max`, or `cpu.cfs_quota_us` by `cpu.cfs_period_us`.
pub(in super::super) fn quota(group: &Group, scratch: &mut Scratch) -> Option<Quota> {
    let limit = smallest(group, |dir| {
        let (quota, period) = match group.version {
            Version::V2 => {
                let mut words = text::words(scratch.read(&dir.join("cpu.max"))?);
                // `max` is no number, hence no limit.
                (text::number(words.next()?)?, text::number(words.next()?)?)
            }
            // -1 is no number either.
            Version::V1 => {
                (number_in(dir, "cpu.cfs_quota_us", scratch)?, number_in(dir, "cpu.cfs_period_us", scratch)?)
            }
        };
        (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
    });
    limit.map(|(cores, dir)| Quota { cores, dir: dir.to_owned() })
}

/// Memory in bytes. `memory.high` counts as much as `memory.max`: a group above it is slowed down and reclaimed from
/// until it is below (Documentation/admin-guide/cgroup-v2.rst), which is where more memory begins to help.
pub(in super::super) fn memory_bytes(group: &Group, scratch: &mut Scratch) -> Option<u64> {
    let names: &[&str] = match group.version {
        Version::V2 => &["memory.max", "memory.high"],
        Version::V1 => &["memory.limit_in_bytes"],
    };
    let is_limit = |bytes: &u64| (1..UNLIMITED_BYTES).contains(bytes);
    let visible =
        smallest(group, |dir| names.iter().filter_map(|name| number_in(dir, name, scratch)).filter(is_limit).min());
    // Version 1 also tells of limits above what is mounted here.
    let inherited = scratch
        .read(&group.dir.join("memory.stat"))
        .and_then(|stat| text::keyed(stat, "hierarchical_memory_limit"))
        .filter(|_| group.version == Version::V1);
    visible.map(|(bytes, _)| bytes).into_iter().chain(inherited.filter(is_limit)).min()
}

/// Threads of all processes together: `pids.max` counts tasks.
pub(in super::super) fn tasks(group: &Group, scratch: &mut Scratch) -> Option<u64> {
    smallest(group, |dir| number_in(dir, "pids.max", scratch)).map(|(tasks, _)| tasks)
}

/// Processors that the process in this directory of procfs may run on: its affinity within its cpuset. May exceed what
/// the machine has.
pub(in super::super) fn allowed_processors(process: &Path, scratch: &mut Scratch) -> Option<f64> {
    let status = scratch.read(&process.join("status"))?;
    let mask = text::lines(status).find_map(|line| line.strip_prefix(b"Cpus_allowed:"))?;
    // `ff,ffffffff`: hexadecimal digits in groups.
    let count = mask.iter().filter_map(|digit| char::from(*digit).to_digit(16)).map(u32::count_ones).sum::<u32>();
    (count > 0).then(|| f64::from(count))
}

/// The smallest limit between the group and the top, and the directory of the nearest group that has it.
fn smallest<T: PartialOrd>(group: &Group, mut limit: impl FnMut(&Path) -> Option<T>) -> Option<(T, &Path)> {
    group
        .dir
        .ancestors()
        .take(MAX_DEPTH)
        .take_while(|dir| dir.starts_with(&group.mount))
        .filter_map(|dir| Some((limit(dir)?, dir)))
        .reduce(|smallest, limit| if limit.0 < smallest.0 { limit } else { smallest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let top = tempfile::tempdir().unwrap();
        let mount = top.path().join("cgroup");
        let group = Group { version, dir: mount.join("parent/own"), mount };
        std::fs::create_dir_all(&group.dir).unwrap();
        for (path, content) in files {
            std::fs::write(group.mount.join(path), content).unwrap();
        }
        (top, group)
    }

    #[test]
    fn the_smallest_limit_of_version_2_wins_wherever_it_is() {
        let (top, group) = tree(
            Version::V2,
            &[
                ("parent/own/cpu.max", "200000 100000\n"),
                ("parent/cpu.max", "50000 100000\n"),
                ("cpu.max", "max 100000\n"),
                ("parent/own/memory.max", "max\n"),
                ("parent/memory.max", "1048576\n"),
            ],
        );
        std::fs::write(top.path().join("memory.max"), "1\n").unwrap();
        let mut scratch = Scratch::new();
        let quota = quota(&group, &mut scratch).unwrap();
        assert_eq!((quota.cores, quota.dir), (0.5, group.mount.join("parent")));
        assert_eq!(memory_bytes(&group, &mut scratch), Some(1_048_576), "nothing above the mount is read");
    }

    #[test]
    fn a_group_that_is_slowed_down_has_no_more_memory_than_that() {
        let (_top, group) = tree(
            Version::V2,
            &[
                ("parent/own/memory.max", "1048576\n"),
                ("parent/own/memory.high", "786432\n"),
                ("parent/memory.high", "max\n"),
            ],
        );
        assert_eq!(memory_bytes(&group, &mut Scratch::new()), Some(786_432));
    }

    #[test]
    fn tasks_are_limited_by_the_smallest_number() {
        let (_top, group) = tree(Version::V2, &[("parent/own/pids.max", "max\n"), ("parent/pids.max", "50\n")]);
        assert_eq!(tasks(&group, &mut Scratch::new()), Some(50));
    }

    #[test]
    fn version_1_knows_minus_one_the_huge_number_and_the_inherited_limit() {
        let (_top, group) = tree(
            Version::V1,
            &[
                ("parent/own/cpu.cfs_quota_us", "-1\n"),
                ("parent/own/cpu.cfs_period_us", "100000\n"),
                ("parent/cpu.cfs_quota_us", "150000\n"),
                ("parent/cpu.cfs_period_us", "100000\n"),
                ("parent/own/memory.limit_in_bytes", "9223372036854771712\n"),
                ("parent/own/memory.stat", "rss 1\nhierarchical_memory_limit 4096\n"),
            ],
        );
        let mut scratch = Scratch::new();
        assert_eq!(quota(&group, &mut scratch).map(|quota| quota.cores), Some(1.5));
        assert_eq!(memory_bytes(&group, &mut scratch), Some(4096));
    }

    #[test]
    fn processors_are_the_bits_of_the_mask() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new();
        std::fs::write(dir.path().join("status"), "Name:\tx\nCpus_allowed:\t3,0000000f\nCpus_allowed_list:\t0\n")
            .unwrap();
        assert_eq!(allowed_processors(dir.path(), &mut scratch), Some(6.0));
        std::fs::write(dir.path().join("status"), "Name:\tx\n").unwrap();
        assert_eq!(allowed_processors(dir.path(), &mut scratch), None);
    }

    #[test]
    fn no_limit_and_nonsense_are_absent() {
        let (_top, group) = tree(
            Version::V2,
            &[("parent/own/cpu.max", "0 0\n"), ("parent/cpu.max", "\n"), ("parent/own/memory.max", "0\n")],
        );
        let mut scratch = Scratch::new();
        assert_eq!(quota(&group, &mut scratch), None);
        assert_eq!(memory_bytes(&group, &mut scratch), None);
    }
}
