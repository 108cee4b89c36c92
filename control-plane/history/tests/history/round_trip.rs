//! Blocks into rows and back.

use std::collections::BTreeMap;

use outrigger_history::{Block, BlockError, ColumnKey, Field, MetricName, Packer, Row, SourceId};
use outrigger_protocol::metric::Metric;
use proptest::prelude::*;

use crate::samples::{any_block, second, source};

/// Everything of each source in the rows, its parts put together again.
fn read(rows: &[Vec<u8>]) -> BTreeMap<SourceId, Vec<Block>> {
    let mut found: BTreeMap<SourceId, Vec<Block>> = BTreeMap::new();
    for row in rows {
        for block in Row::parse(row).expect("a row").blocks() {
            found.entry(block.source()).or_default().push(block.decode().expect("decodes"));
        }
    }
    found
}

/// Parts of one block have the same times and different columns.
fn united(parts: Vec<Block>) -> Block {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().expect("a part");
    for part in parts {
        assert_eq!(part.times(), whole.times());
        for (key, values) in part.columns() {
            assert!(whole.column(key).is_none(), "{key:?} is there once");
            whole.insert(key.clone(), values.to_vec()).expect("as long");
        }
        if let Some(latency) = part.latency() {
            whole.insert_latency(latency.to_vec()).expect("as long");
        }
    }
    whole
}

fn pack(target: usize, blocks: &[Block]) -> Vec<Vec<u8>> {
    let mut packer = Packer::new(target);
    for block in blocks {
        packer.push(block).expect("in order");
    }
    packer.finish().into_iter().map(|row| row.bytes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_blocks_return_bit_for_bit(
        a in any_block(1), b in any_block(2), c in any_block(200), target in 100_usize..5_000
    ) {
        let blocks = [a, b, c];
        let rows = pack(target, &blocks);
        let mut found = read(&rows);
        for block in blocks {
            match found.remove(&block.source()) {
                Some(parts) => prop_assert_eq!(united(parts), block),
                None => prop_assert!(block.columns().next().is_none() && block.latency().is_none()),
            }
        }
    }

    #[test]
    fn joining_rows_is_packing_them_together(a in any_block(1), b in any_block(1)) {
        let (first, then) = if a.times() < b.times() { (a, b) } else { (b, a) };
        let follows = first.times().last() < then.times().first();
        let mut joined = first.clone();
        let appended = joined.append(then.clone());
        prop_assert_eq!(appended.is_ok(), follows);
        if follows {
            prop_assert_eq!(joined.times().len(), first.times().len() + then.times().len());
            let metrics = first.columns().chain(then.columns()).map(|(key, _)| &key.metric);
            for metric in metrics {
                let apart: Vec<_> = first.samples(metric).chain(then.samples(metric)).map(|(at, v)| (at, v.to_bits())).collect();
                let together: Vec<_> = joined.samples(metric).map(|(at, v)| (at, v.to_bits())).collect();
                prop_assert_eq!(apart, together);
            }
        }
    }
}

fn busy(number: u8, seconds: u64) -> Block {
    let times = (0..seconds).map(second).collect();
    let mut block = Block::new(source(number), times).expect("ascending");
    for (at, metric) in Metric::ALL.iter().enumerate() {
        // A generator of Lehmer's, so that rows have something to fill up with.
        let mut state = 1_000_003 * (at as u64 + 1) + u64::from(number);
        let values = (0..seconds).map(|_| {
            state = state * 48_271 % 0x7fff_ffff;
            (state % 10_000) as f64 / 100.0
        });
        block.insert(ColumnKey::new(*metric, Field::Value), values.collect()).expect("one value a time");
    }
    block
}

#[test]
fn rows_fill_their_pages() {
    let blocks: Vec<_> = (0..12).map(|number| busy(number, 600)).collect();
    let rows = pack(Packer::TARGET, &blocks);
    let (full, rest): (Vec<usize>, Vec<usize>) = rows.iter().map(Vec::len).partition(|length| *length > 60_000);
    assert!(full.len() >= 2, "{full:?}");
    assert!(full.iter().all(|length| (Packer::TARGET * 97 / 100..=Packer::TARGET).contains(length)), "{full:?}");
    // The last ones fill what they take too, but for the very last.
    let pages: usize = rest.iter().map(|length| length.next_power_of_two().max(4_096)).sum();
    assert!(pages - rest.iter().sum::<usize>() < 8_192, "{rest:?}");
}

#[test]
fn one_column_is_read_without_the_others() {
    let block = busy(1, 100);
    let rows = pack(Packer::TARGET, &[busy(0, 100), block.clone(), busy(2, 100)]);
    let key = ColumnKey::new(Metric::Memory, Field::Value);
    let found = rows.iter().find_map(|row| Row::parse(row).ok()?.block(source(1))?.column(&key).ok()?);
    assert_eq!(found.as_deref(), block.column(&key));
    let unknown = ColumnKey::new(MetricName::new("of another program"), Field::Value);
    let row = Row::parse(&rows[0]).expect("a row");
    assert_eq!(row.blocks()[0].column(&unknown), Ok(None));
    assert!(row.block(source(99)).is_none());
}

#[test]
fn blocks_that_cannot_be_are_refused() {
    assert_eq!(Block::new(source(1), Vec::new()), Err(BlockError::Empty));
    assert_eq!(Block::new(source(1), vec![second(1), second(1)]), Err(BlockError::Order(1)));
    let mut block = Block::new(source(1), vec![second(1)]).expect("one sample");
    let long = ColumnKey::new(MetricName::new(&"x".repeat(256)), Field::Value);
    assert_eq!(block.insert(long, vec![1.0]), Err(BlockError::Name(256)));
    let key = ColumnKey::new(Metric::Cpu, Field::Value);
    assert_eq!(block.insert(key, vec![]), Err(BlockError::Length { values: 0, samples: 1 }));
    let mut packer = Packer::new(Packer::TARGET);
    packer.push(&busy(2, 3)).expect("the first");
    assert_eq!(packer.push(&busy(2, 3)), Err(BlockError::SourceOrder));
    assert_eq!(packer.push(&busy(1, 3)), Err(BlockError::SourceOrder));
}
