//! A real process, a real file, a real SIGKILL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

mod workload;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use outrigger_store::faults::SplitMix;
use outrigger_store::{OpenError, Options, RedbStore, Store};
use workload::{Acknowledged, cases, transaction, verify};

/// Set for the child, to the path of its database and the number of its first transaction.
const CHILD: &str = "OUTRIGGER_STORE_KILLED_CHILD";

/// Writers in the child.
const WRITERS: u64 = 6;

/// Not a test: the process that [`what_a_killed_process_acknowledged_is_there`] starts from this same binary. It
/// commits for ever, and prints each acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (first, path) = task.split_once(' ').unwrap();
    let first: u64 = first.parse().unwrap();
    let store = Arc::new(RedbStore::open(path, Options::default()).unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in (first + writer..).step_by(usize::try_from(WRITERS).unwrap()) {
                    let committed = store.commit(transaction(number)).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {number} {}", committed.revision).unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

fn start(path: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{first} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// `ack NUMBER REVISION`, wherever it stands in a line: the test harness prints to the same pipe.
fn parse(line: &str) -> Option<(u64, u64)> {
    let (_, ack) = line.split_once("ack ")?;
    let (number, revision) = ack.split_once(' ')?;
    Some((number.parse().ok()?, revision.trim().parse().ok()?))
}

/// Kills this many processes in a row on one file.
const LIVES: u64 = 4;

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_there() {
    for seed in 0..cases(2) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let mut random = SplitMix(seed);
        let mut acknowledged = Acknowledged::new();
        for life in 0..LIVES {
            live_and_be_killed(&path, life * 1_000_000, 1 + random.below(40), &mut acknowledged);
            let store = RedbStore::open(&path, Options::default()).unwrap();
            verify(&store, &acknowledged).await;
            store.close().await.unwrap();
        }
    }
}

/// Starts a process, and kills it when it has acknowledged `wanted` transactions. Notes them all.
fn live_and_be_killed(path: &Path, first: u64, wanted: u64, acknowledged: &mut Acknowledged) {
    let mut child = start(path, first);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < wanted {
        let line = lines.next().expect("the child goes on").unwrap();
        if let Some((number, revision)) = parse(&line) {
            acknowledged.insert(number, revision);
            seen += 1;
        }
    }
    let error = RedbStore::open(path, Options::default()).expect_err("the child has it");
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had printed before it died was acknowledged as well.
    for line in lines.map_while(Result::ok) {
        acknowledged.extend(parse(&line));
    }
}
