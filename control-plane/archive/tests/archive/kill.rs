//! A real process, a real file, a real SIGKILL.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use outrigger_archive::{Aggregate, Archive, ArchiveConfig, Clock};
use outrigger_ingest::Source;
use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_store::{RedbStore, SharedStore};

use crate::world::{Ask, options, second, telling};

/// Set for the child, to the path of its store and the second that it begins with.
const CHILD: &str = "OUTRIGGER_ARCHIVE_KILLED_CHILD";
const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([3; 16]);
const INSTANCE: InstanceId = InstanceId::from_bytes([4; 16]);

async fn open(path: &Path) -> (SharedStore, Archive) {
    let store: SharedStore = Arc::new(RedbStore::open(path, options()).unwrap());
    let config = ArchiveConfig { clock: Clock::new(|| second(7_000)), ..ArchiveConfig::default() };
    let archive = Archive::open(Arc::clone(&store), config).await.unwrap();
    (store, archive)
}

/// Not a test: the process that is killed. It pushes for ever, and says what it has flushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (first, path) = task.split_once(' ').unwrap();
    let first: u64 = first.parse().unwrap();
    let (_store, archive) = open(Path::new(path)).await;
    let source = Source { organization: OrganizationId::generate(), deployment: DEPLOYMENT, instance: INSTANCE };
    for at in first.. {
        archive.sink().samples(source, Duration::from_secs(1), &[telling(0, at)], second(7_000));
        if at % 3 == 0 {
            archive.flush().await;
            writeln!(std::io::stdout().lock(), "flushed {at}").unwrap();
        }
        if at % 50 == 0 {
            archive.maintain(true).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_flushed_is_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.redb");
    let mut flushed = Vec::new();
    for (life, lines) in [(0, 30), (1, 45), (2, 7)] {
        let first = 1_000 * life;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture"])
            .env(CHILD, format!("{first} {}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut told = told.filter_map(|line| line.split_once("flushed ")?.1.trim().parse::<u64>().ok());
        let mut last = told.by_ref().take(lines).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = told.last().unwrap_or(last);
        flushed.push(first..last + 1);
    }
    let (store, archive) = open(&path).await;
    let ask = Ask { instance: Some(INSTANCE), metric: "cpu", from: 0, to: 6_000, step: 1, aggregate: Aggregate::Count };
    let found = archive.query(ask.of(DEPLOYMENT)).await.unwrap().points;
    for (at, found) in (0_u64..).zip(found) {
        assert!(found.is_none_or(|found| found == 1.0), "second {at} counts {found:?}");
        assert!(found.is_some() || !flushed.iter().any(|span| span.contains(&at)), "second {at} is lost");
    }
    store.close().await.unwrap();
}
