//! Samples as they are kept between their arrival and the row they become part of: small, quick to write, in one piece.
//!
//! ```text
//! record   length varint, instance 16 bytes, samples up to its end
//! sample   milliseconds since the one before, signed varint; flags u8; [metrics]; values; [response times]
//! flags    bit 0: the metrics are those of the sample before; bit 1: there are response times
//! metrics  count varint, then for each code + 1 varint, or 0 and the length of a name varint and the name
//! value    varint: distance to the one before in thousandths, folded and doubled; or 1 and the eight bytes of the number
//! response times   buckets varint, bucket u8 and count varint each; sum, minimum, maximum varint
//! ```
//!
//! Readings are at the precision that is kept ([`precision`](outrigger_history::precision)), so nearly all of them are
//! whole thousandths: two bytes a value that changes, one that does not. What is none keeps its bits.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_history::MetricName;
use outrigger_history::precision::rounded;
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::limits::{CUSTOM_METRICS_PER_SAMPLE, METRIC_NAME_BYTES, VALUES_PER_SAMPLE};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

/// Bytes after which a record ends and the next one begins: far below what the store takes in one value.
const RECORD_BYTES: usize = 128 << 10;
const STEPS: f64 = 1_000.0;
/// Below this, every whole number of thousandths is a number of its own.
const MOST_STEPS: f64 = 9_007_199_254_740_992.0;

const SAME_METRICS: u8 = 1;
const LATENCY: u8 = 2;

/// Bytes that no encoder wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

/// One sample, as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) at: UnixMillis,
    pub(crate) values: Vec<(MetricName, f64)>,
    pub(crate) latency: Option<LatencyHistogram>,
}

/// What writing samples came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    pub(crate) samples: u64,
    /// Samples without anything to keep.
    pub(crate) empty: u64,
    /// Values that were left out.
    pub(crate) values: u64,
}

/// Appends records of the samples of one instance.
pub(crate) fn write(out: &mut Vec<u8>, instance: InstanceId, samples: &[(UnixMillis, &Sample)]) -> Written {
    let mut written = Written::default();
    let mut body = Vec::new();
    let mut writer = Writer::default();
    for (at, sample) in samples {
        match writer.sample(&mut body, *at, sample, &mut written.values) {
            true => written.samples += 1,
            false => written.empty += 1,
        }
        if body.len() >= RECORD_BYTES {
            finish(out, instance, &body);
            body.clear();
            writer = Writer::default();
        }
    }
    if !body.is_empty() {
        finish(out, instance, &body);
    }
    written
}

fn finish(out: &mut Vec<u8>, instance: InstanceId, body: &[u8]) {
    put(out, 16 + body.len() as u64);
    out.extend(instance.to_bytes());
    out.extend(body);
}

#[derive(Default)]
struct Writer<'a> {
    at: u64,
    names: Vec<Name<'a>>,
    before: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    Known(Metric),
    Custom(&'a str),
}

impl<'a> Writer<'a> {
    fn sample(&mut self, out: &mut Vec<u8>, at: UnixMillis, sample: &'a Sample, left_out: &mut u64) -> bool {
        let known = sample.values.iter().filter(|(metric, _)| !metric.is_derived()).take(VALUES_PER_SAMPLE);
        let known = known.map(|(metric, value)| (Name::Known(*metric), rounded(metric.unit(), *value)));
        let named = sample.custom.iter().filter(|(name, _)| (1..=METRIC_NAME_BYTES).contains(&name.len()));
        let named = named.take(CUSTOM_METRICS_PER_SAMPLE).map(|(name, value)| (Name::Custom(name), *value));
        let values: Vec<(Name<'a>, f64)> = known.chain(named).filter(|(_, value)| value.is_finite()).collect();
        *left_out += (sample.values.len() + sample.custom.len()).saturating_sub(values.len()) as u64;
        let latency = sample.latency.as_ref().filter(|latency| !latency.is_empty());
        if values.is_empty() && latency.is_none() {
            return false;
        }
        put_signed(out, at.as_millis().wrapping_sub(self.at).cast_signed());
        self.at = at.as_millis();
        let same = self.names.iter().eq(values.iter().map(|(name, _)| name));
        let flag = |set, flag| if set { flag } else { 0 };
        out.push(flag(same, SAME_METRICS) | flag(latency.is_some(), LATENCY));
        if !same {
            self.names = values.iter().map(|(name, _)| *name).collect();
            self.before = vec![0; values.len()];
            put_names(out, &self.names);
        }
        for ((_, value), before) in values.iter().zip(&mut self.before) {
            put_value(out, *value, before);
        }
        if let Some(latency) = latency {
            put_latency(out, latency);
        }
        true
    }
}

fn put_names(out: &mut Vec<u8>, names: &[Name<'_>]) {
    put(out, names.len() as u64);
    for name in names {
        match name {
            Name::Known(metric) => put(out, u64::from(metric.code()) + 1),
            Name::Custom(name) => {
                put(out, 0);
                put(out, name.len() as u64);
                out.extend(name.as_bytes());
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "held against what is whole before")]
fn put_value(out: &mut Vec<u8>, value: f64, before: &mut i64) {
    let steps = (value * STEPS).round();
    if steps.abs() < MOST_STEPS && (steps / STEPS).to_bits() == value.to_bits() {
        let steps = steps as i64;
        let distance = steps - *before;
        *before = steps;
        put(out, fold(distance) << 1);
    } else {
        put(out, 1);
        out.extend(value.to_bits().to_le_bytes());
    }
}

fn put_latency(out: &mut Vec<u8>, latency: &LatencyHistogram) {
    let buckets: Vec<(u8, u32)> = latency.buckets().filter(|(_, count)| *count > 0).collect();
    put(out, buckets.len() as u64);
    for (bucket, count) in buckets {
        out.push(bucket);
        put(out, u64::from(count));
    }
    put(out, latency.sum_us());
    put(out, u64::from(latency.min_us()));
    put(out, u64::from(latency.max_us()));
}

/// A record that was found in a buffer, not yet decoded.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) instance: InstanceId,
    body: Bytes,
}

/// Takes a buffer apart into its records.
///
/// # Errors
/// It ends inside a record; those before are in `records`.
pub(crate) fn split(buffer: &Bytes, records: &mut Vec<Record>) -> Result<(), Damaged> {
    let mut reader = Reader(buffer);
    while !reader.0.is_empty() {
        let length = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let mut record = Reader(reader.bytes(length)?);
        let instance = InstanceId::from_bytes(record.array()?);
        records.push(Record { instance, body: buffer.slice_ref(record.0) });
    }
    Ok(())
}

impl Record {
    /// Decodes all samples, in the order in which they came.
    ///
    /// # Errors
    /// The record is damaged; the samples before the damage were given to `each`.
    pub(crate) fn read(&self, mut each: impl FnMut(Reading)) -> Result<(), Damaged> {
        let mut reader = Reader(&self.body);
        let (mut at, mut names, mut before) = (0_u64, Vec::<MetricName>::new(), Vec::<i64>::new());
        while !reader.0.is_empty() {
            at = at.wrapping_add(reader.signed()?.cast_unsigned());
            let [flags] = reader.array()?;
            if flags & SAME_METRICS == 0 {
                names = reader.names()?;
                before = vec![0; names.len()];
            }
            let mut values = Vec::with_capacity(names.len());
            for (name, before) in names.iter().zip(&mut before) {
                values.push((name.clone(), reader.value(before)?));
            }
            let latency = if flags & LATENCY == 0 { None } else { Some(reader.latency()?) };
            each(Reading { at: UnixMillis::from_millis(at), values, latency });
        }
        Ok(())
    }
}

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, fold(value));
}

const fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unfold(folded: u64) -> i64 {
    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()
}

/// What is left to be read.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (read, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(read)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (read, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*read)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        self.number().map(unfold)
    }

    fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn names(&mut self) -> Result<Vec<MetricName>, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if count > VALUES_PER_SAMPLE + CUSTOM_METRICS_PER_SAMPLE {
            return Err(Damaged);
        }
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            names.push(match self.number()?.checked_sub(1) {
                Some(code) => {
                    let metric = u16::try_from(code).ok().and_then(Metric::from_code);
                    MetricName::Known(metric.ok_or(Damaged)?)
                }
                None => {
                    let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
                    if !(1..=METRIC_NAME_BYTES).contains(&length) {
                        return Err(Damaged);
                    }
                    let name = std::str::from_utf8(self.bytes(length)?).map_err(|_| Damaged)?;
                    MetricName::Custom(Arc::from(name))
                }
            });
        }
        Ok(names)
    }

    fn value(&mut self, before: &mut i64) -> Result<f64, Damaged> {
        let told = self.number()?;
        if told == 1 {
            return Ok(f64::from_bits(u64::from_le_bytes(self.array()?)));
        }
        if told & 1 == 1 {
            return Err(Damaged);
        }
        *before = before.wrapping_add(unfold(told >> 1));
        Ok(*before as f64 / STEPS)
    }

    fn latency(&mut self) -> Result<LatencyHistogram, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if count > usize::from(u8::MAX) + 1 {
            return Err(Damaged);
        }
        let mut buckets = Vec::with_capacity(count);
        for _ in 0..count {
            let [bucket] = self.array()?;
            buckets.push((bucket, self.small()?));
        }
        let (sum, min, max) = (self.number()?, self.small()?, self.small()?);
        LatencyHistogram::from_parts(&buckets, sum, min, max).ok_or(Damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn any_sample() -> impl Strategy<Value = Sample> {
        let number = prop_oneof![(-1_000_000_i64..1_000_000).prop_map(|n| n as f64 / 1_000.0), any::<f64>()];
        let known = prop::collection::btree_map(prop::sample::select(Metric::ALL), number.clone(), 0..6);
        let custom = prop::collection::btree_map("[a-z]{1,9}", number, 0..4);
        let latency = prop::option::of(prop::collection::vec(any::<u32>(), 1..9));
        (any::<u64>(), known, custom, latency).prop_map(|(at, known, custom, latency)| Sample {
            at: UnixMillis::from_millis(at),
            values: known.into_iter().collect(),
            custom: custom.into_iter().collect(),
            latency: latency.map(|all| {
                let mut histogram = LatencyHistogram::new();
                all.into_iter().for_each(|us| histogram.record(Duration::from_micros(us.into())));
                histogram
            }),
        })
    }

    fn expected(sample: &Sample) -> Option<Reading> {
        let known = sample.values.iter().filter(|(metric, _)| !metric.is_derived());
        let known = known.map(|(metric, value)| (MetricName::Known(*metric), rounded(metric.unit(), *value)));
        // A name of the registry in a custom metric stays a custom one.
        let custom = sample.custom.iter().map(|(name, value)| (MetricName::Custom(Arc::from(name.as_str())), *value));
        let values: Vec<_> = known.chain(custom).filter(|(_, value)| value.is_finite()).collect();
        let kept = !values.is_empty() || sample.latency.is_some();
        kept.then(|| Reading { at: sample.at, values, latency: sample.latency.clone() })
    }

    proptest! {
        #[test]
        fn samples_lead_back(samples in prop::collection::vec(any_sample(), 0..30)) {
            let instance = InstanceId::generate();
            let mut out = Vec::new();
            let timed: Vec<_> = samples.iter().map(|sample| (sample.at, sample)).collect();
            let written = write(&mut out, instance, &timed);
            let mut records = Vec::new();
            split(&Bytes::from(out), &mut records).unwrap();
            let mut found = Vec::new();
            for record in records {
                prop_assert_eq!(record.instance, instance);
                record.read(|reading| found.push(reading)).unwrap();
            }
            prop_assert_eq!(written.samples, found.len() as u64);
            prop_assert_eq!(found, samples.iter().filter_map(expected).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_samples_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut records = Vec::new();
            let _ = split(&Bytes::from(bytes.clone()), &mut records);
            for record in records {
                let _ = record.read(|_| ());
            }
            let _ = Record { instance: InstanceId::generate(), body: Bytes::from(bytes) }.read(|_| ());
        }
    }

    #[test]
    fn an_idle_second_is_a_byte_a_value_and_three() {
        let mut sample = Sample::new(UnixMillis::from_millis(1_790_000_000_000));
        for metric in Metric::ALL.iter().filter(|metric| !metric.is_derived()).take(12) {
            sample.set(*metric, 17.25);
        }
        let times = (0..5).map(|second| sample.at.saturating_add(Duration::from_secs(second)));
        let samples: Vec<_> = times.map(|at| (at, &sample)).collect();
        let mut out = Vec::new();
        write(&mut out, InstanceId::generate(), &samples);
        assert!(out.len() < 140, "{} bytes for five samples of twelve values", out.len());
    }
}
