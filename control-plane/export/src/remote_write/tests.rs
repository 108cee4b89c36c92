use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::instances::Instance;
use crate::instances::tests::{instance, sample, source};
use crate::latency::BOUNDS;
use crate::naming::tests::Told;

/// The messages again, as `prost` reads them: somebody else's decoder.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

impl TimeSeries {
    fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|label| label.name == name).map_or("", |label| &label.value)
    }
}

fn namings() -> Namings {
    Namings::from([(source(1).deployment, Arc::new(Told::naming("web")))])
}

fn decoded(format: &RemoteWrite, batch: &[Arc<Reading>]) -> Vec<TimeSeries> {
    let body = format.encode(batch, &namings()).unwrap();
    let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    WriteRequest::decode(plain.as_slice()).unwrap().timeseries
}

fn readings(instance: &mut Instance, samples: &[Sample]) -> Vec<Arc<Reading>> {
    samples.iter().filter_map(|sample| instance.take(sample).0).map(Arc::new).collect()
}

#[test]
fn one_sample_is_exactly_these_bytes() {
    let format = RemoteWrite::new(vec![("Zone".to_owned(), "a".to_owned())]);
    let batch = readings(&mut instance(), &[sample(10, &[(Metric::Cpu, 12.5)])]);
    let mut expected = Vec::new();
    expected.extend_from_slice(b"\x0a\xf9\x01");
    let instance = source(1).instance.to_string();
    // "Zone" before "__name__": names are sorted by their bytes.
    for (name, value) in [
        ("Zone", "a"),
        ("__name__", "outrigger_cpu_percent"),
        ("deployment", "web"),
        ("deployment_id", "dep_1"),
        ("instance", instance.as_str()),
        ("organization", "org_1"),
        ("project", "shop"),
    ] {
        let size = u8::try_from(name.len() + value.len() + 4).unwrap();
        expected.extend_from_slice(&[0x0a, size, 0x0a, u8::try_from(name.len()).unwrap()]);
        expected.extend_from_slice(name.as_bytes());
        expected.extend_from_slice(&[0x12, u8::try_from(value.len()).unwrap()]);
        expected.extend_from_slice(value.as_bytes());
    }
    // 12.5 and 10,000 ms.
    expected.extend_from_slice(b"\x12\x0c\x09\x00\x00\x00\x00\x00\x00\x29\x40\x10\x90\x4e");
    let length = expected.len() - 3;
    expected[1..3].copy_from_slice(&[u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()]);
    assert_eq!(format.request(&batch, &namings()), expected);
}

#[test]
fn a_batch_is_one_series_per_metric_with_its_samples_in_order() {
    let format = RemoteWrite::new(Vec::new());
    let samples = [10, 11, 12].map(|at| sample(at, &[(Metric::Cpu, at as f64), (Metric::OomKills, 1.0)]));
    let series = decoded(&format, &readings(&mut instance(), &samples));
    assert_eq!(series.len(), 2);
    let values = |at: usize| series[at].samples.iter().map(|s| (s.timestamp, s.value)).collect::<Vec<_>>();
    assert_eq!(series[0].label("__name__"), "outrigger_cpu_percent");
    assert_eq!(values(0), [(10_000, 10.0), (11_000, 11.0), (12_000, 12.0)]);
    assert_eq!(series[1].label("__name__"), "outrigger_oom_kills_total");
    assert_eq!(values(1), [(10_000, 1.0), (11_000, 2.0), (12_000, 3.0)]);
}

#[test]
fn response_times_are_a_classic_histogram_that_only_grows() {
    let format = RemoteWrite::new(Vec::new());
    let window = |millis: &[u64]| {
        let mut latency = LatencyHistogram::new();
        millis.iter().for_each(|ms| latency.record(Duration::from_millis(*ms)));
        latency
    };
    let samples = [
        Sample { latency: Some(window(&[1, 3])), ..sample(10, &[]) },
        Sample { latency: Some(window(&[100_000])), ..sample(11, &[]) },
    ];
    let series = decoded(&format, &readings(&mut instance(), &samples));
    assert_eq!(series.len(), BOUNDS + 3);
    let of = |le: &str| {
        let found = series.iter().find(|series| series.label("le") == le).unwrap();
        assert_eq!(found.label("__name__"), "outrigger_request_duration_seconds_bucket");
        found.samples.iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    assert_eq!(of("0.000512"), [0.0, 0.0]);
    assert_eq!(of("0.001024"), [1.0, 1.0]);
    assert_eq!(of("0.004096"), [2.0, 2.0]);
    assert_eq!(of("33.554432"), [2.0, 2.0]);
    assert_eq!(of("+Inf"), [2.0, 3.0]);
    let [.., sum, count] = series.as_slice() else { panic!("more than two") };
    assert_eq!(sum.label("__name__"), "outrigger_request_duration_seconds_sum");
    assert_eq!(sum.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [0.004, 100.004]);
    assert_eq!(count.label("__name__"), "outrigger_request_duration_seconds_count");
    assert_eq!(count.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [2.0, 3.0]);
}

#[test]
fn every_series_of_an_instance_that_is_gone_ends_with_the_stale_marker() {
    let format = RemoteWrite::new(Vec::new());
    let mut instance = instance();
    let mut latency = LatencyHistogram::new();
    latency.record(Duration::from_millis(1));
    let custom = vec![("mail.waiting".to_owned(), 3.0)];
    let all = Sample { latency: Some(latency), custom, ..sample(10, &[(Metric::Cpu, 1.0), (Metric::OomKills, 0.0)]) };
    let before = decoded(&format, &readings(&mut instance, &[all]));
    let end = instance.end(UnixMillis::from_millis(20_000)).unwrap();
    let after = decoded(&format, &[Arc::new(end)]);
    let labels = |series: &[TimeSeries]| series.iter().map(|series| series.labels.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&before), labels(&after));
    assert!(after.iter().all(|series| series.samples.len() == 1
        && series.samples[0].timestamp == 20_000
        && series.samples[0].value.to_bits() == STALE));
}

#[test]
fn a_name_that_was_made_plain_keeps_its_own_beside_it() {
    let custom = vec![("mail.waiting".to_owned(), 3.0), ("mail_waiting".to_owned(), 4.0)];
    let batch = readings(&mut instance(), &[Sample { custom, ..sample(10, &[]) }]);
    let series = decoded(&RemoteWrite::new(Vec::new()), &batch);
    let named: Vec<_> = series.iter().map(|series| (series.label("__name__"), series.label("name"))).collect();
    assert_eq!(named, [("outrigger_custom_mail_waiting", "mail.waiting"), ("outrigger_custom_mail_waiting", "")]);
}

#[test]
fn what_has_no_names_is_left_out() {
    let batch = readings(&mut instance(), &[sample(10, &[(Metric::Cpu, 12.5)])]);
    assert!(RemoteWrite::new(Vec::new()).request(&batch, &Namings::new()).is_empty());
}

proptest! {
    /// The rules of the specification, for whatever a program calls its metrics.
    #[test]
    fn any_batch_keeps_to_the_specification(
        rows in prop::collection::vec((0_u64..50, prop::collection::btree_map("\\PC{1,12}", -1e9..1e9_f64, 0..5)), 1..20),
    ) {
        let samples: Vec<Sample> = rows
            .into_iter()
            .map(|(at, custom)| Sample { custom: custom.into_iter().collect(), ..sample(at, &[(Metric::Memory, 5.0)]) })
            .collect();
        let mut instance = instance();
        let batch = readings(&mut instance, &samples);
        let expected: usize = batch.iter().map(|reading| crate::queue::Load::points(&**reading)).sum();
        let series = decoded(&RemoteWrite::new(vec![("zone".to_owned(), "a".to_owned())]), &batch);
        prop_assert_eq!(series.iter().map(|series| series.samples.len()).sum::<usize>(), expected);
        let mut seen = std::collections::HashSet::new();
        for one in &series {
            prop_assert!(one.labels.is_sorted_by(|a, b| a.name < b.name), "sorted and unique: {:?}", one.labels);
            prop_assert!(one.labels.iter().all(|label| !label.value.is_empty()));
            prop_assert!(one.samples.is_sorted_by(|a, b| a.timestamp < b.timestamp));
            let key: Vec<_> = one.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
            prop_assert!(seen.insert(key), "a series stands in a request once");
        }
    }
}
