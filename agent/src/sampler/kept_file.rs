//! Files of procfs and cgroupfs that stay open and are read again from the start.
//!
//! A `pread` on an open descriptor costs a third of open, read and close, and a descriptor of `/proc/PID` keeps
//! meaning that process: after its death reads fail, even when the number is in use again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read of one file. What is longer is cut after its last whole line.
const SCRATCH_BYTES: usize = 16 * 1024;

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

    fn read_from(&mut self, file: &File) -> Option<&[u8]> {
        let mut filled = 0;
        while filled < self.0.len() {
            match file.read_at(&mut self.0[filled..], filled as u64) {
                Ok(0) => return Some(&self.0[..filled]),
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let whole_lines = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Some(&self.0[..whole_lines])
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
}
