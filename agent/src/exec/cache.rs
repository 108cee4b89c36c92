//! What came last, kept for the next call: sealed with a key that only the token gives.
//!
//! One file for each control plane, project, environment and token. Its key is HKDF-SHA256 (RFC 5869) of the token with a
//! salt of the file's own, so that no key is ever used twice and the nonce need not be stored; it is sealed with
//! AES-256-GCM for its exact place. Neither the file nor its name says what it is for: without the token both are
//! noise. A token of the control plane has 256 random bits, so there is nothing to guess.
//!
//! Nothing is synchronised to the disk: what a power cut tears does not open, and is fetched again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outrigger_protocol::id::{EnvironmentId, ProjectId};
use outrigger_protocol::limits::CONTROL_TO_AGENT_BYTES;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::Fetched;
use crate::state_dir::{StateDirError, make_private};

/// Form and version, the first bytes of every file.
const MAGIC: &[u8; 8] = b"ogrexec1";
const SALT: usize = 32;
const KEY: usize = 32;
const TAG: usize = 16;
/// When it came, project, environment, generation, hash.
const HEAD: usize = 8 + 16 + 16 + 8 + 32;
const FILE_BYTES: u64 = (MAGIC.len() + SALT + HEAD + TAG) as u64 + CONTROL_TO_AGENT_BYTES as u64;
/// Files that are kept in a directory, the newest.
const FILES: usize = 64;
/// Digits of a file's name: which token it belongs to, and what it holds.
const TOKEN_DIGITS: usize = 16;
const PLACE_DIGITS: usize = 32;

#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Directory(#[from] StateDirError),
    #[error("cannot {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not open: it is damaged, or was put there by somebody else")]
    Sealed { path: PathBuf },
    #[error("no randomness")]
    Randomness(#[source] getrandom::Error),
}

/// What a file is for.
pub(super) struct Place<'a> {
    pub(super) control_plane: &'a str,
    pub(super) server_name: &'a str,
    pub(super) project: Option<&'a str>,
    pub(super) environment: &'a str,
}

impl Place<'_> {
    /// All of it without ambiguity: each part behind its length, an absent one behind none.
    fn encode(&self) -> Vec<u8> {
        let parts = [Some(self.control_plane), Some(self.server_name), self.project, Some(self.environment)];
        let mut bytes = Vec::new();
        for part in parts {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        bytes
    }
}

/// What is no longer to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Environment,
    /// Everything that came for this token.
    Token,
}

/// What came, and when.
pub(super) struct Kept {
    pub(super) fetched: Fetched,
    stored: UnixMillis,
}

impl Kept {
    /// `None` when the clock went back: then nobody knows.
    pub(super) fn age(&self, now: UnixMillis) -> Option<Duration> {
        (self.stored <= now).then(|| now.since(self.stored))
    }

    pub(super) fn is_younger_than(&self, limit: Duration, now: UnixMillis) -> bool {
        self.age(now).is_some_and(|age| age < limit)
    }
}

/// The file of one place and one token.
pub(super) struct Cache {
    directory: PathBuf,
    token: Zeroizing<Vec<u8>>,
    place: Vec<u8>,
    token_name: String,
    name: String,
}

impl Cache {
    pub(super) fn new(directory: &Path, place: &Place<'_>, token: &str) -> Self {
        let place = place.encode();
        let token = token.as_bytes();
        let token_name = hex(&derive::<{ TOKEN_DIGITS / 2 }>(b"", token, &[b"outrigger exec cache: token 1"])[..]);
        let of_place = derive::<{ PLACE_DIGITS / 2 }>(b"", token, &[b"outrigger exec cache: place 1", &place]);
        let name = format!("{token_name}-{}", hex(&of_place[..]));
        Self { directory: directory.to_owned(), token: Zeroizing::new(token.to_vec()), place, token_name, name }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// What is kept; `None` when nothing is.
    pub(super) fn load(&self) -> Result<Option<Kept>, CacheError> {
        let path = self.path();
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("open", &path)(error)),
        };
        let length = file.metadata().map_err(at("read", &path))?.len();
        let capacity = usize::try_from(length.min(FILE_BYTES)).unwrap_or_default();
        let mut content = Zeroizing::new(Vec::with_capacity(capacity));
        file.take(FILE_BYTES).read_to_end(&mut content).map_err(at("read", &path))?;
        self.open(&mut content).map(Some).ok_or(CacheError::Sealed { path })
    }

    fn open(&self, content: &mut [u8]) -> Option<Kept> {
        let (magic, rest) = content.split_first_chunk_mut::<{ MAGIC.len() }>()?;
        if magic != MAGIC {
            return None;
        }
        let (salt, sealed) = rest.split_first_chunk_mut::<SALT>()?;
        let (key, nonce) = self.key(salt)?;
        let plaintext = key.open_in_place(nonce, Aad::from(&self.place), sealed).ok()?;
        let (stored, rest) = plaintext.split_first_chunk::<8>()?;
        let (project, rest) = rest.split_first_chunk::<16>()?;
        let (environment, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (hash, environment_bytes) = rest.split_first_chunk::<32>()?;
        let fetched = Fetched {
            project: ProjectId::from_bytes(*project),
            environment: EnvironmentId::from_bytes(*environment),
            config: ConfigRef { generation: u64::from_be_bytes(*generation), hash: *hash },
            plaintext: Zeroizing::new(environment_bytes.to_vec()),
        };
        Some(Kept { fetched, stored: UnixMillis::from_millis(u64::from_be_bytes(*stored)) })
    }

    /// Keeps this instead of what was kept.
    pub(super) fn store(&self, fetched: &Fetched, now: UnixMillis) -> Result<(), CacheError> {
        make_private(&self.directory)?;
        let content = self.seal(fetched, now)?;
        let path = self.path();
        let temporary = self.directory.join(format!("{}.{}.new", self.name, std::process::id()));
        // Left behind by a process of this number that was killed while it wrote.
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let write = |mut file: File| file.write_all(&content).and_then(|()| fs::rename(&temporary, &path));
        options.open(&temporary).and_then(write).map_err(|error| {
            let _ = fs::remove_file(&temporary);
            at("write", &path)(error)
        })?;
        self.prune();
        Ok(())
    }

    fn seal(&self, fetched: &Fetched, now: UnixMillis) -> Result<Vec<u8>, CacheError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(CacheError::Randomness)?;
        // The exact capacity: a buffer that grew would leave plaintext behind in freed memory.
        let mut sealed = Vec::with_capacity(HEAD + fetched.plaintext.len() + TAG);
        sealed.extend_from_slice(&now.as_millis().to_be_bytes());
        sealed.extend_from_slice(&fetched.project.to_bytes());
        sealed.extend_from_slice(&fetched.environment.to_bytes());
        sealed.extend_from_slice(&fetched.config.generation.to_be_bytes());
        sealed.extend_from_slice(&fetched.config.hash);
        sealed.extend_from_slice(&fetched.plaintext);
        let mut sealed = Zeroizing::new(sealed);
        let done = self
            .key(&salt)
            .and_then(|(key, nonce)| key.seal_in_place_append_tag(nonce, Aad::from(&self.place), &mut *sealed).ok());
        done.ok_or_else(|| CacheError::Sealed { path: self.path() })?;
        Ok([MAGIC.as_slice(), &salt, &sealed].concat())
    }

    /// The key of one file, and the only nonce that it is used with.
    fn key(&self, salt: &[u8; SALT]) -> Option<(LessSafeKey, Nonce)> {
        let material = derive::<{ KEY + NONCE_LEN }>(salt, &self.token, &[b"outrigger exec cache: key 1", &self.place]);
        let (key, nonce) = material.split_first_chunk::<KEY>()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        Some((key, Nonce::try_assume_unique_for_key(nonce).ok()?))
    }

    /// Deletes what is kept.
    pub(super) fn forget(&self, scope: Scope) -> Result<(), CacheError> {
        if scope == Scope::Environment {
            return remove(&self.path());
        }
        for path in self.files()?.into_iter().map(|(path, _)| path) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.split('-').next() == Some(&self.token_name) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The oldest files go. What cannot be deleted now will be the next time.
    fn prune(&self) {
        let Ok(mut files) = self.files() else { return };
        files.sort_unstable_by_key(|(_, modified)| std::cmp::Reverse(*modified));
        files.iter().skip(FILES).for_each(|(path, _)| drop(remove(path)));
    }

    /// Files of this kind, and when they were written; another's in the same directory are not touched.
    fn files(&self) -> Result<Vec<(PathBuf, SystemTime)>, CacheError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("read", &self.directory)(error)),
        };
        let ours = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_name));
        Ok(ours.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?))).collect())
    }
}

/// A file's name, also while it is being written.
fn is_name(name: &str) -> bool {
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_once('-').is_some_and(|(token, place)| {
        is_hex(token, TOKEN_DIGITS) && is_hex(place.split('.').next().unwrap_or_default(), PLACE_DIGITS)
    })
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("delete", path)(error)),
        _ => Ok(()),
    }
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Io { operation, path, source }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256.
fn derive<const N: usize>(salt: &[u8], token: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut material = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA256, salt)
        .extract(token)
        .expand(info, Length(N))
        .and_then(|derived| derived.fill(material.as_mut_slice()))
        .expect("fewer bytes than 255 hashes have, and as many as were asked for");
    material
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const TOKEN: &str = "ogr_0123_a-token-of-many-random-bits";
    const CANARY: &[u8] = b"canary-in-the-environment";

    fn place<'a>() -> Place<'a> {
        Place { control_plane: "127.0.0.1:7701", server_name: "outrigger", project: None, environment: "staging" }
    }

    fn fetched() -> Fetched {
        Fetched {
            project: ProjectId::from_bytes([1; 16]),
            environment: EnvironmentId::from_bytes([2; 16]),
            config: ConfigRef { generation: 7, hash: [3; 32] },
            plaintext: Zeroizing::new(CANARY.to_vec()),
        }
    }

    const fn at_millis(millis: u64) -> UnixMillis {
        UnixMillis::from_millis(millis)
    }

    fn stored() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(&directory.path().join("deep/cache"), &place(), TOKEN);
        assert!(cache.load().expect("nothing").is_none());
        cache.store(&fetched(), at_millis(1_000)).expect("stored");
        (directory, cache)
    }

    #[test]
    fn what_was_kept_comes_back_with_its_age() {
        let (_directory, cache) = stored();
        let kept = cache.load().expect("readable").expect("kept");
        assert_eq!(kept.fetched.plaintext.as_slice(), CANARY);
        assert_eq!(kept.fetched.config, fetched().config);
        assert!(kept.is_younger_than(Duration::from_secs(2), at_millis(2_000)));
        assert!(!kept.is_younger_than(Duration::from_secs(1), at_millis(2_000)));
        assert!(!kept.is_younger_than(Duration::ZERO, at_millis(1_000)), "zero is: always ask");
        assert!(!kept.is_younger_than(Duration::from_secs(9), at_millis(999)), "a clock that went back says nothing");
    }

    #[test]
    fn the_file_is_private_and_says_nothing() {
        let (_directory, cache) = stored();
        let content = fs::read(cache.path()).expect("there");
        let shows = |marker: &[u8]| content.windows(marker.len()).any(|window| window == marker);
        assert!(!shows(CANARY) && !shows(TOKEN.as_bytes()) && !shows(b"staging") && !shows(b"127.0.0.1"));
        assert!(!cache.name.contains("0123") && !cache.name.contains("staging"));
        assert_eq!(fs::metadata(cache.path()).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&cache.directory).expect("there").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&cache.directory).expect("there").count(), 1, "no temporary file stays");
        cache.store(&fetched(), at_millis(1_000)).expect("stored");
        assert_ne!(fs::read(cache.path()).expect("there"), content, "a key of its own each time");
    }

    #[test]
    fn another_token_or_place_finds_nothing_and_opens_nothing() {
        let (_directory, cache) = stored();
        let others = [
            Cache::new(&cache.directory, &place(), "another-token"),
            Cache::new(&cache.directory, &Place { project: Some(""), ..place() }, TOKEN),
            Cache::new(&cache.directory, &Place { environment: "production", ..place() }, TOKEN),
            Cache::new(&cache.directory, &Place { control_plane: "127.0.0.1:7702", ..place() }, TOKEN),
            Cache::new(&cache.directory, &Place { server_name: "other", ..place() }, TOKEN),
        ];
        for other in others {
            assert!(other.load().expect("nothing").is_none());
            fs::copy(cache.path(), other.path()).expect("copied");
            assert!(matches!(other.load(), Err(CacheError::Sealed { .. })), "a file cannot be moved");
        }
    }

    #[test]
    fn every_damage_is_noticed() {
        let (_directory, cache) = stored();
        let whole = fs::read(cache.path()).expect("there");
        for length in 0..whole.len() {
            fs::write(cache.path(), &whole[..length]).expect("written");
            assert!(cache.load().is_err(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(cache.path(), damaged).expect("written");
            assert!(cache.load().is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_is_to_be_forgotten_is_deleted_and_nothing_else() {
        let (_directory, cache) = stored();
        let other_place = Cache::new(&cache.directory, &Place { environment: "production", ..place() }, TOKEN);
        let other_token = Cache::new(&cache.directory, &place(), "another-token");
        let foreign = cache.directory.join("notes.txt");
        other_place.store(&fetched(), at_millis(1)).expect("stored");
        other_token.store(&fetched(), at_millis(1)).expect("stored");
        fs::write(&foreign, "x").expect("written");
        cache.forget(Scope::Environment).expect("deleted");
        assert!(!cache.path().exists() && other_place.path().exists());
        cache.forget(Scope::Token).expect("deleted");
        assert!(!other_place.path().exists() && other_token.path().exists() && foreign.exists());
        fs::remove_dir_all(&cache.directory).expect("deleted");
        cache.forget(Scope::Token).expect("nothing to delete");
    }

    #[test]
    fn old_files_make_room() {
        let (_directory, cache) = stored();
        for number in 0..FILES + 5 {
            let environment = format!("staging/{number}");
            let place = Place { environment: &environment, ..place() };
            Cache::new(&cache.directory, &place, TOKEN).store(&fetched(), at_millis(1)).expect("stored");
        }
        assert_eq!(cache.files().expect("listed").len(), FILES);
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed_before_anything_is_kept() {
        let (_directory, cache) = stored();
        fs::set_permissions(&cache.directory, PermissionsExt::from_mode(0o755)).expect("changed");
        cache.store(&fetched(), at_millis(1)).expect("stored");
        assert_eq!(fs::metadata(&cache.directory).expect("there").mode() & 0o777, 0o700);
    }
}
