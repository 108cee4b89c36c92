//! A row that was written once stays readable: its bytes are here, and what they mean.
//!
//! When this fails because a model has changed, the change is a new version of the row, and this row stays as it is.

use outrigger_history::{Block, ColumnKey, Field, MetricName, Packer, Row};

use crate::samples::{START, ms, recorded, source};

const SAMPLES: u32 = 48;

/// Every form of a column, every memory, gaps, and times off their rhythm.
fn block() -> Block {
    let seconds = (0..SAMPLES).map(|at| u64::from(at) + if at < 20 { 0 } else { 7 });
    let times = seconds.map(|at| ms(START + 1_000 * at + at % 3)).collect();
    let mut block = Block::new(source(42), times).expect("ascending");
    let mut column = |name: &str, value: &dyn Fn(u32) -> f64| {
        let key = ColumnKey::new(MetricName::new(name), Field::Value);
        block.insert(key, (0..SAMPLES).map(value).collect()).expect("one value a time");
    };
    column("cpu", &|at| f64::from(at * at * 37 % 10_000) / 100.0);
    column("memory_working_set_bytes", &|at| 4_096.0 * f64::from(5_000 + at / 16));
    column("threads", &|_| 12.0);
    column("requests", &|at| f64::from([3_u8, 5, 3, 9][at as usize % 4]));
    column("host_load1", &|at| if at % 5 == 0 { f64::NAN } else { 0.1 * f64::from(at) });
    column("of the program", &|at| f64::from(at).sqrt() * if at % 2 == 0 { 1.0 } else { -1.0 });
    column("peculiar", &|at| [-0.0, f64::INFINITY, f64::MIN_POSITIVE][at as usize % 3]);
    let histograms =
        (0..SAMPLES).map(|at| (at % 7 != 0).then(|| recorded((0..at).map(|request| 900 + request * at * 31))));
    block.insert_latency(histograms.collect()).expect("one a time");
    block
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("a byte")).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.chunks(60).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
}

#[test]
fn a_row_of_version_1_stays_readable() {
    let golden = bytes_of(include_str!("golden/version-1.hex"));
    let row = Row::parse(&golden).expect("a row");
    assert_eq!(row.block(source(42)).expect("its block").decode(), Ok(block()));
}

#[test]
fn a_row_of_version_1_is_written_as_ever() {
    let mut packer = Packer::new(Packer::TARGET);
    packer.push(&block()).expect("one block");
    let rows: Vec<_> = packer.finish().into_iter().map(|row| hex_of(&row.bytes)).collect();
    assert_eq!(rows, [include_str!("golden/version-1.hex")]);
}
