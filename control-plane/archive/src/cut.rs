//! From records in memory to pieces: the rows of a deployment's last minutes.

use std::collections::BTreeMap;

use bytes::Bytes;
use outrigger_history::{Block, ColumnKey, Field, MetricName, PackedRow, Packer, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::time::UnixMillis;

use crate::config::hour_of;
use crate::record::{Reading, Record, split};

/// Rows by the hour that their samples belong to.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) rows: BTreeMap<u64, Vec<PackedRow>>,
    /// Buffers and records that could not be read.
    pub(crate) damaged: u64,
    /// Series that there was no room for.
    pub(crate) left_out: u64,
}

/// Sorts samples by instance and time, each time once, and packs them. `metrics` is how many an instance may have.
pub(crate) fn cut(buffers: &[Bytes], metrics: usize) -> Cut {
    let mut cut = Cut::default();
    let mut packers: BTreeMap<u64, Packer> = BTreeMap::new();
    for (instance, records) in by_instance(buffers, &mut cut.damaged) {
        let mut hours: BTreeMap<u64, BTreeMap<UnixMillis, Reading>> = BTreeMap::new();
        for record in records {
            let read = record.read(|reading| {
                hours.entry(hour_of(reading.at.as_millis())).or_default().insert(reading.at, reading);
            });
            cut.damaged += u64::from(read.is_err());
        }
        for (hour, readings) in hours {
            let Some(block) = block_of(instance.into(), readings, metrics, &mut cut.left_out) else { continue };
            let packer = packers.entry(hour).or_insert_with(|| Packer::new(Packer::TARGET));
            // Instances come in order, so that it cannot refuse.
            cut.damaged += u64::from(packer.push(&block).is_err());
        }
    }
    cut.rows = packers.into_iter().map(|(hour, packer)| (hour, packer.finish())).collect();
    cut
}

pub(crate) fn by_instance(buffers: &[Bytes], damaged: &mut u64) -> BTreeMap<InstanceId, Vec<Record>> {
    let mut records = Vec::new();
    for buffer in buffers {
        *damaged += u64::from(split(buffer, &mut records).is_err());
    }
    let mut instances: BTreeMap<InstanceId, Vec<Record>> = BTreeMap::new();
    for record in records {
        instances.entry(record.instance).or_default().push(record);
    }
    instances
}

fn block_of(
    source: SourceId,
    readings: BTreeMap<UnixMillis, Reading>,
    metrics: usize,
    left_out: &mut u64,
) -> Option<Block> {
    let samples = readings.len();
    let mut columns: BTreeMap<MetricName, Vec<f64>> = BTreeMap::new();
    let mut latency: Vec<Option<LatencyHistogram>> = Vec::with_capacity(samples);
    let mut block = Block::new(source, readings.keys().copied().collect()).ok()?;
    for (row, reading) in readings.into_values().enumerate() {
        for (metric, value) in reading.values {
            if !columns.contains_key(&metric) && columns.len() >= metrics {
                *left_out += 1;
                continue;
            }
            columns.entry(metric).or_insert_with(|| vec![f64::NAN; samples])[row] = value;
        }
        latency.push(reading.latency);
    }
    for (metric, values) in columns {
        *left_out += u64::from(block.insert(ColumnKey::new(metric, Field::Value), values).is_err());
    }
    block.insert_latency(latency).ok()?;
    Some(block)
}
