//! The redb backend against the conformance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

use std::sync::Arc;

use futures_util::future::BoxFuture;
use outrigger_store::conformance::{Fixture, RETAINED};
use outrigger_store::{Options, RedbStore, SharedStore};
use tempfile::TempDir;

struct RedbFile {
    directory: TempDir,
}

impl RedbFile {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }
}

impl Fixture for RedbFile {
    fn open(&self) -> BoxFuture<'_, SharedStore> {
        Box::pin(async {
            let options = Options { change_log_revisions: RETAINED, ..Options::default() };
            let store = RedbStore::open(self.directory.path().join("store.redb"), options).unwrap();
            Arc::new(store) as SharedStore
        })
    }
}

outrigger_store::conformance_suite!(RedbFile::new());
