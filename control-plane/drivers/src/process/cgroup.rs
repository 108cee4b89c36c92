//! Control groups of the instances, in version 2 and version 1 hierarchies.
//!
//! Each instance gets a group `outrigger-INSTANCE` below the group that the control plane itself is in: its limits are
//! set there, its use is measured there (by the agent), and its members are everything that has to be killed with it.
//! Where a group cannot be made or a controller is not at hand, the instance runs without; that is said once.
//!
//! In version 2 a group with processes of its own hands no controllers to its children. Limits then need a delegated
//! group without processes, which is what [`CgroupRoot::At`] is for (with systemd: `Delegate=yes` and
//! `DelegateSubgroup=`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;

use crate::Limits;

/// Below which groups those of the instances are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupRoot {
    /// The control plane's own.
    Auto,
    /// A version 2 group that was delegated to the control plane.
    At(PathBuf),
    Off,
}

/// The enforcement period of CPU limits, the kernel's default (cgroups(7)).
const PERIOD_US: f64 = 100_000.0;
/// The smallest quota that the kernel takes.
const LEAST_QUOTA_US: f64 = 1_000.0;
/// The version 1 controllers that limit or measure what agents report.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "memory"];
/// A group goes away only after its last process was reaped.
const REMOVALS: u32 = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(25);

/// The groups below which instances get theirs; none when nothing can be used.
#[derive(Debug)]
pub(super) struct Cgroups {
    parents: Vec<PathBuf>,
    unlimited: Once,
}

impl Cgroups {
    pub(super) fn find(root: &CgroupRoot) -> Self {
        let parents = match root {
            CgroupRoot::Off => Vec::new(),
            CgroupRoot::At(path) => vec![path.clone()],
            CgroupRoot::Auto => {
                let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
                own_groups(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
                    .into_iter()
                    .filter(|group| group.is_dir())
                    .collect()
            }
        };
        for parent in &parents {
            // Fails where it is done already, not allowed, or the group has processes; the limits tell.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+cpu +memory");
        }
        Self { parents, unlimited: Once::new() }
    }

    /// Makes the groups of an instance; what cannot be made is left out.
    pub(super) fn create(&self, instance: InstanceId, limits: Limits) -> Vec<PathBuf> {
        let mut groups = Vec::new();
        for group in self.paths(instance) {
            match fs::create_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.say_unlimited(&error.to_string()),
                _ => groups.push(group),
            }
        }
        let cpu = limits.cpu_cores.is_none_or(|cores| limit_cpu(&groups, cores));
        let memory = limits.memory_bytes.is_none_or(|bytes| limit_memory(&groups, bytes));
        if !(cpu && memory) {
            self.say_unlimited("no group takes the limits");
        }
        groups
    }

    /// The groups of an instance that there are.
    pub(super) fn of(&self, instance: InstanceId) -> Vec<PathBuf> {
        self.paths(instance).filter(|group| group.is_dir()).collect()
    }

    fn paths(&self, instance: InstanceId) -> impl Iterator<Item = PathBuf> + '_ {
        let name = format!("outrigger-{instance}");
        self.parents.iter().map(move |parent| parent.join(&name))
    }

    fn say_unlimited(&self, reason: &str) {
        self.unlimited.call_once(|| {
            tracing::warn!(reason, "control groups cannot be used as they should: instances run without limits");
        });
    }
}

fn limit_cpu(groups: &[PathBuf], cores: f64) -> bool {
    let quota = (cores * PERIOD_US).max(LEAST_QUOTA_US);
    groups.iter().any(|group| {
        write_existing(&group.join("cpu.max"), &format!("{quota:.0} {PERIOD_US:.0}"))
            || (write_existing(&group.join("cpu.cfs_period_us"), &format!("{PERIOD_US:.0}"))
                && write_existing(&group.join("cpu.cfs_quota_us"), &format!("{quota:.0}")))
    })
}

fn limit_memory(groups: &[PathBuf], bytes: u64) -> bool {
    let names = ["memory.max", "memory.limit_in_bytes"];
    groups.iter().any(|group| names.iter().any(|name| write_existing(&group.join(name), &bytes.to_string())))
}

/// Never creates: in a group that lacks a controller its files are absent.
fn write_existing(path: &Path, text: &str) -> bool {
    path.is_file() && fs::write(path, text).is_ok()
}

/// The processes in any of `groups`.
pub(super) fn members(groups: &[PathBuf]) -> Vec<i32> {
    let read = groups.iter().filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
    let mut pids: Vec<i32> =
        read.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Removes the groups of an instance that is dead. What stays is empty and harmless.
pub(super) fn remove(groups: &[PathBuf]) {
    for group in groups {
        for _ in 0..REMOVALS {
            match fs::remove_dir(group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(REMOVAL_PAUSE),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(group = %group.display(), error = %error, "a control group cannot be removed");
                    break;
                }
                _ => break,
            }
        }
    }
}

/// The directories of the groups that a process is in, from its `/proc/PID/cgroup` and `/proc/PID/mountinfo`: those
/// of version 1 for the controllers of interest, and that of version 2.
fn own_groups(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let mount = mounts.iter().find(|mount| {
            if controllers.is_empty() {
                mount.kind == "cgroup2"
            } else {
                mount.kind == "cgroup"
                    && controllers.split(',').any(|name| CONTROLLERS.contains(&name) && mount.has(name))
            }
        });
        if let Some(group) = mount.map(|mount| mount.directory(path))
            && !found.contains(&group)
        {
            found.push(group);
        }
    }
    found
}

/// One line of mountinfo (proc_pid_mountinfo(5)).
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Self { root, point, kind, options: right.nth(1)? })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    /// Where the group of this path lies. In a container the mount shows a part of the hierarchy only.
    fn directory(&self, group: &str) -> PathBuf {
        let below = group.strip_prefix(self.root).unwrap_or(group).trim_start_matches('/');
        Path::new(self.point).join(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory
32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
33 24 0:29 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
";

    #[test]
    fn both_versions_side_by_side_are_found() {
        let own = "7:blkio:/\n4:memory:/box/1\n1:cpu:/\n0::/\n";
        let found = own_groups(own, HYBRID);
        let expected = ["/sys/fs/cgroup/memory/box/1", "/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/unified/"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn controllers_that_share_a_hierarchy_are_one_group_and_a_container_sees_its_part() {
        let mounts = "\
40 24 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
41 24 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
";
        let found = own_groups("3:cpu,cpuacct:/docker/abc/x\n0::/system.slice/outrigger.service\n", mounts);
        let expected = ["/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/system.slice/outrigger.service"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn nothing_to_find_is_no_group() {
        assert!(own_groups("", "").is_empty());
        assert!(own_groups("garbage\n0::/", "also garbage").is_empty());
    }
}
