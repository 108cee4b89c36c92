use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::grouped::Namings;
use crate::instances::tests::{instance, sample, source};
use crate::instances::{Line, Reading};
use crate::lane::Format;
use crate::latency::BOUNDS;
use crate::naming::tests::Told;

/// The messages again, as `prost` reads them: somebody else's decoder. Fields as in opentelemetry-proto 1.x.
mod proto {
    use prost::{Message, Oneof};

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(super) resources: Vec<OfResource>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct OfResource {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scopes: Vec<OfScope>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AnyValue {
        #[prost(oneof = "Any", tags = "1, 2, 3")]
        pub(super) value: Option<Any>,
    }
    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Any {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Flag(bool),
        #[prost(int64, tag = "3")]
        Number(i64),
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct OfScope {
        #[prost(message, optional, tag = "1")]
        pub(super) scope: Option<Scope>,
        /// A metric or a line: both are read from the same bytes.
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(super) items: Vec<Vec<u8>>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Scope {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) version: String,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metric {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "3")]
        pub(super) unit: String,
        #[prost(message, optional, tag = "5")]
        pub(super) gauge: Option<Numbers>,
        #[prost(message, optional, tag = "7")]
        pub(super) sum: Option<Numbers>,
        #[prost(message, optional, tag = "9")]
        pub(super) histogram: Option<Histogram>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Numbers {
        #[prost(message, repeated, tag = "1")]
        pub(super) points: Vec<Number>,
        #[prost(int32, tag = "2")]
        pub(super) temporality: i32,
        #[prost(bool, tag = "3")]
        pub(super) is_monotonic: bool,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Number {
        #[prost(fixed64, tag = "2")]
        pub(super) start: u64,
        #[prost(fixed64, tag = "3")]
        pub(super) time: u64,
        #[prost(double, optional, tag = "4")]
        pub(super) value: Option<f64>,
        #[prost(message, repeated, tag = "7")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "8")]
        pub(super) flags: u32,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Histogram {
        #[prost(message, repeated, tag = "1")]
        pub(super) points: Vec<HistogramPoint>,
        #[prost(int32, tag = "2")]
        pub(super) temporality: i32,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct HistogramPoint {
        #[prost(fixed64, tag = "2")]
        pub(super) start: u64,
        #[prost(fixed64, tag = "3")]
        pub(super) time: u64,
        #[prost(fixed64, tag = "4")]
        pub(super) count: u64,
        #[prost(double, optional, tag = "5")]
        pub(super) sum: Option<f64>,
        #[prost(fixed64, repeated, tag = "6")]
        pub(super) buckets: Vec<u64>,
        #[prost(double, repeated, tag = "7")]
        pub(super) bounds: Vec<f64>,
        #[prost(uint32, tag = "10")]
        pub(super) flags: u32,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub(super) time: u64,
        #[prost(int32, tag = "2")]
        pub(super) severity: i32,
        #[prost(string, tag = "3")]
        pub(super) severity_text: String,
        #[prost(message, optional, tag = "5")]
        pub(super) body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(fixed64, tag = "11")]
        pub(super) observed: u64,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Answer {
        #[prost(message, optional, tag = "1")]
        pub(super) partial: Option<Partial>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Partial {
        #[prost(int64, tag = "1")]
        pub(super) rejected: i64,
        #[prost(string, tag = "2")]
        pub(super) message: String,
    }
}

fn envelope(compression: Compression) -> Envelope {
    Envelope::new(compression, vec![("cluster".to_owned(), "eu".to_owned())])
}

fn namings() -> Namings {
    Namings::from([(source(1).deployment, Arc::new(Told::naming("web")))])
}

fn request(format: &impl Format<Item = Reading>, batch: &[Arc<Reading>]) -> Vec<proto::OfResource> {
    let body = format.encode(batch, &namings()).unwrap();
    proto::Request::decode(body.as_slice()).unwrap().resources
}

fn metrics(batch: &[Arc<Reading>]) -> Vec<proto::Metric> {
    let resources = request(&OtlpMetrics(envelope(Compression::None)), batch);
    let [resource] = resources.as_slice() else { panic!("one instance is one resource") };
    resource.scopes[0].items.iter().map(|item| proto::Metric::decode(item.as_slice()).unwrap()).collect()
}

fn texts(attributes: &[proto::KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &proto::KeyValue| match pair.value.clone().and_then(|any| any.value) {
        Some(proto::Any::Text(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn everything() -> Sample {
    let mut latency = LatencyHistogram::new();
    [1, 3].into_iter().for_each(|ms| latency.record(Duration::from_millis(ms)));
    let custom = vec![("mail.waiting".to_owned(), 3.0)];
    Sample { latency: Some(latency), custom, ..sample(10, &[(Metric::Cpu, 12.5), (Metric::OomKills, 2.0)]) }
}

fn line(message: &str, level: Level, stream: LogStream) -> Arc<Line> {
    let record = LogRecord {
        at: UnixMillis::from_millis(1_500),
        stream,
        level,
        message: message.to_owned(),
        truncated: stream == LogStream::Agent,
    };
    Arc::new(Line { source: source(1), record, received_at: UnixMillis::from_millis(1_600), dropped_before: 3 })
}

#[test]
fn an_instance_is_a_resource_with_the_conventional_attributes() {
    let reading = Arc::new(instance().take(&everything()).0.unwrap());
    let resources = request(&OtlpMetrics(envelope(Compression::None)), &[reading]);
    let attributes = texts(&resources[0].resource.clone().unwrap().attributes);
    let expected = [
        ("service.name", "web"),
        ("service.namespace", "shop"),
        ("service.instance.id", &source(1).instance.to_string()),
        ("outrigger.deployment.id", "dep_1"),
        ("outrigger.organization.id", "org_1"),
        ("cluster", "eu"),
    ];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let scope = resources[0].scopes[0].scope.clone().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("outrigger", env!("CARGO_PKG_VERSION")));
}

#[test]
fn gauges_totals_and_response_times_are_what_they_are() {
    let reading = Arc::new(instance().take(&everything()).0.unwrap());
    let found = metrics(&[reading]);
    let [cpu, oom, mail, latency] = found.as_slice() else { panic!("four: {found:?}") };
    assert_eq!((cpu.name.as_str(), cpu.unit.as_str()), ("outrigger.cpu", "%"));
    let point = &cpu.gauge.as_ref().unwrap().points[0];
    assert_eq!((point.time, point.value, point.start), (10_000_000_000, Some(12.5), 0));

    assert_eq!((oom.name.as_str(), oom.unit.as_str()), ("outrigger.oom_kills", "{count}"));
    let sum = oom.sum.as_ref().unwrap();
    assert_eq!((sum.temporality, sum.is_monotonic), (2, true));
    assert_eq!((sum.points[0].start, sum.points[0].value), (9_000_000_000, Some(2.0)));

    assert_eq!(mail.name, "outrigger.custom.mail_waiting");
    let attributes = texts(&mail.gauge.as_ref().unwrap().points[0].attributes);
    assert_eq!(attributes, [("name".to_owned(), "mail.waiting".to_owned())]);

    assert_eq!((latency.name.as_str(), latency.unit.as_str()), ("outrigger.request_duration", "s"));
    let histogram = latency.histogram.as_ref().unwrap();
    let point = &histogram.points[0];
    assert_eq!((histogram.temporality, point.count, point.sum), (2, 2, Some(0.004)));
    assert_eq!((point.bounds.len(), point.buckets.len()), (BOUNDS, BOUNDS + 1));
    assert_eq!(point.bounds[..4], [0.000_512, 0.001_024, 0.002_048, 0.004_096]);
    assert_eq!(point.buckets[..5], [0, 1, 0, 1, 0]);
}

#[test]
fn series_of_an_instance_that_is_gone_have_no_recorded_value() {
    let mut instance = instance();
    instance.take(&everything());
    let found = metrics(&[Arc::new(instance.end(UnixMillis::from_millis(20_000)).unwrap())]);
    assert_eq!(found.len(), 4);
    for metric in found {
        let numbers = metric.gauge.or(metric.sum).map(|data| data.points).unwrap_or_default();
        assert!(numbers.iter().all(|point| point.flags == 1 && point.value.is_none()));
        let latency = metric.histogram.map(|data| data.points).unwrap_or_default();
        assert!(latency.iter().all(|point| point.flags == 1 && point.count == 0 && point.sum.is_none()));
    }
}

#[test]
fn lines_keep_time_level_stream_and_what_is_missing() {
    let batch = [
        line("hello\u{1b}", Level::Warn, LogStream::Stderr),
        line("", Level::Trace, LogStream::Stdout),
        line("x", Level::Error, LogStream::Agent),
    ];
    let body = OtlpLogs(envelope(Compression::None)).encode(&batch, &namings()).unwrap();
    let resources = proto::Request::decode(body.as_slice()).unwrap().resources;
    let records: Vec<_> =
        resources[0].scopes[0].items.iter().map(|item| proto::LogRecord::decode(item.as_slice()).unwrap()).collect();
    let severities: Vec<_> = records.iter().map(|r| (r.severity, r.severity_text.as_str())).collect();
    assert_eq!(severities, [(13, "WARN"), (1, "TRACE"), (17, "ERROR")]);
    assert_eq!((records[0].time, records[0].observed), (1_500_000_000, 1_600_000_000));
    assert_eq!(records[0].body.clone().unwrap().value, Some(proto::Any::Text("hello\u{1b}".to_owned())));
    assert_eq!(
        records[1].body.clone().unwrap().value,
        Some(proto::Any::Text(String::new())),
        "an empty line is a line"
    );
    let attributes = texts(&records[2].attributes);
    let keys: Vec<_> = attributes.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["outrigger.stream", "outrigger.truncated", "outrigger.dropped_before"]);
    assert_eq!(attributes[2].1, format!("{:?}", Some(proto::Any::Number(3))));
    assert_eq!(texts(&records[0].attributes)[0], ("log.iostream".to_owned(), "stderr".to_owned()));
}

#[test]
fn gzip_holds_the_same_request() {
    let batch = [line("hello", Level::Info, LogStream::Stdout)];
    let plain = OtlpLogs(envelope(Compression::None)).encode(&batch, &namings()).unwrap();
    let format = OtlpLogs(envelope(Compression::Gzip));
    let packed = format.encode(&batch, &namings()).unwrap();
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(format.headers().contains(&("content-encoding", "gzip")));
}

#[test]
fn a_line_is_exactly_these_bytes() {
    let batch = [line("hi", Level::Info, LogStream::Stdout)];
    let body = OtlpLogs(envelope(Compression::None)).encode(&batch, &namings()).unwrap();
    let expected = [
        // 1.5 s, INFO, the text.
        b"\x12\x5a\x09\x00\x2f\x68\x59\x00\x00\x00\x00\x10\x09\x1a\x04INFO\x2a\x04\x0a\x02hi".as_slice(),
        b"\x32\x18\x0a\x0clog.iostream\x12\x08\x0a\x06stdout",
        b"\x32\x1e\x0a\x18outrigger.dropped_before\x12\x02\x18\x03",
        // Received at 1.6 s.
        b"\x59\x00\x10\x5e\x5f\x00\x00\x00\x00",
    ]
    .concat();
    assert!(body.ends_with(&expected), "{:x?}", body);
}

#[test]
fn a_success_in_part_is_counted() {
    let answer = |rejected, message: &str| {
        let partial = Some(proto::Partial { rejected, message: message.to_owned() });
        verdict(&proto::Answer { partial }.encode_to_vec())
    };
    assert_eq!(verdict(b""), Verdict::default());
    assert_eq!(answer(3, "too old"), Verdict { rejected: 3, message: Some("too old".to_owned()) });
    assert_eq!(answer(-3, ""), Verdict::default());
    assert_eq!(verdict(b"not protobuf at all"), Verdict::default());
}

#[test]
fn a_refusal_is_read_from_its_status_message() {
    assert_eq!(complaint(b"\x08\x03\x12\x08bad data"), "bad data");
    assert_eq!(complaint(b"404 page not found"), "404 page not found");
}

proptest! {
    #[test]
    fn no_answer_makes_trouble(body in prop::collection::vec(any::<u8>(), 0..200)) {
        verdict(&body);
        complaint(&body);
    }

    #[test]
    fn every_line_arrives_as_it_is(messages in prop::collection::vec(".{0,300}", 1..20)) {
        let batch: Vec<_> = messages.iter().map(|text| line(text, Level::Info, LogStream::Stdout)).collect();
        let body = OtlpLogs(envelope(Compression::None)).encode(&batch, &namings()).unwrap();
        let resources = proto::Request::decode(body.as_slice()).unwrap().resources;
        let bodies: Vec<_> = resources[0].scopes[0].items.iter().map(|item| {
            match proto::LogRecord::decode(item.as_slice()).unwrap().body.and_then(|any| any.value) {
                Some(proto::Any::Text(text)) => text,
                other => panic!("{other:?}"),
            }
        }).collect();
        prop_assert_eq!(bodies, messages);
    }
}
