//! This crate: rows as a store would hold them, all of an hour in each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_history::{Block, PackedRow, Packer, Row};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::data::{self, DataSet};

const PAGE: u64 = 4_096;
/// What redb writes into the pages of a row besides the row: the head of a leaf, an offset, the key.
const OVERHEAD: u64 = 48;

pub(crate) struct Measured {
    pub(crate) bytes: u64,
    /// The same in powers of two of whole pages.
    pub(crate) pages: u64,
    pub(crate) encode_ns: f64,
    pub(crate) decode_ns: f64,
    /// One metric of one source for an hour, or as much of it as there is, from the bytes of its rows: the 99th percentile
    /// of all series.
    pub(crate) hour_ms: f64,
}

pub(crate) fn measure(set: &DataSet) -> Result<Measured> {
    let samples = set.samples() as f64;
    let start = Instant::now();
    let mut packer = Packer::new(Packer::TARGET);
    set.blocks.iter().try_for_each(|block| packer.push(block))?;
    let rows = packer.finish();
    let encode_ns = start.elapsed().as_secs_f64() * 1e9 / samples;
    let start = Instant::now();
    let mut decoded = Vec::new();
    for row in &rows {
        for block in Row::parse(&row.bytes)?.blocks() {
            decoded.push(block.decode()?);
        }
    }
    let decode_ns = start.elapsed().as_secs_f64() * 1e9 / samples;
    check(set, &decoded)?;
    let lengths = rows.iter().map(|row| row.bytes.len() as u64);
    let pages = |length: u64| match (length + OVERHEAD).div_ceil(PAGE) {
        // Small rows share a page.
        1 => length + OVERHEAD,
        pages => pages.next_power_of_two() * PAGE,
    };
    Ok(Measured {
        bytes: lengths.clone().sum(),
        pages: lengths.map(pages).sum(),
        encode_ns,
        decode_ns,
        hour_ms: read_hours(set, &rows)?,
    })
}

/// Everything is there, bit for bit.
fn check(set: &DataSet, decoded: &[Block]) -> Result<()> {
    for block in &set.blocks {
        for (key, values) in block.columns() {
            let parts = decoded.iter().filter(|part| part.source() == block.source());
            let found = parts.filter_map(|part| part.column(key)).next().context("a column is lost")?;
            let same = found.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
            ensure!(same && found.len() == values.len(), "{key:?} returned changed");
        }
    }
    Ok(())
}

fn read_hours(set: &DataSet, rows: &[PackedRow]) -> Result<f64> {
    let mut times = Vec::new();
    for block in &set.blocks {
        for (key, _) in block.columns() {
            let start = Instant::now();
            let mut points = 0;
            for row in rows.iter().filter(|row| (row.first_source..=row.last_source).contains(&block.source())) {
                let row = Row::parse(&row.bytes)?;
                let Some(found) = row.block(block.source()) else { continue };
                if let Some(values) = found.column(key)? {
                    points += found.times()?.into_iter().zip(values).take(3_600).count();
                }
            }
            ensure!(points > 0, "{key:?} is lost");
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().context("no series")
}

/// Bytes of a histogram of one second, with two hundred requests of a heavy-tailed service.
pub(crate) fn histogram_bytes() -> Result<f64> {
    let seconds = 1_200_u32;
    let mut state = 11_u64;
    let histograms = (0..seconds).map(|_| {
        let mut histogram = LatencyHistogram::new();
        for _ in 0..200 {
            state = state * 48_271 % 0x7fff_ffff;
            // Pareto, alpha 2.
            histogram.record(Duration::from_secs_f64(0.005 / (1.0 - state as f64 / 2_147_483_648.0).sqrt()));
        }
        Some(histogram)
    });
    let times = (0..seconds).map(|at| UnixMillis::from_millis(1_000 * u64::from(at))).collect();
    let mut block = Block::new(data::source(0), times)?;
    block.insert_latency(histograms.collect())?;
    let mut packer = Packer::new(Packer::TARGET);
    packer.push(&block)?;
    let bytes: usize = packer.finish().iter().map(|row| row.bytes.len()).sum();
    Ok(bytes as f64 / f64::from(seconds))
}
