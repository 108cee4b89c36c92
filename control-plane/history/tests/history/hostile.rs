//! Rows that are damaged, or were made to do damage.

use outrigger_history::{DecodeError, Packer, Row};
use proptest::prelude::*;

use crate::samples::any_block;

/// Reads all that can be read; what cannot be is refused and nothing else.
fn read_everything(bytes: &[u8]) {
    let Ok(row) = Row::parse(bytes) else { return };
    for block in row.blocks() {
        let _ = block.times();
        let _ = block.latency();
        for (key, _) in block.columns() {
            if let Ok(Some(values)) = block.column(key) {
                assert_eq!(values.len(), block.samples());
            }
            let _ = block.rollups(&key.metric);
        }
        let _ = block.decode();
    }
}

/// The bytes with a checksum that is right, so that what is behind it is reached.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 7 {
        let checksum = crc32fast::hash(&bytes[7..]);
        bytes[3..7].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

fn row_of(body: &[u8]) -> Vec<u8> {
    sealed([b"OH\x01\0\0\0\0", body].concat())
}

proptest! {
    #[test]
    fn any_bytes_are_a_row_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
        read_everything(&row_of(&bytes));
    }

    #[test]
    fn a_changed_row_is_refused_and_one_resealed_does_no_harm(
        block in any_block(7), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()
    ) {
        let mut packer = Packer::new(Packer::TARGET);
        packer.push(&block).expect("one block");
        let Some(row) = packer.finish().pop() else { return Ok(()) };
        let mut changed = row.bytes.clone();
        changed[at.index(row.bytes.len())] ^= 1 << bit;
        prop_assert!(Row::parse(&changed).is_err());
        read_everything(&sealed(changed));
        let cut = &row.bytes[..cut.index(row.bytes.len())];
        prop_assert!(Row::parse(cut).is_err());
        read_everything(&sealed(cut.to_vec()));
    }
}

#[test]
fn each_kind_of_damage_has_its_error() {
    assert_eq!(Row::parse(b"").err(), Some(DecodeError::Truncated));
    assert_eq!(Row::parse(b"XX\x01\0\0\0\0").err(), Some(DecodeError::NotARow));
    assert_eq!(Row::parse(b"OH\x02\0\0\0\0").err(), Some(DecodeError::Version(2)));
    assert!(matches!(Row::parse(b"OH\x01\0\0\0\0x").err(), Some(DecodeError::Checksum { .. })));
    assert_eq!(Row::parse(&vec![0; (16 << 20) + 1]).err(), Some(DecodeError::TooLong((16 << 20) + 1)));
    assert!(Row::parse(&row_of(b"")).expect("nothing is a row too").blocks().is_empty());
}

#[test]
fn claimed_lengths_are_refused_before_anything_is_allocated() {
    let most = [0xff_u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let length = row_of(&[&[0; 16], &most[..]].concat());
    assert!(matches!(Row::parse(&length).err(), Some(DecodeError::TooMany { what: "bytes of a block", .. })));
    let samples = row_of(&[&[0; 16], &[12][..], &most, &[0, 0]].concat());
    assert!(matches!(Row::parse(&samples).err(), Some(DecodeError::TooMany { what: "samples", .. })));
    let none = row_of(&[&[0; 16], &[4][..], &[0, 0, 0, 0]].concat());
    assert_eq!(Row::parse(&none).err(), Some(DecodeError::Malformed("a block without a sample")));
}

#[test]
fn a_column_of_a_newer_version_is_passed_over() {
    // One sample at time zero; a tag far above every metric, with a payload of three bytes.
    let body = [1, 0, 0, 0, 0xff, 0xff, 0x7f, 3, 1, 2, 3];
    let row = row_of(&[&[9; 16], &[11][..], &body].concat());
    let row = Row::parse(&row).expect("readable");
    assert_eq!(row.blocks()[0].columns().count(), 0);
    assert_eq!(row.blocks()[0].times().map(|times| times.len()), Ok(1));
}
