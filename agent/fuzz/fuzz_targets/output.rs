//! Whatever a program prints makes records within the limits, without a control character and without its secret; and how
//! it was cut into chunks makes no difference.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use outrigger_agent::logs::{LogLimits, LogPipeline, LogRecords, SecretSet};
use outrigger_protocol::limits::LOG_LINE_BYTES;
use outrigger_protocol::log::LogStream;
use outrigger_protocol::time::UnixMillis;

const SECRET: &[u8] = b"hunter2hunter";

fn records(chunks: &[&[u8]]) -> LogRecords {
    let limits =
        LogLimits { bytes_burst: 1 << 40, lines_burst: 1 << 40, pending_bytes: 1 << 30, ..LogLimits::default() };
    let mut pipeline = LogPipeline::new(limits, Arc::new(SecretSet::new([SECRET])));
    for chunk in chunks {
        pipeline.feed(LogStream::Stdout, chunk, UnixMillis::EPOCH);
    }
    pipeline.finish(LogStream::Stdout, UnixMillis::EPOCH);
    pipeline.drain()
}

fuzz_target!(|chunks: Vec<Vec<u8>>| {
    let whole = chunks.concat();
    let pieces: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let told = records(&pieces);
    assert_eq!(told, records(&[&whole]), "chunk edges do not matter");
    let ends = whole.iter().filter(|byte| **byte == b'\n').count();
    assert!((ends..=ends + 1).contains(&told.records.len()) && told.dropped == 0, "every line, once");
    for record in &told.records {
        assert!(record.message.len() <= LOG_LINE_BYTES);
        assert!(!record.message.contains(|c: char| c.is_control() && c != '\t'), "{:?}", record.message);
        assert!(!record.message.as_bytes().windows(SECRET.len()).any(|window| window == SECRET));
    }
});
