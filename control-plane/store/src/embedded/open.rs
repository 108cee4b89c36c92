//! Opening: look first, touch later.
//!
//! A file is first opened over a scratch layer, where redb may repair it and the schema is read, all in memory.
//! Only a file that is whole and ours is then opened for writing. A new one is built under another name and
//! renamed into place, because redb cannot open what a crash leaves of its very first write.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, StorageError};

use super::engine::{Engine, contained, open_database};
use super::group::Head;
use super::medium::{Medium, Session};
use super::migrations::{MIGRATIONS, Migration, MigrationError, migrate, newest, schema_version};
use super::reader;
use super::stop::Stop;
use crate::error::Cause;
use crate::open_error::OpenError;

/// What every redb file starts with (redb's `docs/design.md`, "Database header").
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];

/// How to open.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenOptionsOf {
    pub(super) cache_bytes: usize,
    pub(super) verify_up_to_bytes: u64,
}

/// A place where a database is being opened.
struct Opening<'a> {
    path: &'a Path,
    options: OpenOptionsOf,
    migrations: &'static [Migration],
}

/// Opens the database in the file at `path`, or creates it.
pub(super) fn open_file(path: &Path, options: OpenOptionsOf) -> Result<Engine, OpenError> {
    let opening = Opening { path, options, migrations: MIGRATIONS };
    match existing(path) {
        Ok(Some(file)) => opening.start(file_medium(path, file)?),
        Ok(None) => opening.create_file(),
        Err(source) => Err(OpenError::Open { path: path.to_owned(), source }),
    }
}

/// Opens the database in the file at `path` over a scratch layer: whatever is done with it, the file keeps every byte.
pub(super) fn inspect_file(path: &Path, options: OpenOptionsOf) -> Result<Engine, OpenError> {
    let opening = Opening { path, options, migrations: MIGRATIONS };
    let file = existing(path).and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into()));
    let medium = file_medium(path, file.map_err(|source| opening.open_error(source))?)?;
    // A file that somebody writes to would look torn.
    if !medium.lock_whole().map_err(|source| opening.open_error(source))? {
        return Err(OpenError::Locked { path: path.to_owned() });
    }
    let session = Session::scratch(&medium).map_err(|source| opening.open_error(source))?;
    opening.start(Medium::new(session.backend()))
}

/// Opens the database in `medium`, or creates it if that is empty.
pub(super) fn open_medium(medium: Arc<Medium>, options: OpenOptionsOf) -> Result<Engine, OpenError> {
    let opening = Opening { path: Path::new("(given storage)"), options, migrations: MIGRATIONS };
    if medium.len().map_err(|source| opening.open_error(source))? == 0 {
        opening.build(&medium)?;
    }
    opening.start(medium)
}

/// The file at `path`; `None` when there is none, or nothing in it.
fn existing(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok((file.metadata()?.len() > 0).then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn file_medium(path: &Path, file: File) -> Result<Arc<Medium>, OpenError> {
    let backend = FileBackend::new(file)
        .map_err(|error| OpenError::Open { path: path.to_owned(), source: io::Error::other(error) })?;
    Ok(Medium::new(backend))
}

impl Opening<'_> {
    /// Builds a database under another name, and renames it. The lock is on the file, so it comes along.
    fn create_file(&self) -> Result<Engine, OpenError> {
        let draft = draft_path(self.path);
        let create = |source| OpenError::Create { path: self.path.to_owned(), source };
        let file = open_draft(&draft).map_err(create)?;
        let medium = file_medium(self.path, file)?;
        if !medium.lock_whole().map_err(create)? {
            return Err(OpenError::Locked { path: self.path.to_owned() });
        }
        // Another process may have been faster, and the draft may be the file that it has already renamed.
        if let Some(file) = existing(self.path).map_err(|source| self.open_error(source))? {
            drop(medium);
            return self.start(file_medium(self.path, file)?);
        }
        let built = medium
            .clear()
            .map_err(create)
            .and_then(|()| self.build(&medium))
            .and_then(|()| fs::rename(&draft, self.path).map_err(create))
            .and_then(|()| sync_directory(self.path).map_err(create));
        if let Err(error) = built {
            // Best effort: a draft that stays is built over next time.
            let _stays = fs::remove_file(&draft);
            return Err(error);
        }
        self.start(medium)
    }

    /// Makes a database out of nothing.
    fn build(&self, medium: &Arc<Medium>) -> Result<(), OpenError> {
        let create = |source| OpenError::Create { path: self.path.to_owned(), source };
        let session = Session::writing(medium);
        let database = open_database(&session, self.options.cache_bytes).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(source)) => create(source),
            other => create(io::Error::other(other)),
        })?;
        self.migrate(&database, 0)?;
        database.close().map_err(|error| create(io::Error::other(error)))
    }

    fn start(&self, medium: Arc<Medium>) -> Result<Engine, OpenError> {
        let schema = self.inspect(&medium)?;
        let session = Session::writing(&medium);
        let database = contained(|| open_database(&session, self.options.cache_bytes))
            .map_err(|source| self.corrupt(source))?
            .map_err(|error| self.refused(error))?;
        self.migrate(&database, schema)?;
        let head = self.head(&database)?;
        Ok(Engine::new(medium, session, database, head, self.options.cache_bytes))
    }

    /// Finds out whether this is a database of ours that can be opened, without writing to it. Returns its schema.
    fn inspect(&self, medium: &Arc<Medium>) -> Result<u64, OpenError> {
        if medium.head().map_err(|source| self.open_error(source))? != Some(REDB_MAGIC) {
            return Err(OpenError::Foreign { path: self.path.to_owned() });
        }
        let len = medium.len().map_err(|source| self.open_error(source))?;
        let verified = (len <= self.options.verify_up_to_bytes).then(|| self.look(medium, true)).transpose()?;
        let plain = self.look(medium, false)?;
        // After damage to its newest commit, a check falls back to the one before it, and opening does not.
        if verified.is_some_and(|verified| verified != plain) {
            return Err(self.corrupt(Cause::new("its last commit fails the integrity check")));
        }
        Ok(plain.0)
    }

    /// Opens the medium over a scratch layer: the schema, and the head if there is one.
    fn look(&self, medium: &Arc<Medium>, verify: bool) -> Result<(u64, Option<Head>), OpenError> {
        let session = Session::scratch(medium).map_err(|source| self.open_error(source))?;
        let look = || -> Result<(u64, Option<Head>), OpenError> {
            let database = Database::builder()
                .set_cache_size(self.options.cache_bytes)
                .set_check_integrity_on_open(verify)
                .create_with_backend(session.backend())
                .map_err(|error| self.refused(error))?;
            let schema = schema_version(&database)
                .map_err(|error| self.corrupt(Cause::new(error)))?
                .ok_or_else(|| OpenError::NotOurs { path: self.path.to_owned() })?;
            let supported = newest(self.migrations);
            if schema > supported {
                return Err(OpenError::NewerSchema { path: self.path.to_owned(), found: schema, supported });
            }
            let head = if schema == supported { Some(self.head(&database)?) } else { None };
            Ok((schema, head))
        };
        contained(look).unwrap_or_else(|panic| Err(self.corrupt(panic)))
    }

    fn head(&self, database: &Database) -> Result<Head, OpenError> {
        let read = || reader::head(&database.begin_read()?);
        read().map_err(|stop| {
            self.corrupt(match stop {
                Stop::Refused(error) => Cause::new(error),
                Stop::Storage(error) => Cause::new(error),
            })
        })
    }

    fn migrate(&self, database: &Database, from: u64) -> Result<(), OpenError> {
        migrate(database, from, self.migrations).map_err(|MigrationError { version, source }| OpenError::Migrate {
            path: self.path.to_owned(),
            version,
            source: Cause::new(source),
        })
    }

    fn refused(&self, error: DatabaseError) -> OpenError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: self.path.to_owned() },
            DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
                // The storage did what it was asked; the file points behind its own end.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => self.corrupt(Cause::new(source)),
                _ => self.open_error(source),
            },
            other => self.corrupt(Cause::new(other)),
        }
    }

    fn corrupt(&self, source: Cause) -> OpenError {
        OpenError::Corrupt { path: self.path.to_owned(), source }
    }

    fn open_error(&self, source: io::Error) -> OpenError {
        OpenError::Open { path: self.path.to_owned(), source }
    }
}

/// Only for its owner: the content is sealed where it is secret, and nobody else's business where it is not.
fn open_draft(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

fn draft_path(path: &Path) -> PathBuf {
    let mut draft = OsString::from(path);
    draft.push(".new");
    PathBuf::from(draft)
}

/// Makes the name of the file at `path` durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
