use std::sync::Arc;

use outrigger_logbook::{Direction, LogBookConfig, LogFilter, LogLine, LogQuery};
use outrigger_protocol::log::Level;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use crate::desk::{DEPLOYMENT, Desk, INSTANCES, LAZY, config, line, prompt, record, shown};

const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

/// What somebody does to a book.
#[derive(Debug, Clone)]
enum Step {
    Put { instance: usize, level: usize, at: u64, word: u8, count: usize, dropped: u64 },
    Write,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..2_usize, 0..5_usize, 0..50_u64, 0..3_u8, 0..40_usize, 0..3_u64).prop_map(
        |(instance, level, at, word, count, dropped)| Step::Put { instance, level, at, word, count, dropped },
    );
    proptest::collection::vec(prop_oneof![8 => put, 3 => Just(Step::Write), 1 => Just(Step::Crash)], 1..40)
}

fn filters() -> impl Strategy<Value = LogFilter> {
    let level = proptest::option::of(0..5_usize);
    let word = proptest::option::of(0..3_u8);
    let time = || proptest::option::of(0..60_u64);
    (level, word, proptest::option::of(0..2_usize), time(), time()).prop_map(|(level, word, instance, from, until)| {
        LogFilter {
            level: level.map(|level| LEVELS[level]),
            contains: word.map(|word| format!("word{word}")),
            instances: instance.map(|instance| INSTANCES[instance]).into_iter().collect(),
            from: from.map(UnixMillis::from_millis),
            until: until.map(UnixMillis::from_millis),
        }
    })
}

/// Lines of 1970 are to be kept here.
fn forever(config: LogBookConfig) -> LogBookConfig {
    LogBookConfig { keep_for: std::time::Duration::MAX, ..config }
}

async fn run(steps: Vec<Step>, filters: Vec<LogFilter>, limit: usize) {
    let mut desk = Desk::new(forever(prompt())).await;
    let mut expected: Vec<Arc<LogLine>> = Vec::new();
    for step in steps {
        match step {
            Step::Put { instance, level, at, word, count, dropped } => {
                let text = |n: usize| format!("{n} word{word} \u{1b}[31m\0{}", "x".repeat(n * 7));
                let records: Vec<_> = (0..count).map(|n| record(LEVELS[level], at + n as u64 % 5, text(n))).collect();
                desk.put_by(INSTANCES[instance], &records, dropped);
            }
            Step::Write => desk.written().await,
            Step::Crash => {
                desk.written().await;
                desk = desk.crash(forever(prompt())).await;
            }
        }
    }
    // Without a filter it is what was put in, which the naive filter is applied to.
    let all = desk.all(&LogFilter::default(), 10_000, Direction::Forward).await;
    assert!(all.windows(2).all(|pair| pair[0].number < pair[1].number));
    expected.extend(all);
    for filter in filters {
        let mut wanted: Vec<_> = expected.iter().filter(|line| filter.accepts(line)).cloned().collect();
        assert_eq!(desk.all(&filter, limit, Direction::Forward).await, wanted, "{filter:?}");
        wanted.reverse();
        assert_eq!(desk.all(&filter, limit, Direction::Backward).await, wanted, "{filter:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_query_finds_what_a_naive_filter_finds(
        steps in steps(),
        filters in proptest::collection::vec(filters(), 1..6),
        limit in 1..50_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps, filters, limit));
    }
}

#[tokio::test]
async fn lines_are_found_before_and_after_they_are_written() {
    let desk = Desk::new(config(LAZY)).await;
    desk.put(&[line("one"), line("two")], 0);
    desk.put(&[line("three")], 7);
    let expected = ["one", "two", "(7 dropped)", "three"];
    assert_eq!(desk.messages().await, expected);
    let bytes = "bytes are kept: \u{1b}[31m \0 \u{202e} é";
    desk.put(&[line(bytes)], 0);
    desk.book.close().await;
    assert_eq!(desk.messages().await, [&expected[..], &[bytes]].concat());
    assert_eq!(desk.book.stats().unwritten_bytes, 0);
}

#[tokio::test]
async fn a_search_that_finds_nothing_says_how_far_it_got_and_goes_on_from_there() {
    let desk = Desk::new(LogBookConfig { unwritten_bytes: 64 << 20, ..prompt() }).await;
    // 16 MiB in one-megabyte batches: more than one page may open.
    for batch in 0..16_u64 {
        let text = "lorem ipsum ".repeat(80);
        let lines: Vec<_> = (0..1_000).map(|_| record(Level::Info, 1_000_000 + batch, text.as_str())).collect();
        desk.put(&lines, 0);
        desk.written().await;
    }
    desk.put(&[record(Level::Info, 2_000_000, "the needle")], 0);
    let filter = LogFilter { contains: Some("needle".to_owned()), ..LogFilter::default() };
    let query = LogQuery { deployment: DEPLOYMENT, filter, after: None, limit: 10, direction: Direction::Forward };
    let first = desk.page(query.clone()).await;
    assert!(first.lines.is_empty() && first.next.is_some());
    let searched_to = first.searched_to.unwrap().as_millis();
    assert!((1_000_001..1_000_015).contains(&searched_to), "{searched_to}");
    let found = desk.all(&query.filter, 10, Direction::Forward).await;
    assert_eq!(found.iter().map(|line| shown(line)).collect::<Vec<_>>(), ["the needle"]);
    // The level is in the headers: nothing has to be opened to know that there are none.
    let warnings = LogFilter { level: Some(Level::Warn), ..LogFilter::default() };
    let page = desk.page(LogQuery { filter: warnings, ..query }).await;
    assert_eq!((page.lines.len(), page.next), (0, None));
}
