//! What a hostile frame can make a decoder allocate, measured.
//!
//! No single allocation may exceed the lane's limit, and all that is alive at once stays within a small multiple of
//! it: decoded values are wider than their varints (a custom metric of ten bytes becomes a string and a number).

#![allow(unsafe_code)]

#[path = "strategies/mod.rs"]
mod strategies;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use outrigger_protocol::codec::{Frame, PREFIX_BYTES, decode, encode};
use outrigger_protocol::environment::Environment;
use outrigger_protocol::fetch::{FetchRequest, FetchResponse};
use outrigger_protocol::limits;
use outrigger_protocol::log::LogBatch;
use outrigger_protocol::message::{AgentMessage, EnrollRequest, EnrollResponse, ServerMessage};
use outrigger_protocol::sample::MetricBatch;
use proptest::collection::vec;
use proptest::prelude::*;

/// Live bytes over the lane's limit: 3.5 were seen, by samples full of one-letter custom metrics.
const LIVE_FACTOR: usize = 4;

struct Counting;

#[derive(Clone, Copy, Default)]
struct Use {
    live: isize,
    peak: isize,
    largest: usize,
}

thread_local! {
    static USE: Cell<Use> = const { Cell::new(Use { live: 0, peak: 0, largest: 0 }) };
}

fn record(grown: isize, size: usize) {
    USE.with(|cell| {
        let mut seen = cell.get();
        seen.live += grown;
        seen.peak = seen.peak.max(seen.live);
        seen.largest = seen.largest.max(size);
        cell.set(seen);
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local `Cell` of plain
// numbers, which neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size().cast_signed(), layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        record(-layout.size().cast_signed(), 0);
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(size.cast_signed() - layout.size().cast_signed(), size);
        // SAFETY: the caller's promise about its arguments is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn measured(work: impl FnOnce()) -> (usize, usize) {
    USE.set(Use::default());
    work();
    let seen = USE.get();
    (seen.largest, seen.peak.cast_unsigned())
}

fn assert_bounded(what: &str, limit: u32, work: impl FnOnce()) {
    let limit = limit as usize;
    let (largest, peak) = measured(work);
    assert!(largest <= limit, "{what}: one allocation of {largest} bytes, limit {limit}");
    assert!(peak <= LIVE_FACTOR * limit, "{what}: {peak} bytes alive, limit {limit}");
}

fn assert_frame_bounded<T: Frame>(bytes: &[u8]) {
    assert_bounded(T::NAME, T::LIMIT, || drop(black_box(decode::<T>(bytes))));
}

fn assert_environment_bounded(bytes: &[u8]) {
    assert_bounded("environment", limits::CONTROL_TO_AGENT_BYTES, || drop(black_box(Environment::decode(bytes))));
}

fn assert_all_bounded(bytes: &[u8]) {
    assert_frame_bounded::<AgentMessage>(bytes);
    assert_frame_bounded::<ServerMessage>(bytes);
    assert_frame_bounded::<EnrollRequest>(bytes);
    assert_frame_bounded::<EnrollResponse>(bytes);
    assert_frame_bounded::<FetchRequest>(bytes);
    assert_frame_bounded::<FetchResponse>(bytes);
    assert_frame_bounded::<MetricBatch>(bytes);
    assert_frame_bounded::<LogBatch>(bytes);
    assert_environment_bounded(bytes);
}

/// A valid frame with lengths that no frame has, at each of its positions.
fn with_claims(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let positions = (1..frame.len()).take(400);
    positions.flat_map(move |at| {
        [1 << 16, 1 << 20, 1 << 32, 1 << 50, u64::MAX].map(|claimed| {
            // bincode's varint: 253, then eight bytes.
            [&frame[..at], &[253], &u64::to_le_bytes(claimed), &frame[at..]].concat()
        })
    })
}

fn assert_claims_bounded<T: Frame>(value: &T) {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).expect("within the limits");
    for hostile in with_claims(&bytes[PREFIX_BYTES..]) {
        assert_frame_bounded::<T>(&hostile);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn claimed_lengths_allocate_nothing_of_their_size(
        agent in strategies::agent_message(), server in strategies::server_message(),
        request in strategies::enroll_request(), response in strategies::enroll_response(),
        metrics in strategies::metric_batch(), logs in strategies::log_batch(),
        environment in strategies::environment(),
    ) {
        assert_claims_bounded(&agent);
        assert_claims_bounded(&server);
        assert_claims_bounded(&request);
        assert_claims_bounded(&response);
        assert_claims_bounded(&metrics);
        assert_claims_bounded(&logs);
        let environment = environment.encode().expect("within the limits");
        for hostile in with_claims(&environment) {
            assert_environment_bounded(&hostile);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_stay_within_the_lane(mut bytes in vec(any::<u8>(), 1..2_000)) {
        bytes[0] = 1;
        assert_all_bounded(&bytes);
    }
}

/// A metric batch filled to its lane's limit with what is smallest on the wire and largest in memory.
fn metric_bomb(sample: &[u8]) -> Vec<u8> {
    let count = ((limits::METRICS_BYTES as usize - 20) / sample.len()).min(limits::SAMPLES_PER_BATCH);
    let mut bytes = vec![1, 0, 0, 251];
    bytes.extend_from_slice(&u16::try_from(count).expect("at most 600").to_le_bytes());
    for _ in 0..count {
        bytes.extend_from_slice(sample);
    }
    bytes.push(0);
    bytes
}

#[test]
fn the_densest_frames_stay_within_a_small_multiple_of_the_lane() {
    let mut custom = vec![0, 0, 42];
    for name in 0..42_u8 {
        custom.extend([1, b'0' + name]);
        custom.extend_from_slice(&1.0_f64.to_le_bytes());
    }
    custom.push(0);
    // First and last bucket: the widest histogram from the fewest bytes.
    let mut histogram = vec![0, 0, 0, 1, 0, 0, 252];
    histogram.extend_from_slice(&u32::MAX.to_le_bytes());
    histogram.extend([2, 0, 1, 239, 1]);
    for sample in [custom, histogram] {
        let bomb = metric_bomb(&sample);
        decode::<MetricBatch>(&bomb).expect("a valid frame, only a dense one");
        assert_frame_bounded::<MetricBatch>(&bomb);
    }
    let mut logs = vec![1, 0, 0, 251, 0, 16];
    logs.resize(6 + 5 * limits::LOG_RECORDS_PER_BATCH, 0);
    logs.push(0);
    decode::<LogBatch>(&logs).expect("4096 empty lines");
    assert_frame_bounded::<LogBatch>(&logs);
}
