//! Compiled policies on disk.
//!
//! To load compiled code is to run it, so an entry is believed only if this host sealed it: an HMAC-SHA256 over the
//! component's digest, the engine's compatibility hash and the code, under a key that the caller keeps outside the
//! directory. The directory is private; files are written beside their place and renamed into it. An entry that does
//! not verify is treated as absent and written anew.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;

use crate::digest::Digest;
use crate::limits::COMPILED_BYTES;

/// First bytes of an entry; changes with its layout.
const MAGIC: &[u8; 8] = b"outrgcc1";
const TAG_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + TAG_BYTES;
const EXTENSION: &str = "compiled";

/// Where compiled policies are kept.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// Created with mode 0700 if absent; refused if it belongs to somebody else or others may write to it.
    pub directory: PathBuf,
    pub key: CacheKey,
    /// What all entries together may take; the oldest go first.
    pub max_bytes: u64,
}

/// What entries are sealed with. It must not lie in the cache's directory.
#[derive(Clone)]
pub struct CacheKey(hmac::Key);

impl CacheKey {
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(…)")
    }
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot create the policy cache {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot read the policy cache {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the policy cache {} is open to others (mode {mode:o}, owner {owner}): it must be ours, with mode 700", path.display())]
    Exposed { path: PathBuf, mode: u32, owner: u32 },
    #[error("cannot write the policy cache entry {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The entries of one engine in one directory.
#[derive(Debug)]
pub(crate) struct Cache {
    config: CacheConfig,
    engine: Digest,
    writes: AtomicU64,
}

impl Cache {
    pub(crate) fn open(config: CacheConfig, engine: Digest) -> Result<Self, CacheError> {
        let path = &config.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| CacheError::Create { path: path.clone(), source })?;
        let metadata = fs::symlink_metadata(path).map_err(|source| CacheError::Read { path: path.clone(), source })?;
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        if !metadata.is_dir() || mode & 0o077 != 0 || owner != rustix::process::geteuid().as_raw() {
            return Err(CacheError::Exposed { path: path.clone(), mode, owner });
        }
        Ok(Self { config, engine, writes: AtomicU64::new(0) })
    }

    /// The compiled code of a component, if there is an entry and it is ours.
    pub(crate) fn read(&self, component: &Digest) -> Option<Vec<u8>> {
        let path = self.path(component);
        let mut entry = match read_bounded(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a compiled policy, compiling it again");
                return None;
            }
        };
        let sealed = entry.len() >= HEAD_BYTES
            && entry.starts_with(MAGIC)
            && hmac::verify(
                &self.config.key.0,
                &self.message(component, &entry[HEAD_BYTES..]),
                &entry[MAGIC.len()..HEAD_BYTES],
            )
            .is_ok();
        if !sealed {
            tracing::warn!(path = %path.display(), "a compiled policy does not carry our seal, compiling it again");
            return None;
        }
        entry.drain(..HEAD_BYTES);
        Some(entry)
    }

    /// Writes an entry, atomically, and makes room for it first.
    pub(crate) fn write(&self, component: &Digest, compiled: &[u8]) -> Result<(), CacheError> {
        self.make_room(HEAD_BYTES + compiled.len());
        let path = self.path(component);
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{number}.part", std::process::id()));
        let tag = hmac::sign(&self.config.key.0, &self.message(component, compiled));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(MAGIC)?;
                file.write_all(tag.as_ref())?;
                file.write_all(compiled)
            })
            .and_then(|()| fs::rename(&beside, &path));
        written.map_err(|source| {
            // Whatever stands there is of no use; that it may not exist is fine.
            let _ = fs::remove_file(&beside);
            CacheError::Write { path, source }
        })
    }

    /// Removes the oldest entries until `bytes` more fit. What cannot be removed is left to the next time.
    fn make_room(&self, bytes: usize) {
        let mut entries: Vec<(std::time::SystemTime, u64, PathBuf)> = fs::read_dir(&self.config.directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        entries.sort();
        let mut total = entries.iter().map(|(_, size, _)| size).sum::<u64>() + bytes as u64;
        for (_, size, path) in entries {
            if total <= self.config.max_bytes {
                return;
            }
            if fs::remove_file(&path).is_ok() {
                total -= size;
            }
        }
    }

    fn path(&self, component: &Digest) -> PathBuf {
        self.config.directory.join(format!("{component}-{}.{EXTENSION}", self.engine))
    }

    /// What the seal is over. Everything before the code has a fixed length, so no two entries read alike.
    fn message(&self, component: &Digest, compiled: &[u8]) -> Vec<u8> {
        [MAGIC.as_slice(), component.as_bytes(), self.engine.as_bytes(), compiled].concat()
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let limit = (COMPILED_BYTES + HEAD_BYTES) as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any compiled policy"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(directory: &Path, secret: u8) -> CacheConfig {
        CacheConfig { directory: directory.join("cache"), key: CacheKey::new(&[secret; 32]), max_bytes: 1000 }
    }

    fn open(directory: &Path) -> Cache {
        Cache::open(config(directory, 1), Digest::of(b"engine")).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_and_only_under_its_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path());
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        cache.write(&one, b"code").unwrap();
        assert_eq!(cache.read(&one).as_deref(), Some(b"code".as_slice()));
        assert_eq!(cache.read(&other), None);
        fs::copy(cache.path(&one), cache.path(&other)).unwrap();
        assert_eq!(cache.read(&other), None, "an entry that was moved to another component's name");
    }

    #[test]
    fn an_entry_with_one_changed_bit_is_absent_and_can_be_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path());
        let digest = Digest::of(b"one");
        cache.write(&digest, b"code").unwrap();
        let good = fs::read(cache.path(&digest)).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(cache.path(&digest), bad).unwrap();
            assert_eq!(cache.read(&digest), None, "byte {position}");
        }
        fs::write(cache.path(&digest), &good[..HEAD_BYTES - 1]).unwrap();
        assert_eq!(cache.read(&digest), None, "a torn entry");
        cache.write(&digest, b"code").unwrap();
        assert_eq!(cache.read(&digest).as_deref(), Some(b"code".as_slice()));
    }

    #[test]
    fn another_key_or_another_engine_reads_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"one");
        let cache = open(directory.path());
        cache.write(&digest, b"code").unwrap();
        let foreign = Cache::open(config(directory.path(), 2), Digest::of(b"engine")).unwrap();
        assert_eq!(foreign.read(&digest), None);
        let newer = Cache::open(config(directory.path(), 1), Digest::of(b"newer engine")).unwrap();
        fs::copy(cache.path(&digest), newer.path(&digest)).unwrap();
        assert_eq!(newer.read(&digest), None);
    }

    #[test]
    fn the_directory_is_private_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.config.directory), 0o700);
        cache.write(&Digest::of(b"one"), b"code").unwrap();
        assert_eq!(mode(&cache.path(&Digest::of(b"one"))), 0o600);
        fs::set_permissions(&cache.config.directory, fs::Permissions::from_mode(0o770)).unwrap();
        let error = Cache::open(config(directory.path(), 1), Digest::of(b"engine")).unwrap_err();
        assert!(matches!(error, CacheError::Exposed { mode: 0o770, .. }), "{error}");
    }

    #[test]
    fn the_oldest_entries_make_room() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path());
        for name in 0..10_u8 {
            cache.write(&Digest::of(&[name]), &[0; 300]).unwrap();
            let file = File::options().write(true).open(cache.path(&Digest::of(&[name]))).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(name))).unwrap();
        }
        let kept: Vec<u8> = (0..10).filter(|name| cache.read(&Digest::of(&[*name])).is_some()).collect();
        assert_eq!(kept, [8, 9]);
    }
}
