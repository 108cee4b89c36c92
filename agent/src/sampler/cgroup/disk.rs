//! What a control group read from and wrote to block devices.
//!
//! A device on top of others (LVM, dm-crypt, RAID, a loop) has a line of its own beside theirs for the same bytes: such
//! lines are left out, as long as there is another.

use std::path::{Path, PathBuf};

use super::super::kept_file::{KeptFile, Scratch};
use super::super::text;
use super::locate::{Group, Version};

/// Devices of which it is remembered what they are made of. Of more, the rest are taken for disks.
const MAX_DEVICES: usize = 64;

/// Names of the file in version 1, the best first: the second leaves out the groups below.
const VERSION_1: [&str; 2] = ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"];

/// Bytes that one group read from and wrote to block devices.
pub(in super::super) struct DiskAccount {
    version: Version,
    file: KeptFile,
    devices: Devices,
}

impl DiskAccount {
    /// `root` is where `sys` is.
    pub(in super::super) fn open(group: &Group, root: &Path) -> Self {
        let file = |name: &str| KeptFile::open(group.dir.join(name));
        let file = match group.version {
            Version::V2 => file("io.stat"),
            Version::V1 => {
                let [best, other] = VERSION_1.map(file);
                if best.is_open() { best } else { other }
            }
        };
        Self { version: group.version, file, devices: Devices::new(root) }
    }

    /// Bytes read and written so far.
    pub(in super::super) fn read(&mut self, scratch: &mut Scratch) -> Option<(u64, u64)> {
        let content = self.file.read(scratch)?;
        let devices = &mut self.devices;
        Some(match self.version {
            Version::V2 => totals(content, io_stat, |device| devices.is_stacked(device)),
            Version::V1 => totals(content, io_service_bytes, |device| devices.is_stacked(device)),
        })
    }

    /// Whether the kernel accounts this group's disk: a group of version 2 may be without the controller.
    pub(in super::super) fn has_usage(&self) -> bool {
        self.file.is_open()
    }

    pub(in super::super) fn reopen(&mut self) {
        self.file.reopen();
    }
}

/// Major and minor number.
type Device = (u32, u32);

/// Bytes read from and written to a device.
type Traffic = (Device, u64, u64);

/// The sum over the lines; an empty file is a group that did no I/O.
fn totals(
    content: &[u8],
    parse: fn(&[u8]) -> Option<Traffic>,
    mut is_stacked: impl FnMut(Device) -> bool,
) -> (u64, u64) {
    let (mut disks, mut stacks) = (None, (0_u64, 0_u64));
    for (device, read, written) in text::lines(content).filter_map(parse) {
        let sum = if is_stacked(device) { &mut stacks } else { disks.get_or_insert((0, 0)) };
        *sum = (sum.0.saturating_add(read), sum.1.saturating_add(written));
    }
    disks.unwrap_or(stacks)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`. Some kernels write devices without traffic in front, on the same line.
fn io_stat(line: &[u8]) -> Option<Traffic> {
    let (mut last, mut read, mut written) = (None, None, None);
    for word in text::words(line) {
        if let Some(bytes) = word.strip_prefix(b"rbytes=") {
            read = text::number(bytes);
        } else if let Some(bytes) = word.strip_prefix(b"wbytes=") {
            written = text::number(bytes);
        } else {
            last = device(word).or(last);
        }
    }
    Some((last?, read?, written?))
}

/// `8:0 Read 1`, `8:0 Write 2` …; the line `Total` at the end has no device.
fn io_service_bytes(line: &[u8]) -> Option<Traffic> {
    let mut words = text::words(line);
    let device = device(words.next()?)?;
    match (words.next()?, text::number(words.next()?)?) {
        (b"Read", bytes) => Some((device, bytes, 0)),
        (b"Write", bytes) => Some((device, 0, bytes)),
        _ => None,
    }
}

fn device(text: &[u8]) -> Option<Device> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let number = |text| text::number(text).and_then(|number| u32::try_from(number).ok());
    Some((number(&text[..colon])?, number(&text[colon + 1..])?))
}

/// What is known of block devices, each looked at once.
struct Devices {
    sys: PathBuf,
    known: Vec<(Device, bool)>,
}

impl Devices {
    fn new(root: &Path) -> Self {
        Self { sys: root.join("sys/dev/block"), known: Vec::new() }
    }

    /// Whether a device is made of others, as sysfs says.
    fn is_stacked(&mut self, device: Device) -> bool {
        if let Some((_, is_stacked)) = self.known.iter().find(|(known, _)| *known == device) {
            return *is_stacked;
        }
        if self.known.len() == MAX_DEVICES {
            return false;
        }
        let dir = self.sys.join(format!("{}:{}", device.0, device.1));
        let has_slaves = std::fs::read_dir(dir.join("slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
        let is_stacked = has_slaves || dir.join("loop").exists();
        self.known.push((device, is_stacked));
        is_stacked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A group with this file, and sysfs with a volume 253:0 on the disk 8:0.
    fn account(version: Version, name: &str, content: &str) -> (tempfile::TempDir, DiskAccount) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/dev/block/253:0/slaves/sda")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/dev/block/8:0/slaves")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/dev/block/7:0/loop")).unwrap();
        std::fs::write(root.path().join(name), content).unwrap();
        let group = Group { version, dir: root.path().to_owned(), mount: root.path().to_owned() };
        let account = DiskAccount::open(&group, root.path());
        (root, account)
    }

    fn read(version: Version, name: &str, content: &str) -> Option<(u64, u64)> {
        account(version, name, content).1.read(&mut Scratch::new())
    }

    #[test]
    fn disks_are_summed() {
        let content = "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n7:7 7:6 8:16 rbytes=1 wbytes=2\n";
        assert_eq!(read(Version::V2, "io.stat", content), Some((11, 22)));
        let content = "8:0 Read 10\n8:0 Write 20\n8:0 Sync 5\n8:0 Total 30\nTotal 30\n";
        for name in VERSION_1 {
            assert_eq!(read(Version::V1, name, content), Some((10, 20)));
        }
    }

    #[test]
    fn a_volume_and_the_disk_below_it_are_counted_once() {
        let content = "253:0 rbytes=100 wbytes=200\n8:0 rbytes=100 wbytes=200\n7:0 rbytes=5 wbytes=5\n";
        assert_eq!(read(Version::V2, "io.stat", content), Some((100, 200)));
        assert_eq!(read(Version::V2, "io.stat", "253:0 rbytes=100 wbytes=200\n"), Some((100, 200)));
    }

    #[test]
    fn an_empty_file_is_no_traffic_and_a_missing_one_no_value() {
        assert_eq!(read(Version::V2, "io.stat", ""), Some((0, 0)));
        let (_root, mut account) = account(Version::V2, "other", "");
        assert_eq!((account.has_usage(), account.read(&mut Scratch::new())), (false, None));
    }

    #[test]
    fn nonsense_is_left_out() {
        let content = "8:0\n8:0 rbytes=-1 wbytes=2\n(unknown) rbytes=1 wbytes=1\n99999999999:0 rbytes=1 wbytes=1\n\
                       8:0 rbytes=18446744073709551615 wbytes=1\n8:16 rbytes=1 wbytes=1\n";
        assert_eq!(read(Version::V2, "io.stat", content), Some((u64::MAX, 2)));
    }

    #[test]
    fn more_devices_than_are_remembered_are_disks() {
        let content: String = (0..200).map(|minor| format!("8:{minor} rbytes=1 wbytes=1\n")).collect();
        let (_root, mut account) = account(Version::V2, "io.stat", &content);
        assert_eq!(account.read(&mut Scratch::new()), Some((200, 200)));
        assert_eq!(account.devices.known.len(), MAX_DEVICES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = (totals(&bytes, io_stat, |_| false), totals(&bytes, io_service_bytes, |_| true));
        }
    }
}
