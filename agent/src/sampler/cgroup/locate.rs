//! Where the control groups of a process are: `/proc/PID/cgroup` names them, `mountinfo` says where each hierarchy
//! is mounted (cgroups(7), proc(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::super::kept_file::Scratch;
use super::super::text;

/// Mounted hierarchies that are looked at; version 1 has one for each of its dozen controllers.
const MAX_MOUNTS: usize = 128;
const MAX_MEMBERSHIPS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Version {
    V1,
    V2,
}

/// One group's directory. `mount` is where its hierarchy begins: nothing above it can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Group {
    pub version: Version,
    pub dir: PathBuf,
    pub mount: PathBuf,
}

impl Group {
    /// Groups between this one and the top that is visible.
    fn depth(&self) -> usize {
        self.dir.components().count().saturating_sub(self.mount.components().count())
    }
}

/// The groups of one process, by what they account.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in super::super) struct Groups {
    /// Processor time.
    pub usage: Option<Group>,
    /// Processor bandwidth: quota and throttling.
    pub bandwidth: Option<Group>,
    pub memory: Option<Group>,
    pub disk: Option<Group>,
    /// Number of tasks.
    pub tasks: Option<Group>,
    /// Only version 2 accounts pressure.
    pub pressure: Option<Group>,
}

impl Groups {
    /// The groups of the process whose directory in procfs is `process`; `None` when that is not to be read. Paths of
    /// mounts are taken below `root`.
    pub(in super::super) fn of(process: &Path, root: &Path, scratch: &mut Scratch) -> Option<Self> {
        let memberships = scratch.read(&process.join("cgroup")).map(memberships)?;
        let mut mounts = Vec::new();
        scratch.each_line(&process.join("mountinfo"), |line| {
            if mounts.len() < MAX_MOUNTS {
                mounts.extend(Mount::parse(line));
            }
        })?;
        let unified = memberships.iter().find(|membership| membership.controllers.is_empty()).and_then(|membership| {
            reached(mounts.iter().filter(|mount| mount.version == Version::V2), &membership.path, root)
        });
        let controller = |name: &[u8]| {
            let split = |list: &[u8]| list.split(|byte| *byte == b',').any(|entry| entry == name);
            memberships
                .iter()
                .find(|membership| split(&membership.controllers))
                .and_then(|membership| {
                    let carries = |mount: &&Mount| mount.version == Version::V1 && split(&mount.options);
                    reached(mounts.iter().filter(carries), &membership.path, root)
                })
                .or_else(|| unified.clone())
        };
        Some(Self {
            usage: controller(b"cpuacct"),
            bandwidth: controller(b"cpu"),
            memory: controller(b"memory"),
            disk: controller(b"blkio"),
            tasks: controller(b"pids"),
            pressure: unified.clone(),
        })
    }
}

/// The group `path` through the mount that shows most of the groups above it: each of them may have a limit. A hierarchy
/// is mounted more than once where a container was given its host's.
fn reached<'a>(mounts: impl Iterator<Item = &'a Mount>, path: &Path, root: &Path) -> Option<Group> {
    let groups = mounts.filter_map(|mount| mount.group(path, root)).filter(|group| group.dir.is_dir());
    // The first of equals.
    groups.reduce(|best, group| if group.depth() > best.depth() { group } else { best })
}

/// A line of `/proc/PID/cgroup`: `4:memory:/path`, or `0::/path` of version 2.
struct Membership {
    /// Separated by commas; empty in version 2.
    controllers: Vec<u8>,
    path: PathBuf,
}

fn memberships(content: &[u8]) -> Vec<Membership> {
    text::lines(content)
        .filter_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            // A hierarchy without a controller is version 2 only with the id 0.
            (controllers.is_empty() == (id == b"0"))
                .then(|| Membership { controllers: controllers.to_vec(), path: PathBuf::from(OsStr::from_bytes(path)) })
        })
        .take(MAX_MEMBERSHIPS)
        .collect()
}

/// A mounted hierarchy.
struct Mount {
    version: Version,
    /// The group that is visible at the mount point.
    top: PathBuf,
    point: PathBuf,
    /// Separated by commas; names the controllers in version 1.
    options: Vec<u8>,
}

impl Mount {
    /// `36 35 0:30 TOP POINT options tags… - TYPE SOURCE SUPEROPTIONS`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = text::words(line);
        let (top, point) = (words.nth(3)?, words.next()?);
        let mut words = words.skip_while(|word| *word != b"-").skip(1);
        let version = match words.next()? {
            b"cgroup" => Version::V1,
            b"cgroup2" => Version::V2,
            _ => return None,
        };
        let options = words.nth(1)?.to_vec();
        Some(Self { version, top: unescaped(top), point: unescaped(point), options })
    }

    /// The directory of the group `path`, when it can be reached through this mount.
    fn group(&self, path: &Path, root: &Path) -> Option<Group> {
        // A top above the process's cgroup namespace is shown as `/../..`: where the group is below it has no name here.
        if !is_plain(&self.top) {
            return None;
        }
        let below = if let Ok(below) = path.strip_prefix(&self.top) {
            below
        } else if path == Path::new("/") {
            // Some kernels and sandboxes show the top as the host sees it and the group as the namespace does.
            Path::new("")
        } else {
            return None;
        };
        // A group outside of the namespace is shown as `/../…`: it cannot be reached from here.
        if !is_plain(below) {
            return None;
        }
        let mount = root.join(self.point.strip_prefix("/").ok()?);
        let dir = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
        Some(Group { version: self.version, dir, mount })
    }
}

/// Leads down alone.
fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_) | Component::RootDir))
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The groups of a process with these files, on a machine that has these directories.
    fn located(cgroup: &str, mountinfo: &str, directories: &[&str]) -> Located {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let process = root.path().join("process");
        std::fs::create_dir(&process).unwrap();
        std::fs::write(process.join("cgroup"), cgroup).unwrap();
        std::fs::write(process.join("mountinfo"), mountinfo).unwrap();
        let groups = Groups::of(&process, root.path(), &mut Scratch::new()).unwrap();
        Located { root, groups }
    }

    struct Located {
        root: tempfile::TempDir,
        groups: Groups,
    }

    impl Located {
        fn dir(&self, group: impl Fn(&Groups) -> &Option<Group>) -> Option<(Version, &str)> {
            let group = group(&self.groups).as_ref()?;
            Some((group.version, group.dir.strip_prefix(self.root.path()).unwrap().to_str().unwrap()))
        }
    }

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_takes_controllers_from_version_1_and_pressure_from_version_2() {
        let located = located(
            "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/d\n",
            HYBRID,
            &["sys/fs/cgroup/memory/a/b", "sys/fs/cgroup/cpu,cpuacct/c", "sys/fs/cgroup/unified/d"],
        );
        assert_eq!(located.dir(|groups| &groups.memory), Some((Version::V1, "sys/fs/cgroup/memory/a/b")));
        assert_eq!(located.dir(|groups| &groups.usage), Some((Version::V1, "sys/fs/cgroup/cpu,cpuacct/c")));
        assert_eq!(located.dir(|groups| &groups.bandwidth), Some((Version::V1, "sys/fs/cgroup/cpu,cpuacct/c")));
        assert_eq!(located.dir(|groups| &groups.pressure), Some((Version::V2, "sys/fs/cgroup/unified/d")));
        assert_eq!(located.dir(|groups| &groups.tasks), Some((Version::V2, "sys/fs/cgroup/unified/d")));
    }

    #[test]
    fn docker_with_version_1_shows_its_own_group_at_the_mount() {
        let located = located(
            "4:memory:/docker/abc\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            &["sys/fs/cgroup/memory"],
        );
        assert_eq!(located.dir(|groups| &groups.memory), Some((Version::V1, "sys/fs/cgroup/memory")));
    }

    #[test]
    fn docker_with_version_2_shows_its_own_group_at_the_mount() {
        let mount = "35 31 0:32 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";
        let located = located("0::/\n", mount, &["sys/fs/cgroup"]);
        let all: [fn(&Groups) -> &Option<Group>; 6] = [
            |groups| &groups.usage,
            |groups| &groups.bandwidth,
            |groups| &groups.memory,
            |groups| &groups.disk,
            |groups| &groups.tasks,
            |groups| &groups.pressure,
        ];
        for group in all {
            assert_eq!(located.dir(group), Some((Version::V2, "sys/fs/cgroup")));
        }
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_most_of_the_ancestors_is_taken() {
        let located = located(
            "0::/kubepods/pod/box\n",
            "35 31 0:32 /kubepods/pod/box /sys/fs/cgroup ro - cgroup2 cgroup rw\n\
             36 31 0:32 /kubepods /pods ro - cgroup2 cgroup rw\n\
             37 31 0:32 / /nothing/below ro - cgroup2 cgroup rw\n",
            &["sys/fs/cgroup", "pods/pod/box", "nothing/below"],
        );
        assert_eq!(located.dir(|groups| &groups.memory), Some((Version::V2, "pods/pod/box")));
    }

    #[test]
    fn a_mount_from_above_the_namespace_is_not_taken_for_the_namespaces_own() {
        let mounts = "36 31 0:32 /../../.. /host/cgroup ro - cgroup2 cgroup rw\n\
                      35 31 0:32 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let located = located("0::/\n", mounts, &["host/cgroup", "sys/fs/cgroup"]);
        assert_eq!(located.dir(|groups| &groups.memory), Some((Version::V2, "sys/fs/cgroup")));
    }

    #[test]
    fn a_group_that_cannot_be_reached_is_absent() {
        let mount = "35 31 0:32 /other /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(located("0::/mine\n", mount, &["sys/fs/cgroup/mine"]).groups, Groups::default());
        let mount = "35 31 0:32 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(located("0::/../../etc\n", mount, &["sys/fs/cgroup"]).groups, Groups::default());
        assert_eq!(located("0::/gone (deleted)\n", mount, &["sys/fs/cgroup/gone"]).groups, Groups::default());
        assert_eq!(located("0::/x\n", "", &["sys/fs/cgroup/x"]).groups, Groups::default());
        assert_eq!(located("", mount, &["sys/fs/cgroup"]).groups, Groups::default());
    }

    #[test]
    fn a_process_that_may_not_be_read_has_no_answer() {
        assert_eq!(Groups::of(Path::new("/nonexistent"), Path::new("/"), &mut Scratch::new()), None);
    }

    #[test]
    fn a_mount_after_thousands_of_others_is_found() {
        let mut mounts = "50 31 0:40 / /var/lib/volumes/something rw - ext4 /dev/sda rw\n".repeat(5_000);
        mounts.push_str("35 31 0:32 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        assert!(located("0::/\n", &mounts, &["sys/fs/cgroup"]).groups.memory.is_some());
    }

    #[test]
    fn escapes_in_mount_points_are_undone() {
        assert_eq!(unescaped(br"/a\040b\134c\9"), PathBuf::from(r"/a b\c\9"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hostile_files_neither_panic_nor_lead_out_of_the_mount(cgroup: String, mountinfo: String, path in "[./a]{0,12}") {
            located(&cgroup, &mountinfo, &[]);
            let mount = "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 none rw\n";
            let located = located(&format!("0::/{path}\n"), mount, &["sys/fs/cgroup/a/a", "sys/fs/cgroup/aa"]);
            if let Some(group) = located.groups.memory {
                prop_assert!(group.dir.starts_with(&group.mount));
                prop_assert!(!group.dir.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
