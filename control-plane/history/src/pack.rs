//! Blocks into rows that fill their pages.
//!
//! A store like redb gives a row a power of two of pages of 4 KiB; what the row does not fill is lost. So rows are filled
//! up to a given size that is just under such a power, column by column: a source whose columns do not fit goes on in
//! the next row, with its times once more. What is left at the end is divided into rows of smaller powers.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::time::UnixMillis;

use crate::block::Block;
use crate::error::BlockError;
use crate::limits;
use crate::row::{self, HEAD, Writer};
use crate::series::SourceId;
use crate::{times, varint};

/// Source, and at most as many bytes as the length of a block takes.
const BLOCK_HEAD: usize = 16 + 4;
const PAGE: usize = 4_096;
/// What a store itself writes into the pages of a row: heads, offsets, the key.
const RESERVED: usize = 256;

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
    last: Option<SourceId>,
    waiting: VecDeque<Column>,
    /// Of what is waiting, as a row.
    bytes: usize,
    rows: Vec<PackedRow>,
}

/// A column that waits for its row.
#[derive(Debug)]
struct Column {
    block: Arc<Head>,
    bytes: Vec<u8>,
    values: u64,
}

/// What a block begins with.
#[derive(Debug)]
struct Head {
    source: SourceId,
    from: UnixMillis,
    to: UnixMillis,
    /// Samples and times.
    bytes: Vec<u8>,
}

impl Packer {
    /// The bytes of a row for a store with pages of 4 KiB: 16 pages, less what the store itself writes into them.
    pub const TARGET: usize = (16 * PAGE) - RESERVED;

    /// Rows of at most `target` bytes, but for a single column that is larger.
    #[must_use]
    pub fn new(target: usize) -> Self {
        let target = target.min(limits::ROW_BYTES / 2);
        Self { target, last: None, waiting: VecDeque::new(), bytes: HEAD, rows: Vec::new() }
    }

    /// # Errors
    /// The block's source is not after those of the blocks before.
    pub fn push(&mut self, block: &Block) -> Result<(), BlockError> {
        if self.last.is_some_and(|last| last >= block.source()) {
            return Err(BlockError::SourceOrder);
        }
        self.last = Some(block.source());
        for column in columns(block, head(block)) {
            self.wait_for_row(column);
            // Some more than a row, so that there is a choice of what fills it up.
            while self.bytes > self.target + self.target / 2 && self.waiting.len() > 1 {
                self.close(self.target);
            }
        }
        Ok(())
    }

    /// The rows, in the order of their sources.
    #[must_use]
    pub fn finish(mut self) -> Vec<PackedRow> {
        while !self.waiting.is_empty() {
            let pages = (self.bytes + RESERVED).next_power_of_two().max(PAGE);
            // What fills three quarters of its pages would not gain by being divided.
            let whole = pages == PAGE || self.bytes > pages * 3 / 4;
            self.close(if whole { self.target } else { (pages / 2 - RESERVED).min(self.target) });
        }
        self.rows
    }

    fn wait_for_row(&mut self, column: Column) {
        if self.waiting.back().is_none_or(|last| !Arc::ptr_eq(&last.block, &column.block)) {
            self.bytes += BLOCK_HEAD + column.block.bytes.len();
        }
        self.bytes += column.bytes.len();
        self.waiting.push_back(column);
    }

    /// Makes a row of as many columns as go into `limit` bytes, and of one at least. A column that is too large for what
    /// is left makes way for a later one of the same source, so that sources stay in order.
    fn close(&mut self, limit: usize) {
        let (mut row, mut taken) = (Writer::new(), HEAD);
        let mut packed: Option<PackedRow> = None;
        let mut open: Option<(Arc<Head>, Vec<u8>)> = None;
        let mut at = 0;
        while let Some(next) = self.waiting.get(at) {
            let begins = open.as_ref().is_none_or(|(block, _)| !Arc::ptr_eq(block, &next.block));
            let size = next.bytes.len() + if begins { BLOCK_HEAD + next.block.bytes.len() } else { 0 };
            let full = packed.is_some() && taken + size > limit;
            if begins && (full || at > 0) {
                break;
            }
            if full {
                at += 1;
                continue;
            }
            taken += size;
            let Some(Column { block, bytes, values }) = self.waiting.remove(at) else { break };
            let about = packed.get_or_insert_with(|| PackedRow {
                first_source: block.source,
                last_source: block.source,
                from: block.from,
                to: block.to,
                values: 0,
                bytes: Vec::new(),
            });
            about.last_source = block.source;
            about.from = about.from.min(block.from);
            about.to = about.to.max(block.to);
            about.values += values;
            match &mut open {
                Some((_, body)) if !begins => body.extend(bytes),
                _ => {
                    if let Some((block, body)) = open.take() {
                        row.block(block.source, &body);
                    }
                    let body = [&block.bytes[..], &bytes].concat();
                    open = Some((block, body));
                }
            }
        }
        let (Some(packed), Some((block, body))) = (packed, open) else { return };
        row.block(block.source, &body);
        self.bytes -= taken - HEAD;
        if let Some(next) = self.waiting.front()
            && Arc::ptr_eq(&next.block, &block)
        {
            self.bytes += BLOCK_HEAD + block.bytes.len();
        }
        self.rows.push(PackedRow { bytes: row.finish(), ..packed });
    }
}

/// One row with all of one block, however large.
#[must_use]
pub fn single(block: &Block) -> Vec<u8> {
    let head = head(block);
    let mut body = head.bytes.clone();
    columns(block, head).for_each(|column| body.extend(column.bytes));
    let mut row = Writer::new();
    row.block(block.source(), &body);
    row.finish()
}

fn head(block: &Block) -> Head {
    let mut bytes = Vec::new();
    varint::write(&mut bytes, block.times().len() as u64);
    times::encode(&mut bytes, block.times());
    let (from, to) = (block.times().first().copied(), block.times().last().copied());
    Head { source: block.source(), from: from.unwrap_or_default(), to: to.unwrap_or_default(), bytes }
}

/// The columns of a block as bytes, in the order of their keys, the response times last.
fn columns(block: &Block, head: Head) -> impl Iterator<Item = Column> {
    let head = Arc::new(head);
    let numbers = block.columns().filter_map(|(key, values)| {
        let present = values.iter().filter(|value| !value.is_nan()).count();
        Some((row::encode_column(key, values)?, present))
    });
    let latency = block.latency().and_then(|histograms| {
        let present = histograms.iter().flatten().count();
        Some((row::encode_latency(histograms)?, present))
    });
    numbers.chain(latency).map(move |(bytes, present)| Column {
        block: Arc::clone(&head),
        bytes,
        values: present as u64,
    })
}
