use std::collections::HashSet;
use std::time::Duration;

use outrigger_logbook::{Direction, LogBookConfig, LogFilter};
use outrigger_protocol::log::Level;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{KeyRange, RangeOptions};

use crate::desk::{DEPLOYMENT, Desk, INSTANCES, LAZY, config, eventually, line, prompt, record};

async fn numbers(desk: &Desk) -> Vec<u64> {
    let lines = desk.all(&LogFilter::default(), 10_000, Direction::Forward).await;
    lines.iter().map(|line| line.number).collect()
}

async fn rows(desk: &Desk) -> usize {
    desk.store.range(KeyRange::all(), RangeOptions::default()).await.unwrap().entries.len()
}

#[tokio::test]
async fn after_a_crash_what_was_written_is_there_and_no_number_is_used_twice() {
    let desk = Desk::new(prompt()).await;
    desk.put(&[line("written"), line("too")], 0);
    desk.written().await;
    let desk = desk.crash(config(LAZY)).await;
    assert_eq!(desk.messages().await, ["written", "too"]);
    desk.put(&[line("lost with its number")], 0);
    let seen = numbers(&desk).await;
    let desk = desk.crash(prompt()).await;
    desk.put(&[line("after")], 0);
    assert_eq!(desk.messages().await, ["written", "too", "after"]);
    let now = numbers(&desk).await;
    assert!(now[2] > seen[2], "{now:?} after {seen:?}");
    assert!(now[2] < 1 << 53, "readers of JSON keep it exactly");
}

#[tokio::test]
async fn closing_writes_what_is_left() {
    let desk = Desk::new(config(LAZY)).await;
    desk.put(&[line("last words")], 0);
    desk.book.close().await;
    desk.book.close().await;
    let desk = desk.crash(prompt()).await;
    assert_eq!(desk.messages().await, ["last words"]);
}

#[tokio::test]
async fn many_small_segments_become_few() {
    let desk = Desk::new(prompt()).await;
    for n in 0..300 {
        desk.put_by(INSTANCES[n % 2], &[line(format!("line {n}"))], 0);
        desk.written().await;
    }
    assert!(desk.book.stats().segments > 100, "each was written by itself");
    eventually("the last are merged", || desk.book.stats().unwritten_bytes == 0).await;
    let rows = rows(&desk).await;
    assert!(rows < 100, "{rows} rows for 300 writes");
    let expected: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    assert_eq!(desk.messages().await, expected);
}

#[tokio::test]
async fn the_oldest_lines_make_room() {
    let desk = Desk::new(LogBookConfig { keep_bytes: 64 * 1024, ..prompt() }).await;
    // Digits of a random-looking walk, which hardly compress.
    let noise = |n: u64| {
        let mut state = n;
        let mut digit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + u8::try_from(state >> 58).unwrap())
        };
        std::iter::repeat_with(&mut digit).take(1_000).collect::<String>()
    };
    for n in 0..40_u64 {
        let lines: Vec<_> = (0..10).map(|k| line(format!("{n} {}", noise(n * 10 + k)))).collect();
        desk.put(&lines, 0);
        desk.written().await;
    }
    eventually("old segments are gone", || desk.book.stats().expired_segments > 0).await;
    let kept = desk.messages().await;
    let bytes: usize = kept.iter().map(String::len).sum();
    assert!((32 * 1024..128 * 1024).contains(&bytes), "{bytes}");
    assert!(kept.last().unwrap().starts_with("39 "), "the newest are kept");
    assert!(!kept[0].starts_with("0 "));
}

#[tokio::test]
async fn lines_that_are_too_old_go_without_anybody_asking() {
    let sweeping =
        LogBookConfig { keep_for: Duration::from_secs(3600), sweep_every: Duration::from_millis(10), ..prompt() };
    let desk = Desk::new(sweeping).await;
    let now = UnixMillis::now().as_millis();
    desk.put(&[record(Level::Info, now - 2 * 3_600_000, "of two hours ago")], 0);
    desk.written().await;
    eventually("the old segment is gone", || desk.book.stats().expired_segments == 1).await;
    desk.put(&[record(Level::Info, now, "of now")], 0);
    desk.written().await;
    assert_eq!(desk.messages().await, ["of now"]);
}

#[tokio::test]
async fn nothing_is_left_of_a_deployment_that_is_deleted() {
    let desk = Desk::new(prompt()).await;
    for n in 0..40 {
        desk.put(&[line(format!("line {n}"))], 0);
        desk.written().await;
    }
    desk.put(&[line("not written yet")], 0);
    desk.book.sink().deployment_gone(DEPLOYMENT);
    desk.put(&[line("late")], 0);
    // The row that counts the runs is not the deployment's.
    let waited = async {
        while rows(&desk).await > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("its rows are erased");
    assert!(desk.messages().await.is_empty());
    assert_eq!(desk.book.stats().unwritten_bytes, 0);
}

#[tokio::test]
async fn a_deployment_that_was_deleted_while_nobody_told_the_book_is_erased_at_the_next_start() {
    let desk = Desk::new(prompt()).await;
    desk.put(&[line("kept")], 0);
    desk.written().await;
    let desk = desk.crash(prompt()).await;
    desk.book.keep_only(&HashSet::from([DEPLOYMENT])).await.unwrap();
    assert_eq!(desk.messages().await, ["kept"]);
    desk.book.keep_only(&HashSet::new()).await.unwrap();
    eventually("its segment is erased", || desk.book.stats().expired_segments == 1).await;
    assert!(desk.messages().await.is_empty());
}

#[tokio::test]
async fn a_damaged_segment_is_told_as_missing_lines_and_hides_no_other() {
    let desk = Desk::new(prompt()).await;
    for words in [["a", "b"], ["c", "d"], ["e", "f"]] {
        desk.put(&words.map(line), 0);
        desk.written().await;
    }
    let page = desk.store.range(KeyRange::all(), RangeOptions::default()).await.unwrap();
    let bodies: Vec<_> =
        page.entries.iter().filter(|entry| entry.key.as_bytes().windows(4).any(|w| w == b"body")).collect();
    assert_eq!(bodies.len(), 3);
    let damage = outrigger_store::Transaction::new().put(bodies[1].key.clone(), "nonsense");
    desk.store.commit(damage).await.unwrap();
    assert_eq!(desk.messages().await, ["a", "b", "(2 dropped)", "e", "f"]);
    assert!(desk.book.stats().damaged_segments > 0);
}
