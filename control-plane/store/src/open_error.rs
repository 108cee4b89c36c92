//! Why a database did not open. Each is one sentence that names the file; none of them has changed a byte of it.

use std::io;
use std::path::PathBuf;

use crate::error::Cause;

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("cannot create the database {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot open the database {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("the database {} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{} is not a database of this program: it is no redb file", path.display())]
    Foreign { path: PathBuf },
    #[error("{} is not a database of this program: it is a redb file with other tables", path.display())]
    NotOurs { path: PathBuf },
    #[error("the database {} has schema {found}, but this program only knows up to {supported}", path.display())]
    NewerSchema { path: PathBuf, found: u64, supported: u64 },
    #[error("the database {} is corrupt", path.display())]
    Corrupt { path: PathBuf, source: Cause },
    #[error("cannot migrate the database {} to schema {version}", path.display())]
    Migrate { path: PathBuf, version: u64, source: Cause },
    #[error("cannot start the writer of the database {}", path.display())]
    StartWriter { path: PathBuf, source: io::Error },
}
