//! What holds for every row and for every block.

use outrigger_history::{Block, ColumnKey, Field, Packer, Row, SourceId};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;

/// Any bytes are a row or are refused, and so is every column of it, also behind a checksum that is right.
pub fn read(bytes: &[u8]) {
    read_all(bytes);
    let checksum = crc32fast::hash(bytes).to_le_bytes();
    read_all(&[&b"OH\x01"[..], &checksum, bytes].concat());
}

fn read_all(bytes: &[u8]) {
    let Ok(row) = Row::parse(bytes) else { return };
    for block in row.blocks() {
        let _ = block.times();
        let _ = block.latency();
        for (key, _) in block.columns() {
            if let Ok(Some(values)) = block.column(key) {
                assert_eq!(values.len(), block.samples());
            }
        }
        if let Ok(whole) = block.decode() {
            round_trip_of(&whole);
        }
    }
}

/// Any numbers at any ascending times return bit for bit.
pub fn round_trip(bytes: &[u8]) {
    let mut at = 0_u64;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks_exact(10).take(4_096) {
        at += 1 + u64::from(u16::from_le_bytes([chunk[0], chunk[1]]));
        times.push(UnixMillis::from_millis(at));
        let number = i64::from_le_bytes(chunk[2..].try_into().expect("eight bytes"));
        // One bit of the time tells decimals from bits.
        let value = if chunk[0] & 1 == 0 { f64::from_bits(number as u64) } else { (number >> 40) as f64 / 1e3 };
        values.push(value);
    }
    let Ok(mut block) = Block::new(SourceId::from_bytes([7; 16]), times) else { return };
    block.insert(ColumnKey::new(Metric::Cpu, Field::Value), values).expect("one value a time");
    round_trip_of(&block);
}

fn round_trip_of(block: &Block) {
    let mut packer = Packer::new(1 << 20);
    packer.push(block).expect("one block");
    let rows = packer.finish();
    let columns = block.columns().count();
    let mut found = 0;
    for row in &rows {
        for part in Row::parse(&row.bytes).expect("what was written can be read").blocks() {
            let part = part.decode().expect("what was written can be decoded");
            assert_eq!(part.times(), block.times());
            for (key, values) in part.columns() {
                let before = block.column(key).expect("a column that was written");
                let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                assert!(values.iter().zip(before).all(same), "a value returned changed");
                found += 1;
            }
        }
    }
    assert_eq!(found, columns);
}
