//! A row: the bytes of many series of many sources, each of which can be read without the others.
//!
//! ```text
//! row     "OH", version u8, checksum u32, then blocks up to the end
//! block   source 16 bytes, length varint, samples varint, times, then columns up to the end of the block
//! column  tag varint, [length u8, name], length varint, payload
//! tag     0                        response times
//!         8 + field                a metric of the program itself, whose name follows
//!         8 * (code + 2) + field   a metric of the registry
//!
//! times             first varint (ms), step varint (ms), rhythm u8, [length varint, stream]
//! payload, numbers  head u8: bits 0-1 form, bit 2 some are absent, bits 3-4 memory, bits 5-7 zero
//!    form 0         all the same: exponent u8, mantissa signed varint, or 255 and the value's eight bytes; [stream]
//!    form 1         decimals: exponent u8, start signed varint, factor varint, stream
//!    form 2         nearly decimals: as form 1
//!    form 3         bits: start signed varint, factor varint, stream
//! payload, response times    stream
//! ```
//!
//! A stream is what the range coder wrote, under models that learn: for each time whether there is a value, and then the
//! value, as its rank among those that came up before (memory 1: the newest first, 2: the most frequent first), or as
//! its distance to the best of seven predictions, by its number of bits and those bits. Times are coded as their distances to
//! a rhythm of `step`, numbers as `start + n * factor`, decimals divided by `10^exponent`, nearly decimal ones with a
//! distance in units in the last place behind each. Response times are first and number of buckets, their counts,
//! minimum, maximum and sum.
//!
//! Numbers are little-endian, varints LEB128, signed ones folded (zigzag). The checksum is the CRC-32 of ISO 3309 over
//! what follows it. A column with a tag that is not known here was written by a newer version, and is passed over.
//! Blocks ascend by source; when one did not fit, it goes on in the next row with the same times.
//!
//! Reading checks the head, the checksum and the directory, and allocates for what it has seen, never for what it was
//! told. A column is decoded when it is asked for: at most [`limits::SAMPLES`] values.

use std::sync::Arc;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;

use crate::block::Block;
use crate::error::{BlockError, DecodeError};
use crate::limits;
use crate::rollup::Rollup;
use crate::series::{ColumnKey, Field, Kind, MetricName, SourceId};
use crate::times::Times;
use crate::varint::{self, Reader};
use crate::{column, latency};

const MAGIC: [u8; 2] = *b"OH";
/// Of the rows that are written, and the only one that is read.
pub(crate) const VERSION: u8 = 1;
/// Magic, version, checksum.
pub(crate) const HEAD: usize = 7;
const FIELDS: u64 = 8;

/// A row that was found to be whole.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    blocks: Vec<BlockView<'a>>,
}

impl<'a> Row<'a> {
    /// # Errors
    /// The bytes are no row of this version, or are damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::ROW_BYTES {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let mut reader = Reader(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::NotARow);
        }
        match reader.byte()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let expected = u32::from_le_bytes(reader.array()?);
        let found = crc32fast::hash(reader.0);
        if found != expected {
            return Err(DecodeError::Checksum { expected, found });
        }
        let mut blocks: Vec<BlockView<'a>> = Vec::new();
        while !reader.is_empty() {
            let block = BlockView::read(&mut reader)?;
            if blocks.last().is_some_and(|last| last.source >= block.source) {
                return Err(DecodeError::Malformed("sources that do not ascend"));
            }
            blocks.push(block);
        }
        Ok(Self { blocks })
    }

    #[must_use]
    pub fn blocks(&self) -> &[BlockView<'a>] {
        &self.blocks
    }

    /// What the row holds of one source.
    #[must_use]
    pub fn block(&self, source: SourceId) -> Option<&BlockView<'a>> {
        let at = self.blocks.binary_search_by_key(&source, |block| block.source).ok()?;
        self.blocks.get(at)
    }
}

/// The series of one source in a row.
#[derive(Debug, Clone)]
pub struct BlockView<'a> {
    source: SourceId,
    samples: usize,
    times: Times<'a>,
    columns: Vec<(ColumnKey, &'a [u8])>,
    latency: Option<&'a [u8]>,
}

impl<'a> BlockView<'a> {
    fn read(row: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let source = SourceId::from_bytes(row.array()?);
        let length = row.limited("bytes of a block", limits::ROW_BYTES)?;
        let mut reader = Reader(row.bytes(length)?);
        let samples = reader.limited("samples", limits::SAMPLES)?;
        if samples == 0 {
            return Err(DecodeError::Malformed("a block without a sample"));
        }
        let times = Times::read(&mut reader, samples)?;
        let mut block = Self { source, samples, times, columns: Vec::new(), latency: None };
        while !reader.is_empty() {
            block.read_column(&mut reader)?;
        }
        Ok(block)
    }

    fn read_column(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let tag = reader.number()?;
        let metric = match (tag / FIELDS).checked_sub(2) {
            Some(code) => u16::try_from(code).ok().and_then(Metric::from_code).map(MetricName::Known),
            None if tag < FIELDS => None,
            None => {
                let length = usize::from(reader.byte()?);
                let name = std::str::from_utf8(reader.bytes(length)?);
                let name = name.map_err(|_| DecodeError::Malformed("a name that is not UTF-8"))?;
                if name.is_empty() {
                    return Err(DecodeError::Malformed("a metric without a name"));
                }
                Some(MetricName::Custom(Arc::from(name)))
            }
        };
        let length = reader.limited("bytes of a column", limits::ROW_BYTES)?;
        let payload = reader.bytes(length)?;
        if tag == 0 {
            self.latency = Some(payload);
            return Ok(());
        }
        let field = usize::try_from(tag % FIELDS).ok().and_then(|field| Field::ALL.get(field));
        let (Some(metric), Some(field)) = (metric, field) else { return Ok(()) };
        if self.columns.len() >= limits::COLUMNS {
            let claimed = limits::COLUMNS as u64 + 1;
            return Err(DecodeError::TooMany { what: "columns", claimed, limit: limits::COLUMNS });
        }
        let key = ColumnKey::new(metric, *field);
        if self.columns.last().is_some_and(|(last, _)| *last >= key) {
            return Err(DecodeError::Malformed("columns that do not ascend"));
        }
        self.columns.push((key, payload));
        Ok(())
    }

    #[must_use]
    pub const fn source(&self) -> SourceId {
        self.source
    }

    /// How many times it has.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// Its columns, which ascend, and the bytes that each takes.
    pub fn columns(&self) -> impl Iterator<Item = (&ColumnKey, usize)> {
        self.columns.iter().map(|(key, payload)| (key, payload.len()))
    }

    /// # Errors
    /// The times are not what the encoder writes.
    pub fn times(&self) -> Result<Vec<UnixMillis>, DecodeError> {
        self.times.decode()
    }

    /// The values of a column, NaN where one is absent; none when there is no such column.
    ///
    /// # Errors
    /// The column is not what the encoder writes.
    pub fn column(&self, key: &ColumnKey) -> Result<Option<Vec<f64>>, DecodeError> {
        let Ok(at) = self.columns.binary_search_by(|(known, _)| known.cmp(key)) else { return Ok(None) };
        column::decode(self.columns[at].1, self.samples).map(Some)
    }

    /// The response times; none when there are none.
    ///
    /// # Errors
    /// The column is not what the encoder writes.
    pub fn latency(&self) -> Result<Option<Vec<Option<LatencyHistogram>>>, DecodeError> {
        self.latency.map(|payload| latency::decode(payload, self.samples)).transpose()
    }

    /// A metric as roll-ups, whether samples or roll-ups of them are stored.
    ///
    /// # Errors
    /// A column is not what the encoder writes.
    pub fn rollups(&self, metric: &MetricName) -> Result<Vec<(UnixMillis, Rollup)>, DecodeError> {
        let column = |field| self.column(&ColumnKey::new(metric.clone(), field));
        if let Some(values) = column(Field::Value)? {
            let present = self.times()?.into_iter().zip(values);
            return Ok(present.filter_map(|(at, value)| Some((at, Rollup::of(value)?))).collect());
        }
        let (Some(min), Some(max), Some(sum)) = (column(Field::Min)?, column(Field::Max)?, column(Field::Sum)?) else {
            return Ok(Vec::new());
        };
        let (Some(last), Some(count)) = (column(Field::Last)?, column(Field::Count)?) else { return Ok(Vec::new()) };
        let (first, increase) = (column(Field::First)?, column(Field::Increase)?);
        let kind = if first.is_some() { Kind::Counter } else { Kind::Gauge };
        let at = |values: &Option<Vec<f64>>, row: usize| values.as_ref().map_or(f64::NAN, |values| values[row]);
        let times = self.times()?.into_iter().enumerate();
        Ok(times
            .filter_map(|(row, time)| {
                let (first, increase) = (at(&first, row), at(&increase, row));
                let parts = [min[row], max[row], sum[row], last[row], count[row], first, increase];
                Some((time, Rollup::from_columns(parts, kind)?))
            })
            .collect())
    }

    /// All of it, for joining rows into larger ones.
    ///
    /// # Errors
    /// Something in it is not what the encoder writes, or it has more than [`limits::CELLS`] values.
    pub fn decode(&self) -> Result<Block, DecodeError> {
        let cells = self.samples.saturating_mul(self.columns.len());
        if cells > limits::CELLS {
            return Err(DecodeError::TooMany { what: "values", claimed: cells as u64, limit: limits::CELLS });
        }
        let refused = |_: BlockError| DecodeError::Malformed("a block that cannot be");
        let mut block = Block::new(self.source, self.times()?).map_err(refused)?;
        for (key, payload) in &self.columns {
            block.insert(key.clone(), column::decode(payload, self.samples)?).map_err(refused)?;
        }
        if let Some(histograms) = self.latency()? {
            block.insert_latency(histograms).map_err(refused)?;
        }
        Ok(block)
    }
}

/// A column with its place in the directory; none when it holds nothing.
pub(crate) fn encode_column(key: &ColumnKey, values: &[f64]) -> Option<Vec<u8>> {
    let payload = column::encode(values)?;
    let mut out = Vec::with_capacity(payload.len() + 8);
    let field = key.field as u64;
    match &key.metric {
        MetricName::Known(metric) => varint::write(&mut out, FIELDS * (u64::from(metric.code()) + 2) + field),
        MetricName::Custom(name) => {
            varint::write(&mut out, FIELDS + field);
            // A block takes in no longer name.
            out.push(u8::try_from(name.len()).ok()?);
            out.extend(name.as_bytes());
        }
    }
    varint::write(&mut out, payload.len() as u64);
    out.extend(payload);
    Some(out)
}

/// The response times with their place in the directory; none when there are none.
pub(crate) fn encode_latency(histograms: &[Option<LatencyHistogram>]) -> Option<Vec<u8>> {
    let payload = latency::encode(histograms)?;
    let mut out = vec![0];
    varint::write(&mut out, payload.len() as u64);
    out.extend(payload);
    Some(out)
}

/// The row being written.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let mut out = Vec::with_capacity(HEAD);
        out.extend(MAGIC);
        out.push(VERSION);
        out.extend([0; 4]);
        Self { out }
    }

    /// `body` is samples, times and columns.
    pub(crate) fn block(&mut self, source: SourceId, body: &[u8]) {
        self.out.extend(source.to_bytes());
        varint::write(&mut self.out, body.len() as u64);
        self.out.extend(body);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.out[HEAD..]);
        self.out[HEAD - 4..HEAD].copy_from_slice(&checksum.to_le_bytes());
        self.out
    }
}
