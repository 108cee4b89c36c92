//! Every frame round-trips; any bytes are a value or an error.

#[path = "strategies/mod.rs"]
mod strategies;

use outrigger_protocol::codec::{
    CodecError, Discarded, Frame, PREFIX_BYTES, decode, decode_counting, encode, frame_length,
};
use outrigger_protocol::environment::Environment;
use outrigger_protocol::fetch::{FetchRequest, FetchResponse};
use outrigger_protocol::limits;
use outrigger_protocol::log::LogBatch;
use outrigger_protocol::message::{AgentMessage, EnrollRequest, EnrollResponse, ServerMessage};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::time::UnixMillis;
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded<T: Frame>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).expect("within the limits");
    bytes
}

/// The frame comes back, from exactly its bytes and from no shorter ones.
fn round_trips<T: Frame + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = encoded(value);
    let (prefix, frame) = bytes.split_first_chunk::<PREFIX_BYTES>().expect("a prefix");
    prop_assert_eq!(frame_length::<T>(*prefix).expect("an acceptable length"), frame.len());
    let again: T = decode(frame).expect("what was encoded");
    prop_assert_eq!(&again, value);

    let step = (frame.len() / 64).max(1);
    for cut in (0..frame.len()).step_by(step) {
        prop_assert!(decode::<T>(&frame[..cut]).is_err(), "cut at {}", cut);
    }
    let mut longer = frame.to_vec();
    longer.push(0);
    prop_assert!(decode::<T>(&longer).is_err(), "trailing byte");
    longer.truncate(frame.len());
    longer[0] = 2;
    let is_unknown = matches!(decode::<T>(&longer), Err(CodecError::UnknownVersion { version: 2, .. }));
    prop_assert!(is_unknown, "version 2");
    Ok(())
}

/// Bytes from anywhere decode or are refused; what they decode to is itself a frame.
fn survives<T: Frame + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        round_trips(&value)?;
    }
    Ok(())
}

fn survives_as_any_frame(bytes: &[u8]) -> Result<(), TestCaseError> {
    survives::<AgentMessage>(bytes)?;
    survives::<ServerMessage>(bytes)?;
    survives::<EnrollRequest>(bytes)?;
    survives::<EnrollResponse>(bytes)?;
    survives::<FetchRequest>(bytes)?;
    survives::<FetchResponse>(bytes)?;
    survives::<MetricBatch>(bytes)?;
    survives::<LogBatch>(bytes)?;
    if let Ok(environment) = Environment::decode(bytes) {
        let again = environment.encode().expect("what was decoded");
        prop_assert_eq!(Environment::decode(&again).expect("what was encoded"), environment);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agent_messages_round_trip(value in strategies::agent_message()) {
        round_trips(&value)?;
    }

    #[test]
    fn server_messages_round_trip(value in strategies::server_message()) {
        round_trips(&value)?;
    }

    #[test]
    fn enrolment_requests_round_trip(value in strategies::enroll_request()) {
        round_trips(&value)?;
    }

    #[test]
    fn enrolment_responses_round_trip(value in strategies::enroll_response()) {
        round_trips(&value)?;
    }

    #[test]
    fn metric_batches_round_trip(value in strategies::metric_batch()) {
        round_trips(&value)?;
    }

    #[test]
    fn log_batches_round_trip(value in strategies::log_batch()) {
        round_trips(&value)?;
    }

    #[test]
    fn environments_round_trip_and_hash_alike_in_any_order(value in strategies::environment()) {
        let bytes = value.encode().expect("within the limits");
        let again = Environment::decode(&bytes).expect("what was encoded");
        prop_assert_eq!(again.hash(), value.hash());
        prop_assert_eq!(&*again.encode().expect("what was decoded"), &*bytes);
        for cut in 0..bytes.len() {
            prop_assert!(Environment::decode(&bytes[..cut]).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_a_value_or_an_error(mut bytes in vec(any::<u8>(), 0..400), is_versioned: bool) {
        if is_versioned && let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        survives_as_any_frame(&bytes)?;
    }

    #[test]
    fn a_frame_with_one_byte_changed_is_a_value_or_an_error(
        value in strategies::metric_batch(), at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = encoded(&value).split_off(PREFIX_BYTES);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survives_as_any_frame(&bytes)?;
    }
}

#[test]
fn a_length_is_judged_before_anything_is_read() {
    let too_large = frame_length::<MetricBatch>(u32::MAX.to_be_bytes());
    assert!(matches!(too_large, Err(CodecError::TooLarge { length: 0xffff_ffff, limit: limits::METRICS_BYTES, .. })));
    assert!(matches!(frame_length::<MetricBatch>([0; 4]), Err(CodecError::Empty { .. })));
    assert_eq!(frame_length::<LogBatch>(limits::LOGS_BYTES.to_be_bytes()).ok(), Some(1024 * 1024));
}

#[test]
fn a_frame_above_its_limit_is_not_written() {
    let mut out = vec![9];
    let large = AgentMessage::Renew { csr: vec![0; limits::CSR_BYTES + 1] };
    assert!(matches!(encode(&large, &mut out), Err(CodecError::OverLimit { .. })));
    let samples = vec![full_sample(); limits::SAMPLES_PER_BATCH];
    let large = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples, dropped: 0 };
    let error = encode(&large, &mut out).expect_err("600 full samples do not fit");
    assert!(matches!(error, CodecError::TooLarge { limit: limits::METRICS_BYTES, .. }), "{error}");
    assert_eq!(out, [9], "the output is as it was");
}

fn full_sample() -> Sample {
    let mut sample = Sample::new(UnixMillis::from_millis(1_700_000_000_000));
    for metric in Metric::ALL {
        sample.set(*metric, 1.5);
    }
    sample.custom = (0..30).map(|i| (format!("custom_metric_{i}"), 2.5)).collect();
    sample
}

#[test]
fn too_many_items_are_refused_with_both_numbers() {
    // id, then one sample more than allowed, each: time 0, no values, no custom metrics, no histogram.
    let mut bytes = vec![1, 0, 0, 251];
    bytes.extend_from_slice(&601_u16.to_le_bytes());
    bytes.extend(std::iter::repeat_n([0, 0, 0, 0], 601).flatten());
    bytes.push(0);
    let error = decode::<MetricBatch>(&bytes).expect_err("601 samples");
    assert!(matches!(error, CodecError::OverLimit { count: 601, limit: 600, .. }), "{error}");
}

#[test]
fn values_that_mean_nothing_are_dropped_and_counted() {
    // One sample with five values: CPU, CPU again, NaN memory, an unknown code, and a quantile that never travels.
    let mut bytes = vec![1, 0, 0, 1, 0, 5];
    let unknown = 200;
    for (code, value) in [(1, 50.0), (1, 60.0), (10, f64::NAN), (unknown, 1.0), (54, 3.0_f64)] {
        bytes.push(code);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend([0, 0, 7]);
    let mut discarded = Discarded::default();
    let batch: MetricBatch = decode_counting(&bytes, &mut discarded).expect("the rest is kept");
    assert_eq!(batch.samples[0].values, [(Metric::Cpu, 50.0)]);
    assert_eq!(batch.dropped, 7);
    assert_eq!(discarded, Discarded { unknown_metrics: 2, non_finite: 1, duplicates: 1 });
}

#[test]
fn quantiles_and_absent_values_do_not_travel() {
    let mut sample = Sample::new(UnixMillis::EPOCH);
    sample.values = vec![(Metric::ResponseTimeP95, 5.0), (Metric::Cpu, f64::INFINITY), (Metric::Memory, 40.0)];
    let batch = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples: vec![sample], dropped: 0 };
    let bytes = encoded(&batch).split_off(PREFIX_BYTES);
    let again: MetricBatch = decode(&bytes).expect("what was encoded");
    assert_eq!(again.samples[0].values, [(Metric::Memory, 40.0)]);
}

#[test]
fn a_long_reason_is_cut_instead_of_costing_the_connection() {
    let bytes = encoded(&AgentMessage::Goodbye { reason: "ä".repeat(limits::TEXT_BYTES) }).split_off(PREFIX_BYTES);
    match decode(&bytes).expect("what was encoded") {
        AgentMessage::Goodbye { reason } => assert_eq!(reason, "ä".repeat(limits::TEXT_BYTES / 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn variables_out_of_order_are_refused() {
    let entry = |name: u8| [1, name, 0, 0, 0, 0];
    let bytes = [&[1, 2][..], &entry(b'B'), &entry(b'A')].concat();
    assert!(matches!(Environment::decode(&bytes), Err(CodecError::Invalid { .. })));
    let bytes = [&[1, 2][..], &entry(b'A'), &entry(b'B')].concat();
    assert_eq!(Environment::decode(&bytes).expect("in order").entries.len(), 2);
}
