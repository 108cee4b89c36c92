//! The agent's directory: private, owned by one agent at a time, and never left with half a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use outrigger_protocol::time::UnixMillis;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

const LOCK: &str = "lock";
const EPOCH: &str = "epoch";

#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("cannot {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent uses the state directory {path} (process {pid}); each agent needs its own (--state-dir)")]
    InUse { path: PathBuf, pid: String },
    #[error("{path} belongs to user {owner} and may be read by it; the directory must be the agent's own")]
    Foreign { path: PathBuf, owner: u32 },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: PathBuf, limit: u64 },
}

/// The directory, locked for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Creates the directory when it is absent (mode 0700), closes it to others, and takes the lock.
    ///
    /// # Errors
    /// It cannot be created or written, belongs to somebody else, or another agent holds it.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        make_private(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock(path)? })
    }

    /// The path of a file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file; `None` when it is absent.
    ///
    /// # Errors
    /// It cannot be read, or is larger than `limit`.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, StateDirError> {
        let path = self.file(name);
        let failed = |operation| at(operation, &path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        let length = file.metadata().map_err(failed("read"))?.len();
        if length > limit {
            return Err(StateDirError::TooLarge { path, limit });
        }
        // The exact capacity: a buffer that grew would leave secrets behind in freed memory.
        let capacity = usize::try_from(length).unwrap_or(usize::MAX);
        let mut content = Zeroizing::new(Vec::with_capacity(capacity));
        file.take(length).read_to_end(&mut content).map_err(failed("read"))?;
        Ok(Some(content))
    }

    /// Replaces a file (mode 0600): after a crash it is the old one or the new one, whole.
    ///
    /// # Errors
    /// The directory cannot be written, or there is no space.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), StateDirError> {
        let path = self.file(name);
        let temporary = self.file(&format!("{name}.new"));
        let write = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            // The rename itself lives in the directory.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(at("write", &path))
    }

    /// A number for this process that no earlier one of this directory had: the time, or one more than last time when
    /// the clock went back. Written without waiting for the disk: losing it matters only together with such a clock.
    #[must_use]
    pub fn next_epoch(&self, now: UnixMillis) -> u64 {
        let path = self.file(EPOCH);
        let last: Option<u64> = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let epoch = last.map_or(now.as_millis(), |last| now.as_millis().max(last.saturating_add(1)));
        if let Err(error) = fs::write(&path, format!("{epoch}\n")) {
            tracing::warn!(%error, "the epoch of this process is not written down");
        }
        epoch
    }

    /// Deletes a file; an absent one is fine.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), StateDirError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("delete", &path)(error)),
            _ => Ok(()),
        }
    }
}

/// Makes a directory that only its owner may look into, or closes one to others.
///
/// # Errors
/// It cannot be made or closed, or belongs to somebody else.
pub(crate) fn make_private(path: &Path) -> Result<(), StateDirError> {
    let failed = |operation| at(operation, path);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
    let metadata = fs::metadata(path).map_err(failed("read"))?;
    let own = rustix::process::geteuid();
    if metadata.uid() != own.as_raw() && !own.is_root() {
        return Err(StateDirError::Foreign { path: path.to_owned(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(failed("close to others"))?;
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, StateDirError> {
    let path = directory.join(LOCK);
    let failed = |operation| at(operation, &path);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed("open"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(StateDirError::InUse { path: directory.to_owned(), pid });
        }
        Err(error) => return Err(failed("lock")(error.into())),
    }
    // Only a hint for the message above; the lock is what counts.
    file.set_len(0).map_err(failed("write"))?;
    writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
    Ok(file)
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError + use<> {
    let path = path.to_owned();
    move |source| StateDirError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_and_its_files_are_private() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("a/b");
        let state = StateDir::open(&path).expect("opened");
        state.replace("identity", b"one").expect("written");
        state.replace("identity", b"two").expect("replaced");
        assert_eq!(state.read("identity", 10).expect("read").expect("there").as_slice(), b"two");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.file("identity")).expect("there").mode() & 0o777, 0o600);
        state.remove("identity").expect("deleted");
        state.remove("identity").expect("absent is fine");
        assert!(state.read("identity", 10).expect("read").is_none());
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed() {
        let parent = tempfile::tempdir().expect("a directory");
        fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).expect("changed");
        let _state = StateDir::open(parent.path()).expect("opened");
        assert_eq!(fs::metadata(parent.path()).expect("there").mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_agent_is_told_who_is_there() {
        let parent = tempfile::tempdir().expect("a directory");
        let first = StateDir::open(parent.path()).expect("opened");
        let error = StateDir::open(parent.path()).expect_err("in use").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        StateDir::open(parent.path()).expect("free again");
    }

    #[test]
    fn epochs_only_grow_even_when_the_clock_goes_back() {
        let parent = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(parent.path()).expect("opened");
        assert_eq!(state.next_epoch(UnixMillis::from_millis(1_000)), 1_000);
        assert_eq!(state.next_epoch(UnixMillis::from_millis(500)), 1_001);
        assert_eq!(state.next_epoch(UnixMillis::from_millis(2_000)), 2_000);
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let parent = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(parent.path()).expect("opened");
        state.replace("identity", &[0; 11]).expect("written");
        assert!(matches!(state.read("identity", 10), Err(StateDirError::TooLarge { .. })));
    }
}
