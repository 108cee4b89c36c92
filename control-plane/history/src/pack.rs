//! Blocks into rows that fill their pages.
//!
//! A store like redb gives a row a power of two of pages of 4 KiB; what the row does not fill is lost. So rows are filled
//! up to a given size that is just under such a power, column by column: a source whose columns do not fit goes on in
//! the next row, with its times once more.

use outrigger_protocol::time::UnixMillis;

use crate::block::Block;
use crate::error::BlockError;
use crate::limits;
use crate::row::{self, Writer};
use crate::series::SourceId;
use crate::{times, varint};

/// Source, and at most as many bytes as the length of a block takes.
const BLOCK_HEAD: usize = 16 + 4;

/// A row and what its key needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRow {
    pub first_source: SourceId,
    pub last_source: SourceId,
    /// The earliest and the latest time in it.
    pub from: UnixMillis,
    pub to: UnixMillis,
    /// Values in it that are present, a histogram as one.
    pub values: u64,
    pub bytes: Vec<u8>,
}

/// Packs blocks, given in the order of their sources, into rows.
#[derive(Debug)]
pub struct Packer {
    target: usize,
    row: Writer,
    open: Option<PackedRow>,
    rows: Vec<PackedRow>,
}

impl Packer {
    /// The bytes of a row for a store with pages of 4 KiB: 16 pages, less what the store itself writes into them.
    pub const TARGET: usize = (64 << 10) - 256;

    /// Rows of at most `target` bytes, but for a single column that is larger.
    #[must_use]
    pub fn new(target: usize) -> Self {
        Self { target: target.min(limits::ROW_BYTES / 2), row: Writer::new(), open: None, rows: Vec::new() }
    }

    /// # Errors
    /// The block's source is not after those of the blocks before.
    pub fn push(&mut self, block: &Block) -> Result<(), BlockError> {
        let last = self.open.as_ref().or(self.rows.last());
        if last.is_some_and(|row| row.last_source >= block.source()) {
            return Err(BlockError::SourceOrder);
        }
        let mut head = Vec::new();
        varint::write(&mut head, block.times().len() as u64);
        times::encode(&mut head, block.times());
        let mut body = head.clone();
        let mut values = 0;
        for (column, present) in columns(block) {
            let full = self.row.len() + BLOCK_HEAD + body.len() + column.len() > self.target;
            if full && body.len() > head.len() {
                self.put(block, &body, std::mem::take(&mut values));
                self.close();
                body.clone_from(&head);
            } else if full && !self.row.is_empty() {
                self.close();
            }
            body.extend(column);
            values += present;
        }
        if body.len() > head.len() {
            self.put(block, &body, values);
        }
        Ok(())
    }

    /// The rows, in the order of their sources.
    #[must_use]
    pub fn finish(mut self) -> Vec<PackedRow> {
        self.close();
        self.rows
    }

    fn put(&mut self, block: &Block, body: &[u8], values: u64) {
        let (source, times) = (block.source(), block.times());
        let (Some(from), Some(to)) = (times.first().copied(), times.last().copied()) else { return };
        self.row.block(source, body);
        let row = self.open.get_or_insert(PackedRow {
            first_source: source,
            last_source: source,
            from,
            to,
            values: 0,
            bytes: Vec::new(),
        });
        row.last_source = source;
        row.from = row.from.min(from);
        row.to = row.to.max(to);
        row.values += values;
    }

    fn close(&mut self) {
        if let Some(row) = self.open.take() {
            let bytes = std::mem::replace(&mut self.row, Writer::new()).finish();
            self.rows.push(PackedRow { bytes, ..row });
        }
    }
}

/// The columns of a block as bytes, in the order of their keys, the response times last, and the values in each.
fn columns(block: &Block) -> impl Iterator<Item = (Vec<u8>, u64)> {
    let numbers = block.columns().filter_map(|(key, values)| {
        let present = values.iter().filter(|value| !value.is_nan()).count();
        Some((row::encode_column(key, values)?, present as u64))
    });
    let latency = block.latency().and_then(|histograms| {
        let present = histograms.iter().flatten().count();
        Some((row::encode_latency(histograms)?, present as u64))
    });
    numbers.chain(latency)
}
