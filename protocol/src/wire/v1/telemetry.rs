//! Metric and log batches: the busy lanes.

use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Discarded};
use crate::histogram::{BUCKETS, LatencyHistogram};
use crate::limits;
use crate::log as log_domain;
use crate::metric::Metric;
use crate::sample as domain;
use crate::time::UnixMillis;
use crate::wire::Counterpart;
use crate::wire::bounded::{Seq, within};

#[derive(Serialize, Deserialize)]
struct BatchId {
    epoch: u64,
    seq: u64,
}

impl From<domain::BatchId> for BatchId {
    fn from(id: domain::BatchId) -> Self {
        Self { epoch: id.epoch, seq: id.seq }
    }
}

impl From<BatchId> for domain::BatchId {
    fn from(id: BatchId) -> Self {
        Self { epoch: id.epoch, seq: id.seq }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct MetricBatch<'a> {
    id: BatchId,
    #[serde(borrow)]
    samples: Seq<Sample<'a>, { limits::SAMPLES_PER_BATCH }>,
    dropped: u64,
}

#[derive(Serialize, Deserialize)]
struct Sample<'a> {
    at: u64,
    values: Seq<(u16, f64), { limits::VALUES_PER_SAMPLE }>,
    #[serde(borrow)]
    custom: Seq<(&'a str, f64), { limits::CUSTOM_METRICS_PER_SAMPLE }>,
    latency: Option<Histogram>,
}

/// Only the buckets that hold something, in ascending order.
#[derive(Serialize, Deserialize)]
struct Histogram {
    sum_us: u64,
    min_us: u32,
    max_us: u32,
    buckets: Seq<(u8, u32), BUCKETS>,
}

impl<'a> Counterpart<'a> for MetricBatch<'a> {
    type Domain = domain::MetricBatch;

    fn from_domain(batch: &'a domain::MetricBatch) -> Result<Self, CodecError> {
        within("samples of a batch", batch.samples.len(), limits::SAMPLES_PER_BATCH)?;
        let samples = batch.samples.iter().map(Sample::from_domain).collect::<Result<_, _>>()?;
        Ok(Self { id: batch.id.into(), samples: Seq::new(samples, "samples of a batch")?, dropped: batch.dropped })
    }

    fn into_domain(self, discarded: &mut Discarded) -> Result<domain::MetricBatch, CodecError> {
        let samples = self.samples.into_items("samples of a batch")?;
        Ok(domain::MetricBatch {
            id: self.id.into(),
            samples: samples.into_iter().map(|sample| sample.into_domain(discarded)).collect::<Result<_, _>>()?,
            dropped: self.dropped,
        })
    }
}

impl<'a> Counterpart<'a> for Sample<'a> {
    type Domain = domain::Sample;

    fn from_domain(sample: &'a domain::Sample) -> Result<Self, CodecError> {
        let values = sample
            .values
            .iter()
            .filter(|(metric, value)| !metric.is_derived() && value.is_finite())
            .map(|(metric, value)| (metric.code(), *value))
            .collect();
        for (name, _) in &sample.custom {
            within("name of a custom metric", name.len(), limits::METRIC_NAME_BYTES)?;
        }
        let custom = sample
            .custom
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        Ok(Self {
            at: sample.at.as_millis(),
            values: Seq::new(values, "values of a sample")?,
            custom: Seq::new(custom, "custom metrics of a sample")?,
            latency: sample.latency.as_ref().map(Histogram::from_domain).transpose()?,
        })
    }

    fn into_domain(self, discarded: &mut Discarded) -> Result<domain::Sample, CodecError> {
        let mut seen = 0_u128;
        let mut values = self.values.into_items("values of a sample")?;
        values.retain(|(_, value)| {
            let finite = value.is_finite();
            discarded.non_finite += u64::from(!finite);
            finite
        });
        let values = values
            .into_iter()
            .filter_map(|(code, value)| {
                let Some(metric) = Metric::from_code(code).filter(|metric| !metric.is_derived()) else {
                    discarded.unknown_metrics += 1;
                    return None;
                };
                let bit = 1 << metric.code();
                if seen & bit != 0 {
                    discarded.duplicates += 1;
                    return None;
                }
                seen |= bit;
                Some((metric, value))
            })
            .collect();
        Ok(domain::Sample {
            at: UnixMillis::from_millis(self.at),
            values,
            custom: custom_into(self.custom.into_items("custom metrics of a sample")?, discarded)?,
            latency: self.latency.map(Histogram::into_domain).transpose()?,
        })
    }
}

/// A duplicate check by one bit per code needs codes that fit.
const _: () = {
    let mut at = 0;
    while at < Metric::ALL.len() {
        assert!(Metric::ALL[at].code() < 128, "metric codes index a u128");
        at += 1;
    }
};

fn custom_into(custom: Vec<(&str, f64)>, discarded: &mut Discarded) -> Result<Vec<(String, f64)>, CodecError> {
    let mut kept: Vec<(String, f64)> = Vec::with_capacity(custom.len());
    for (name, value) in custom {
        within("name of a custom metric", name.len(), limits::METRIC_NAME_BYTES)?;
        if !value.is_finite() {
            discarded.non_finite += 1;
        } else if kept.iter().any(|(known, _)| known == name) {
            discarded.duplicates += 1;
        } else {
            kept.push((name.to_owned(), value));
        }
    }
    Ok(kept)
}

impl Histogram {
    fn from_domain(histogram: &LatencyHistogram) -> Result<Self, CodecError> {
        Ok(Self {
            sum_us: histogram.sum_us(),
            min_us: histogram.min_us(),
            max_us: histogram.max_us(),
            buckets: Seq::new(histogram.buckets().collect(), "buckets of a histogram")?,
        })
    }

    fn into_domain(self) -> Result<LatencyHistogram, CodecError> {
        let buckets = self.buckets.into_items("buckets of a histogram")?;
        LatencyHistogram::from_parts(&buckets, self.sum_us, self.min_us, self.max_us)
            .ok_or(CodecError::Invalid { what: "a latency histogram" })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LogBatch<'a> {
    id: BatchId,
    #[serde(borrow)]
    records: Seq<LogRecord<'a>, { limits::LOG_RECORDS_PER_BATCH }>,
    dropped: u64,
}

#[derive(Serialize, Deserialize)]
struct LogRecord<'a> {
    at: u64,
    stream: LogStream,
    level: Level,
    message: &'a str,
    truncated: bool,
}

#[derive(Serialize, Deserialize)]
enum LogStream {
    Stdout,
    Stderr,
    Agent,
}

#[derive(Serialize, Deserialize)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl<'a> Counterpart<'a> for LogBatch<'a> {
    type Domain = log_domain::LogBatch;

    fn from_domain(batch: &'a log_domain::LogBatch) -> Result<Self, CodecError> {
        within("records of a batch", batch.records.len(), limits::LOG_RECORDS_PER_BATCH)?;
        let records = batch.records.iter().map(LogRecord::from_domain).collect::<Result<_, _>>()?;
        Ok(Self { id: batch.id.into(), records: Seq::new(records, "records of a batch")?, dropped: batch.dropped })
    }

    fn into_domain(self, discarded: &mut Discarded) -> Result<log_domain::LogBatch, CodecError> {
        let records = self.records.into_items("records of a batch")?;
        Ok(log_domain::LogBatch {
            id: self.id.into(),
            records: records.into_iter().map(|record| record.into_domain(discarded)).collect::<Result<_, _>>()?,
            dropped: self.dropped,
        })
    }
}

impl<'a> Counterpart<'a> for LogRecord<'a> {
    type Domain = log_domain::LogRecord;

    fn from_domain(record: &'a log_domain::LogRecord) -> Result<Self, CodecError> {
        within("log line", record.message.len(), limits::LOG_LINE_BYTES)?;
        Ok(Self {
            at: record.at.as_millis(),
            stream: match record.stream {
                log_domain::LogStream::Stdout => LogStream::Stdout,
                log_domain::LogStream::Stderr => LogStream::Stderr,
                log_domain::LogStream::Agent => LogStream::Agent,
            },
            level: match record.level {
                log_domain::Level::Trace => Level::Trace,
                log_domain::Level::Debug => Level::Debug,
                log_domain::Level::Info => Level::Info,
                log_domain::Level::Warn => Level::Warn,
                log_domain::Level::Error => Level::Error,
            },
            message: &record.message,
            truncated: record.truncated,
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<log_domain::LogRecord, CodecError> {
        within("log line", self.message.len(), limits::LOG_LINE_BYTES)?;
        Ok(log_domain::LogRecord {
            at: UnixMillis::from_millis(self.at),
            stream: match self.stream {
                LogStream::Stdout => log_domain::LogStream::Stdout,
                LogStream::Stderr => log_domain::LogStream::Stderr,
                LogStream::Agent => log_domain::LogStream::Agent,
            },
            level: match self.level {
                Level::Trace => log_domain::Level::Trace,
                Level::Debug => log_domain::Level::Debug,
                Level::Info => log_domain::Level::Info,
                Level::Warn => log_domain::Level::Warn,
                Level::Error => log_domain::Level::Error,
            },
            message: self.message.to_owned(),
            truncated: self.truncated,
        })
    }
}
