//! Where the control groups of a process are: `/proc/PID/cgroup` names them, `mountinfo` says where each hierarchy
//! is mounted (cgroups(7), proc(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::super::kept_file::Scratch;
use super::super::text;

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

/// The groups of one process, by what they account.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in super::super) struct Groups {
    /// Processor time.
    pub usage: Option<Group>,
    /// Processor bandwidth: quota and throttling.
    pub bandwidth: Option<Group>,
    pub memory: Option<Group>,
    pub disk: Option<Group>,
    /// Only version 2 accounts pressure.
    pub pressure: Option<Group>,
}

impl Groups {
    /// The groups of the process whose directory in procfs is `process`. Paths of mounts are taken below `root`.
    pub(in super::super) fn of(process: &Path, root: &Path, scratch: &mut Scratch) -> Self {
        let Some(memberships) = scratch.read(&process.join("cgroup")).map(memberships) else { return Self::default() };
        // A host with many mounts has more than a scratch buffer of them.
        let Ok(mountinfo) = std::fs::read(process.join("mountinfo")) else { return Self::default() };
        let mounts: Vec<Mount> = text::lines(&mountinfo).filter_map(Mount::parse).collect();
        let unified = memberships.iter().find(|membership| membership.controllers.is_empty()).and_then(|membership| {
            let mount = mounts.iter().find(|mount| mount.version == Version::V2)?;
            mount.group(&membership.path, root)
        });
        let controller = |name: &[u8]| {
            let split = |list: &[u8]| list.split(|byte| *byte == b',').any(|entry| entry == name);
            memberships
                .iter()
                .find(|membership| split(&membership.controllers))
                .and_then(|membership| {
                    let mount = mounts.iter().find(|mount| mount.version == Version::V1 && split(&mount.options))?;
                    mount.group(&membership.path, root)
                })
                .or_else(|| unified.clone())
        };
        Self {
            usage: controller(b"cpuacct"),
            bandwidth: controller(b"cpu"),
            memory: controller(b"memory"),
            disk: controller(b"blkio"),
            pressure: unified.clone(),
        }
    }
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
        let below = if let Ok(below) = path.strip_prefix(&self.top) {
            below
        } else if path == Path::new("/") {
            // Of a mount made outside of the process's cgroup namespace, the top is shown as the host sees it.
            Path::new("")
        } else {
            return None;
        };
        // A group outside of the namespace is shown as `/../…`: it cannot be reached from here.
        if below.components().any(|component| !matches!(component, Component::Normal(_))) {
            return None;
        }
        let mount = root.join(self.point.strip_prefix("/").ok()?);
        let dir = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
        Some(Group { version: self.version, dir, mount })
    }
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

    fn located(cgroup: &str, mountinfo: &str) -> Groups {
        let process = tempfile::tempdir().unwrap();
        std::fs::write(process.path().join("cgroup"), cgroup).unwrap();
        std::fs::write(process.path().join("mountinfo"), mountinfo).unwrap();
        Groups::of(process.path(), Path::new("/"), &mut Scratch::new())
    }

    fn dir(group: Option<Group>) -> Option<(Version, String)> {
        group.map(|group| (group.version, group.dir.to_str().unwrap().to_owned()))
    }

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_takes_controllers_from_version_1_and_pressure_from_version_2() {
        let groups = located("9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/d\n", HYBRID);
        assert_eq!(dir(groups.memory), Some((Version::V1, "/sys/fs/cgroup/memory/a/b".into())));
        assert_eq!(dir(groups.usage), Some((Version::V1, "/sys/fs/cgroup/cpu,cpuacct/c".into())));
        assert_eq!(dir(groups.bandwidth), Some((Version::V1, "/sys/fs/cgroup/cpu,cpuacct/c".into())));
        assert_eq!(dir(groups.pressure), Some((Version::V2, "/sys/fs/cgroup/unified/d".into())));
    }

    #[test]
    fn docker_with_version_1_shows_its_own_group_at_the_mount() {
        let groups = located(
            "4:memory:/docker/abc\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        );
        assert_eq!(dir(groups.memory), Some((Version::V1, "/sys/fs/cgroup/memory".into())));
    }

    #[test]
    fn docker_with_version_2_shows_its_own_group_at_the_mount() {
        let groups = located("0::/\n", "35 31 0:32 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n");
        for group in [groups.usage, groups.bandwidth, groups.memory, groups.disk, groups.pressure] {
            assert_eq!(dir(group), Some((Version::V2, "/sys/fs/cgroup".into())));
        }
    }

    #[test]
    fn a_group_that_cannot_be_reached_is_absent() {
        let mount = "35 31 0:32 /other /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(located("0::/mine\n", mount).memory, None);
        let mount = "35 31 0:32 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(located("0::/../../etc\n", mount).memory, None);
        assert_eq!(located("0::/x\n", "").memory, None);
        assert_eq!(located("", mount), Groups::default());
    }

    #[test]
    fn escapes_in_mount_points_are_undone() {
        assert_eq!(unescaped(br"/a\040b\134c\9"), PathBuf::from(r"/a b\c\9"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn hostile_files_neither_panic_nor_lead_out_of_the_mount(cgroup: String, mountinfo: String, path in "[./a]{0,12}") {
            located(&cgroup, &mountinfo);
            let groups = located(&format!("0::/{path}\n"), "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 none rw\n");
            if let Some(group) = groups.memory {
                prop_assert!(group.dir.starts_with(&group.mount));
                prop_assert!(!group.dir.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
