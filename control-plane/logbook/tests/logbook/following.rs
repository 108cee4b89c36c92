use std::time::Duration;

use outrigger_logbook::{Direction, Followed, Follower, LogBookConfig, LogFilter, LogQuery};
use outrigger_protocol::log::Level;

use crate::desk::{DEPLOYMENT, Desk, LAZY, config, line, prompt, record, shown};

async fn next(follower: &mut Follower) -> Option<Followed> {
    let next = tokio::time::timeout(Duration::from_secs(30), follower.next()).await;
    next.expect("something to follow").unwrap()
}

async fn messages(follower: &mut Follower, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.len() < count {
        match next(follower).await {
            Some(Followed::Lines(lines)) => messages.extend(lines.iter().map(|line| shown(line))),
            other => panic!("{other:?}"),
        }
    }
    messages
}

#[tokio::test]
async fn a_follower_gets_lines_without_waiting_for_the_disk() {
    let desk = Desk::new(config(LAZY)).await;
    desk.put(&[line("before")], 0);
    let mut follower = desk.book.follow(DEPLOYMENT, LogFilter::default(), None);
    desk.put(&[line("one")], 0);
    desk.put(&[line("two")], 3);
    assert_eq!(messages(&mut follower, 3).await, ["one", "(3 dropped)", "two"]);
    assert_eq!(desk.book.stats().followers, 1);
    drop(follower);
    assert_eq!(desk.book.stats().followers, 0);
}

#[tokio::test]
async fn a_follower_goes_on_after_a_number_over_a_restart() {
    let desk = Desk::new(prompt()).await;
    desk.put(&[line("one"), line("two"), line("three")], 0);
    let mut follower = desk.book.follow(DEPLOYMENT, LogFilter::default(), Some(0));
    let Some(Followed::Lines(lines)) = next(&mut follower).await else { panic!("lines") };
    let seen = lines[0].number;
    drop(follower);
    desk.written().await;
    let desk = desk.crash(prompt()).await;
    let mut follower = desk.book.follow(DEPLOYMENT, LogFilter::default(), Some(seen));
    assert_eq!(messages(&mut follower, 2).await, ["two", "three"]);
    desk.put(&[line("four")], 0);
    assert_eq!(messages(&mut follower, 1).await, ["four"]);
    let mut astray = desk.book.follow(DEPLOYMENT, LogFilter::default(), Some(u64::MAX));
    desk.put(&[line("five")], 0);
    assert_eq!(messages(&mut astray, 1).await, ["five"], "a number that was never given");
}

#[tokio::test]
async fn a_follower_gets_only_what_it_wants() {
    let desk = Desk::new(prompt()).await;
    let filter = LogFilter { level: Some(Level::Warn), contains: Some("disk".to_owned()), ..LogFilter::default() };
    let mut follower = desk.book.follow(DEPLOYMENT, filter, None);
    let warn = |message: &str| record(Level::Warn, 1_000, message);
    desk.put(&[record(Level::Info, 1_000, "disk is fine"), warn("out of luck"), warn("disk is full")], 0);
    assert_eq!(messages(&mut follower, 1).await, ["disk is full"]);
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed_and_can_read_it() {
    let desk = Desk::new(LogBookConfig { followed_bytes: 4 * 1024, ..prompt() }).await;
    let mut slow = desk.book.follow(DEPLOYMENT, LogFilter::default(), None);
    let mut thorough = desk.book.follow(DEPLOYMENT, LogFilter::default(), None).without_gaps();
    let position = slow.position();
    let expected: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
    for message in &expected {
        desk.put(&[line(message.as_str())], 0);
    }
    desk.written().await;
    let Some(Followed::Lagged(missed)) = next(&mut slow).await else { panic!("it is behind") };
    assert!((400..500).contains(&missed), "{missed}");
    let rest = 500 - usize::try_from(missed).unwrap();
    assert_eq!(messages(&mut slow, rest).await, expected[500 - rest..]);
    assert_eq!(desk.book.stats().lagged, missed);

    let query = LogQuery {
        deployment: DEPLOYMENT,
        filter: LogFilter::default(),
        after: Some(position),
        limit: usize::try_from(missed).unwrap(),
        direction: Direction::Forward,
    };
    let read = desk.page(query).await.lines;
    assert_eq!(read.iter().map(|line| shown(line)).collect::<Vec<_>>(), expected[..500 - rest]);
    assert_eq!(messages(&mut thorough, 500).await, expected);
}

#[tokio::test]
async fn a_follower_ends_with_the_deployment_or_the_book() {
    let desk = Desk::new(prompt()).await;
    let mut of_deleted = desk.book.follow(DEPLOYMENT, LogFilter::default(), None);
    desk.book.sink().deployment_gone(DEPLOYMENT);
    assert_eq!(next(&mut of_deleted).await, None);
    let other = outrigger_protocol::id::DeploymentId::from_bytes([7; 16]);
    let mut of_other = desk.book.follow(other, LogFilter::default(), None);
    desk.book.end_followers();
    assert_eq!(next(&mut of_other).await, None);
}
