//! Every line has a level, found in a bounded part of it.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use outrigger_agent::logs::{LogLimits, LogPipeline, SecretSet};
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::time::UnixMillis;

fn level_of(line: &str) -> Level {
    let mut pipeline = LogPipeline::new(LogLimits::default(), Arc::new(SecretSet::empty()));
    pipeline.feed(LogStream::Stderr, line.as_bytes(), UnixMillis::EPOCH);
    pipeline.feed(LogStream::Stderr, b"\n", UnixMillis::EPOCH);
    pipeline.drain().records.first().map_or(Level::Info, |record| record.level)
}

fuzz_target!(|text: &str| {
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    level_of(&line);
    level_of(&format!("{{{line}"));
    level_of(&format!("level={line}"));
    // What a program writes into a message is not what its logger says.
    let quoted: String = line.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    assert_eq!(level_of(&format!("{{\"msg\":\"{quoted}\",\"level\":\"debug\"}}")), Level::Debug);
});
