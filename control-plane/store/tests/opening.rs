//! Files that are not a healthy database of ours: refused in one sentence, and left as they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_store::faults::SplitMix;
use outrigger_store::{OpenError, Options, RedbStore, Store};
use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::TempDir;
use workload::{image, verify};

struct Case {
    directory: TempDir,
}

impl Case {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn with(content: &[u8]) -> Self {
        let case = Self::new();
        fs::write(case.path(), content).unwrap();
        case
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store.redb")
    }

    /// Opens it, which must fail with a sentence that names the file, and must not change a byte.
    fn refused(&self) -> OpenError {
        let before = fs::read(self.path()).unwrap();
        let error = RedbStore::open(self.path(), Options::default()).expect_err("it is refused");
        assert!(error.to_string().contains(&self.path().display().to_string()), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(fs::read(self.path()).unwrap() == before, "the file was changed: {error}");
        let files: Vec<_> = fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [self.path()]);
        error
    }
}

fn with_redb(path: &Path, work: impl FnOnce(&Database)) {
    let database = Database::create(path).unwrap();
    work(&database);
    database.close().unwrap();
}

#[test]
fn a_file_of_something_else_is_refused() {
    for content in [b"SQLite format 3\0".to_vec(), b"x".to_vec(), vec![0; 8192], b"redb".to_vec()] {
        assert!(matches!(Case::with(&content).refused(), OpenError::Foreign { .. }));
    }
}

#[test]
fn a_redb_file_of_something_else_is_refused() {
    let case = Case::new();
    with_redb(&case.path(), |database| {
        let write = database.begin_write().unwrap();
        write.open_table(TableDefinition::<&str, &str>::new("theirs")).unwrap().insert("k", "v").unwrap();
        write.commit().unwrap();
    });
    assert!(matches!(case.refused(), OpenError::NotOurs { .. }));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (content, _) = image(2).await;
    let case = Case::with(&content);
    with_redb(&case.path(), |database| {
        let write = database.begin_write().unwrap();
        write.open_table(TableDefinition::<&str, u64>::new("outrigger.meta")).unwrap().insert("schema", 999).unwrap();
        write.commit().unwrap();
    });
    match case.refused() {
        OpenError::NewerSchema { found: 999, supported, .. } => assert!(supported < 999),
        other => panic!("expected a newer schema, got {other:?}"),
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (content, _) = image(20).await;
    for keep in [9, 100, 320, 4096, content.len() / 2, content.len() - 4096, content.len() - 1] {
        let error = Case::with(&content[..keep]).refused();
        assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::Foreign { .. }), "{keep}: {error:?}");
    }
}

#[tokio::test]
async fn an_altered_file_is_refused_or_whole() {
    let (content, acknowledged) = image(20).await;
    let mut refused = 0;
    let cases = workload::cases(60);
    for seed in 0..cases {
        let mut random = SplitMix(seed);
        let mut altered = content.clone();
        let start = random.index(altered.len());
        let end = altered.len().min(start + 1 + random.index(200));
        for byte in &mut altered[start..end] {
            *byte ^= 1 + random.draw().to_le_bytes()[0] % 255;
        }
        let case = Case::with(&altered);
        match RedbStore::open(case.path(), Options::default()) {
            // The damage hit a page that nothing uses.
            Ok(store) => {
                verify(&store, &acknowledged).await;
                store.close().await.unwrap();
            }
            Err(_) => {
                fs::write(case.path(), &altered).unwrap();
                case.refused();
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no damage was found in {cases} cases");
}

#[tokio::test]
async fn a_database_in_use_is_refused_until_it_is_closed() {
    let case = Case::new();
    let store = RedbStore::open(case.path(), Options::default()).unwrap();
    let error = RedbStore::open(case.path(), Options::default()).expect_err("it is in use");
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    store.close().await.unwrap();
    RedbStore::open(case.path(), Options::default()).unwrap().close().await.unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let case = Case::with(b"a file");
    let below_a_file = case.path().join("store.redb");
    let error = RedbStore::open(&below_a_file, Options::default()).expect_err("a file is no directory");
    assert!(error.to_string().contains(&below_a_file.display().to_string()), "{error}");
    let nowhere = case.directory.path().join("missing/store.redb");
    let error = RedbStore::open(nowhere, Options::default()).expect_err("the directory does not exist");
    assert!(matches!(error, OpenError::Create { .. }), "{error:?}");
    let error = RedbStore::open(case.directory.path(), Options::default()).expect_err("it is a directory");
    assert!(matches!(error, OpenError::Open { .. }), "{error:?}");
}

#[tokio::test]
async fn what_an_interrupted_creation_left_is_built_over() {
    let case = Case::new();
    let draft = case.directory.path().join("store.redb.new");
    fs::write(&draft, b"half a header").unwrap();
    fs::write(case.path(), b"").unwrap();
    let store = RedbStore::open(case.path(), Options::default()).unwrap();
    assert!(!draft.exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(case.path()).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "others may read it");
    store.close().await.unwrap();
    with_redb(&case.path(), |database| assert!(database.begin_read().unwrap().list_tables().unwrap().count() > 3));
}
