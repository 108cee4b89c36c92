//! Files of procfs and cgroupfs that stay open and are read again from the start.
//!
//! A `pread` on an open descriptor costs a third of open, read and close, and a descriptor of `/proc/PID` keeps
//! meaning that process: after its death reads fail, even when the number is in use again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read of one file. What is longer is cut after its last whole line.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Of files that are written whole, or in records shorter than this, the kernel gives a page at a time and stops short of it
/// only for a record that does not fit: what is shorter than this is all, and need not be asked for its end.
const SHORT_BYTES: usize = 2048;

/// Bytes read of a file that is taken line by line: far beyond thousands of mounts or interfaces.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The buffer that all files of a sampler are read into, one after the other.
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(vec![0; SCRATCH_BYTES].into_boxed_slice())
    }

    /// Reads a file that is not worth a descriptor. `None` when it cannot be read.
    pub(super) fn read(&mut self, path: &Path) -> Option<&[u8]> {
        self.read_from(&File::open(path).ok()?)
    }

    /// Takes a file line by line, however long it is; a line longer than the buffer is left out. `None` when it cannot
    /// be read to its end.
    pub(super) fn each_line(&mut self, path: &Path, each: impl FnMut(&[u8])) -> Option<()> {
        self.each_line_from(&File::open(path).ok()?, each)
    }

    fn read_from(&mut self, file: &File) -> Option<&[u8]> {
        let mut filled = 0;
        while filled < self.0.len() {
            match file.read_at(&mut self.0[filled..], filled as u64) {
                Ok(0) => return Some(&self.0[..filled]),
                Ok(read) if filled == 0 && read < SHORT_BYTES => return Some(&self.0[..read]),
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let whole_lines = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Some(&self.0[..whole_lines])
    }

    fn each_line_from(&mut self, file: &File, mut each: impl FnMut(&[u8])) -> Option<()> {
        // The beginning of a line whose end is not read yet, or the end of one that is left out.
        let (mut kept, mut is_cut) = (0, false);
        let mut offset = 0;
        while offset < MOST_BYTES {
            let read = match file.read_at(&mut self.0[kept..], offset) {
                Ok(0) => {
                    if kept > 0 && !is_cut {
                        each(&self.0[..kept]);
                    }
                    return Some(());
                }
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            offset += read as u64;
            let filled = kept + read;
            let mut start = 0;
            while let Some(length) = self.0[start..filled].iter().position(|byte| *byte == b'\n') {
                if !is_cut {
                    each(&self.0[start..start + length]);
                }
                is_cut = false;
                start += length + 1;
            }
            kept = filled - start;
            if kept == self.0.len() {
                (kept, is_cut) = (0, true);
            } else {
                self.0.copy_within(start..filled, 0);
            }
        }
        Some(())
    }
}

/// A file that may not exist: then every reading of it is absent, and costs nothing until [`reopen`](Self::reopen).
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
}

impl KeptFile {
    pub(super) fn open(path: PathBuf) -> Self {
        let file = File::open(&path).ok();
        Self { path, file }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was there, and every reading since has succeeded.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Looks again for a file that was not there, or whose reading failed.
    pub(super) fn reopen(&mut self) {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
    }

    /// Everything in the file; `None` when it is not there or can no longer be read.
    pub(super) fn read<'a>(&mut self, scratch: &'a mut Scratch) -> Option<&'a [u8]> {
        let content = scratch.read_from(self.file.as_ref()?);
        if content.is_none() {
            self.file = None;
        }
        content
    }

    /// The file line by line; see [`Scratch::each_line`].
    pub(super) fn each_line(&mut self, scratch: &mut Scratch, each: impl FnMut(&[u8])) -> Option<()> {
        let read = scratch.each_line_from(self.file.as_ref()?, each);
        if read.is_none() {
            self.file = None;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_is_read_from_the_start_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counter");
        std::fs::write(&path, "1\n").unwrap();
        let (mut scratch, mut file) = (Scratch::new(), KeptFile::open(path.clone()));
        assert_eq!(file.read(&mut scratch), Some(&b"1\n"[..]));
        std::fs::write(&path, "23\n").unwrap();
        assert_eq!(file.read(&mut scratch), Some(&b"23\n"[..]));
    }

    #[test]
    fn a_missing_file_is_absent_until_it_appears_and_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later");
        let (mut scratch, mut file) = (Scratch::new(), KeptFile::open(path.clone()));
        assert_eq!(file.read(&mut scratch), None);
        std::fs::write(&path, "7").unwrap();
        assert_eq!(file.read(&mut scratch), None);
        file.reopen();
        assert_eq!(file.read(&mut scratch), Some(&b"7"[..]));
    }

    #[test]
    fn an_endless_file_is_cut_after_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        std::fs::write(&path, "eth0 12345\n".repeat(10_000)).unwrap();
        let mut scratch = Scratch::new();
        let content = scratch.read(&path).unwrap();
        assert!(content.len() <= SCRATCH_BYTES && content.ends_with(b"12345\n"));
        std::fs::write(&path, vec![b'x'; 2 * SCRATCH_BYTES]).unwrap();
        assert_eq!(scratch.read(&path), Some(&b""[..]));
    }

    #[test]
    fn lines_of_a_file_longer_than_the_buffer_come_whole_and_a_huge_one_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mountinfo");
        let mut expected: Vec<String> = (0..5_000).map(|number| format!("line {number}")).collect();
        let mut content = expected.clone();
        content.insert(2_500, "x".repeat(3 * SCRATCH_BYTES + 7));
        // The last one ends without a newline.
        std::fs::write(&path, content.join("\n")).unwrap();
        let mut lines = Vec::new();
        let read = Scratch::new().each_line(&path, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
        assert_eq!(read, Some(()));
        expected.sort();
        lines.sort();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let mut lines = 0_u64;
        let read = Scratch::new().each_line(Path::new("/dev/zero"), |_| lines += 1);
        assert_eq!((read, lines), (Some(()), 0));
    }
}
