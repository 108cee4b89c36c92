//! Series of the Numenta Anomaly Benchmark: `2014-02-14 14:30:00,0.132` lines under a heading.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use outrigger_history::{Block, ColumnKey, Field, MetricName};
use outrigger_protocol::time::UnixMillis;

use crate::data::{DataSet, source};

pub(crate) fn read(directory: &Path) -> Result<DataSet> {
    let mut files: Vec<_> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    ensure!(!files.is_empty(), "it has no CSV file");
    let blocks = files.iter().enumerate().map(|(number, file)| {
        block(number, file).with_context(|| format!("{} is not of the benchmark", file.display()))
    });
    Ok(DataSet { name: "Numenta Anomaly Benchmark".to_owned(), blocks: blocks.collect::<Result<_>>()? })
}

fn block(number: usize, file: &Path) -> Result<Block> {
    let mut samples = std::collections::BTreeMap::new();
    for line in fs::read_to_string(file)?.lines().skip(1) {
        let mut fields = line.split(',');
        let (at, value) = (fields.next().context("no time")?, fields.next().context("no value")?);
        let at: DateTime = at.parse().context("not a time")?;
        let at = at.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond();
        samples.insert(UnixMillis::from_millis(u64::try_from(at)?), value.trim().parse().context("not a number")?);
    }
    let mut block = Block::new(source(number), samples.keys().copied().collect())?;
    block.insert(ColumnKey::new(MetricName::new("nab"), Field::Value), samples.into_values().collect())?;
    Ok(block)
}
