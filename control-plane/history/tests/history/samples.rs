//! What the tests make samples of.

use std::time::Duration;

use outrigger_history::{Block, ColumnKey, Field, MetricName, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

pub(crate) const START: u64 = 1_790_000_000_000;

pub(crate) const fn ms(millis: u64) -> UnixMillis {
    UnixMillis::from_millis(millis)
}

/// A moment `seconds` after the start of the tests' time.
pub(crate) const fn second(seconds: u64) -> UnixMillis {
    ms(START + 1_000 * seconds)
}

pub(crate) const fn source(number: u8) -> SourceId {
    SourceId::from_bytes([number; 16])
}

pub(crate) fn recorded(micros: impl IntoIterator<Item = u32>) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::new();
    for us in micros {
        histogram.record(Duration::from_micros(u64::from(us)));
    }
    histogram
}

/// Numbers as sandboxes have them, and such as none has.
pub(crate) fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0_u32..100_000).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        2 => (0_u8..3).prop_map(f64::from),
        2 => any::<u64>().prop_map(f64::from_bits),
        2 => Just(f64::NAN),
        1 => Just(-0.0),
    ]
}

fn any_key() -> impl Strategy<Value = ColumnKey> {
    let metric = prop_oneof![
        prop::sample::select(Metric::ALL).prop_map(MetricName::Known),
        "[a-zé_]{1,40}".prop_map(|name| MetricName::new(&name)),
    ];
    (metric, prop::sample::select(&Field::ALL[..])).prop_map(|(metric, field)| ColumnKey { metric, field })
}

/// A block of any times and columns, of source `number`.
pub(crate) fn any_block(number: u8) -> impl Strategy<Value = Block> {
    prop::collection::btree_set(0_u64..5_000_000, 1..60).prop_flat_map(move |times| {
        let samples = times.len();
        let column = prop::collection::vec(any_value(), samples);
        let latency = prop::collection::vec(prop::option::of(prop::collection::vec(any::<u32>(), 0..5)), samples);
        (Just(times), prop::collection::vec((any_key(), column), 0..6), prop::option::of(latency)).prop_map(
            move |(times, columns, latency)| {
                let times = times.into_iter().map(|at| ms(START + at)).collect();
                let mut block = Block::new(source(number), times).expect("ascending");
                for (key, values) in columns {
                    block.insert(key, values).expect("one value a time");
                }
                if let Some(latency) = latency {
                    let histograms = latency.into_iter().map(|us| us.map(recorded)).collect();
                    block.insert_latency(histograms).expect("one a time");
                }
                block
            },
        )
    })
}
