//! The environment as a file, for programs that read it again on a signal.
//!
//! `KEY='value'`, one per line: a POSIX shell can source it and the dotenv libraries can parse it. Values may span lines.
//! The file is replaced atomically, belongs to the program's user, mode 0600, and should live on tmpfs: plaintext has
//! no business on a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use zeroize::Zeroizing;

/// Where shared memory is mounted: always tmpfs, on every distribution.
const SHARED_MEMORY: &str = "/dev/shm";

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
const MEMORY_FILESYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentFileError {
    #[error("cannot {operation} the environment file {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nobody has said that it may be on a disk.
    #[error("the environment file {path} would be on a disk, not on tmpfs: name one with --env-file")]
    OnDisk { path: PathBuf },
}

/// An environment file, removed when dropped.
#[derive(Debug)]
pub struct EnvironmentFile {
    path: PathBuf,
    /// The operator named it, and answers for where it is.
    named: bool,
    owner: Option<(Uid, Gid)>,
    written: bool,
}

impl EnvironmentFile {
    /// Writes to `path`, or to shared memory under a name of this instance. The owner is the program's user, when it is
    /// another one.
    #[must_use]
    pub fn new(path: Option<PathBuf>, instance: &str, owner: Option<(Uid, Gid)>) -> Self {
        let named = path.is_some();
        let path = path.unwrap_or_else(|| Path::new(SHARED_MEMORY).join(format!("outrigger-{instance}.env")));
        Self { path, named, owner, written: false }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content.
    ///
    /// # Errors
    /// The directory is absent or not writable, there is no space, or it is on a disk and nobody has named it.
    pub fn write(&mut self, content: &[u8]) -> Result<(), EnvironmentFileError> {
        if !self.written {
            self.check_place()?;
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let temporary = PathBuf::from(name);
        let failed = |operation| {
            let path = self.path.clone();
            move |source| EnvironmentFileError::Io { operation, path, source }
        };
        // Left behind by an agent that was killed while it wrote.
        let _ = std::fs::remove_file(&temporary);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary)
            .map_err(failed("create"))?;
        let replaced =
            self.fill(file, content).and_then(|()| std::fs::rename(&temporary, &self.path)).map_err(failed("write"));
        match replaced {
            Ok(()) => self.written = true,
            Err(_) => drop(std::fs::remove_file(&temporary)),
        }
        replaced
    }

    fn fill(&self, mut file: File, content: &[u8]) -> io::Result<()> {
        // The umask may have taken bits away, and the mode must not depend on it.
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        file.write_all(content)
    }

    /// Plaintext goes to a disk only where the operator wants it, who is warned all the same.
    fn check_place(&self) -> Result<(), EnvironmentFileError> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A directory that is not there is told by whoever writes to it.
        let on_disk = rustix::fs::statfs(directory).is_ok_and(|filesystem| {
            !MEMORY_FILESYSTEMS.iter().any(|magic| u64::try_from(filesystem.f_type) == Ok(*magic))
        });
        if on_disk && !self.named {
            return Err(EnvironmentFileError::OnDisk { path: self.path.clone() });
        }
        if on_disk {
            tracing::warn!(path = %self.path.display(), "environment file is not on tmpfs: plaintext may reach a disk");
        }
        Ok(())
    }
}

impl Drop for EnvironmentFile {
    fn drop(&mut self) {
        if self.written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The file's text for these variables, in their order.
#[must_use]
pub(super) fn render<'a>(variables: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Zeroizing<Vec<u8>> {
    // Quoting at most doubles a value; the exact bound avoids a buffer that grows and leaves plaintext behind.
    let bound = variables.clone().map(|(name, value)| name.len() + 2 * value.len() + 4).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(bound));
    for (name, value) in variables {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        quote(value, &mut text);
        text.push(b'\n');
    }
    text
}

/// Single quotes take everything but themselves literally; a value that has one goes into double quotes, where four
/// characters are escaped.
fn quote(value: &str, text: &mut Vec<u8>) {
    if !value.contains('\'') {
        text.push(b'\'');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\'');
        return;
    }
    text.push(b'"');
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(value: &str) -> String {
        String::from_utf8(render([("A", value)].into_iter()).to_vec()).expect("text")
    }

    #[test]
    fn values_are_quoted_for_shells_and_dotenv() {
        assert_eq!(rendered("plain"), "A='plain'\n");
        assert_eq!(rendered(""), "A=''\n");
        assert_eq!(rendered("two\nlines $HOME"), "A='two\nlines $HOME'\n");
        assert_eq!(rendered("it's \"$5\" \\ `x`"), "A=\"it's \\\"\\$5\\\" \\\\ \\`x\\`\"\n");
    }

    #[test]
    fn the_file_is_private_replaced_whole_and_removed_at_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("program.env");
        let mut file = EnvironmentFile::new(Some(path.clone()), "ins_1", None);
        file.write(b"A='1'\n").expect("written");
        file.write(b"A='2'\n").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("there"), b"A='2'\n");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "no temporary file stays");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_disk_is_written_to_only_where_it_was_named() {
        // Neither tmpfs nor ramfs, whatever the machine.
        let path = Path::new("/proc/self/program.env");
        let mut file = EnvironmentFile::new(Some(path.into()), "ins_1", None);
        file.named = false;
        let error = file.write(b"A='hidden'\n").expect_err("not in memory").to_string();
        assert!(error.contains("--env-file") && !error.contains("hidden"), "{error}");
        let mut file = EnvironmentFile::new(Some(path.into()), "ins_1", None);
        assert!(matches!(file.write(b""), Err(EnvironmentFileError::Io { .. })), "it was tried");
    }

    #[test]
    fn a_failure_names_the_path_and_no_value() {
        let mut file = EnvironmentFile::new(Some("/nonexistent/program.env".into()), "ins_1", None);
        let error = file.write(b"A='hidden'\n").expect_err("no such directory");
        assert_eq!(error.to_string(), "cannot create the environment file /nonexistent/program.env");
    }
}
