//! Whether a group accounts this sandbox and nothing else.
//!
//! A group is the sandbox's own when it is not the top of its hierarchy and either holds process 1 of this PID
//! namespace (then it is a container's, and all of the container is the sandbox), or holds nothing but the agent
//! and its descendants (then somebody made it for this agent). In every other case, a login session say, the group's
//! figures are the neighbours' too.

use std::path::Path;

use super::super::kept_file::Scratch;
use super::super::text;
use super::locate::{Group, Version};

/// Members that are looked at one by one. A larger group without process 1 is taken for shared.
const MAX_MEMBERS: usize = 256;
/// Generations between the agent and a descendant.
const MAX_ANCESTORS: usize = 64;

/// `agent` is the agent's number in the PID namespace of `proc`.
pub(in super::super) fn is_own(group: &Group, proc: &Path, agent: u32, scratch: &mut Scratch) -> bool {
    if is_top(group) {
        return false;
    }
    let mut members = [0; MAX_MEMBERS];
    let mut count = 0;
    let Some(content) = scratch.read(&group.dir.join("cgroup.procs")) else { return false };
    for pid in text::lines(content).map(text::number) {
        match pid.and_then(|pid| u32::try_from(pid).ok()) {
            Some(1) => return true,
            // 0 is a process outside of this PID namespace.
            Some(0) | None => return false,
            Some(pid) => {
                let Some(slot) = members.get_mut(count) else { return false };
                *slot = pid;
                count += 1;
            }
        }
    }
    count > 0 && members[..count].iter().all(|pid| descends_from(*pid, agent, proc, scratch))
}

/// Only groups below the top have these files (version 2), or do not have that one (version 1).
fn is_top(group: &Group) -> bool {
    match group.version {
        Version::V2 => !group.dir.join("cgroup.events").exists(),
        Version::V1 => group.dir.join("release_agent").exists(),
    }
}

/// A process that has just ended belongs to nobody and is no reason to doubt.
fn descends_from(mut pid: u32, agent: u32, proc: &Path, scratch: &mut Scratch) -> bool {
    for _ in 0..MAX_ANCESTORS {
        if pid == agent {
            return true;
        }
        let Some(stat) = scratch.read(&proc.join(pid.to_string()).join("stat")) else { return true };
        match super::super::process::parent(stat) {
            None | Some(0 | 1) => return false,
            Some(parent) => pid = parent,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        group: Group,
    }

    impl Fixture {
        /// A group below the top with these members, and processes as (pid, parent).
        fn new(members: &str, processes: &[(u32, u32)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mount = dir.path().join("cgroup");
            let group = Group { version: Version::V2, dir: mount.join("own"), mount };
            std::fs::create_dir_all(&group.dir).unwrap();
            std::fs::write(group.dir.join("cgroup.events"), "populated 1\n").unwrap();
            std::fs::write(group.dir.join("cgroup.procs"), members).unwrap();
            for (pid, parent) in processes {
                let process = dir.path().join(pid.to_string());
                std::fs::create_dir_all(&process).unwrap();
                std::fs::write(process.join("stat"), format!("{pid} (a b) S {parent} 1 1 0 -1\n")).unwrap();
            }
            Self { dir, group }
        }

        fn is_own(&self, agent: u32) -> bool {
            super::is_own(&self.group, self.dir.path(), agent, &mut Scratch::new())
        }
    }

    #[test]
    fn a_group_of_the_agent_and_its_descendants_is_its_own() {
        assert!(Fixture::new("10\n11\n12\n", &[(10, 5), (11, 10), (12, 11)]).is_own(10));
    }

    #[test]
    fn a_container_is_the_sandbox_even_with_another_first_process() {
        assert!(Fixture::new("7\n1\n10\n", &[(7, 1), (10, 1)]).is_own(10));
    }

    #[test]
    fn a_neighbour_makes_a_group_shared() {
        assert!(!Fixture::new("10\n20\n", &[(10, 5), (20, 5), (5, 1)]).is_own(10));
        assert!(!Fixture::new("10\n0\n", &[(10, 5)]).is_own(10));
        assert!(!Fixture::new("", &[]).is_own(10));
    }

    #[test]
    fn a_circle_of_parents_ends() {
        assert!(!Fixture::new("20\n", &[(20, 21), (21, 20)]).is_own(10));
    }

    #[test]
    fn the_top_of_a_hierarchy_is_everybodys() {
        let fixture = Fixture::new("10\n", &[(10, 5)]);
        std::fs::remove_file(fixture.group.dir.join("cgroup.events")).unwrap();
        assert!(!fixture.is_own(10));
        let version_1 = Group { version: Version::V1, ..fixture.group.clone() };
        std::fs::write(version_1.dir.join("release_agent"), "").unwrap();
        assert!(!super::is_own(&version_1, fixture.dir.path(), 10, &mut Scratch::new()));
    }
}
