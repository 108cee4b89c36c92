//! Roll-ups against brute force.

use std::collections::BTreeMap;

use outrigger_history::rollup::{self, Closed, Mergeable as _};
use outrigger_history::{Block, Cascade, Kind, MetricName, Packer, Rollup, Row, Tiers};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use crate::samples::{ms, recorded, second, source};

const STEPS: [u64; 3] = [10_000, 60_000, 300_000];

type Samples = Vec<(UnixMillis, f64)>;

fn cascaded(samples: &[(UnixMillis, f64)]) -> Vec<Closed<Rollup>> {
    let mut cascade = Cascade::new(STEPS);
    let mut closed = Vec::new();
    for (at, value) in samples {
        cascade.push(*at, &Rollup::of(*value).expect("present"), &mut |span| closed.push(span));
    }
    cascade.finish(&mut |span| closed.push(span));
    closed
}

/// By the start of its span, everything that lies in it.
fn by_hand(samples: &[(UnixMillis, f64)], step: u64) -> BTreeMap<u64, Vec<f64>> {
    let mut spans: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (at, value) in samples {
        spans.entry(at.as_millis() / step * step).or_default().push(*value);
    }
    spans
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn any_samples() -> impl Strategy<Value = Samples> {
    prop::collection::btree_map(0_u64..2_000, 0_u32..1_000_000, 1..300)
        .prop_map(|samples| samples.into_iter().map(|(at, value)| (second(at), f64::from(value) / 100.0)).collect())
}

proptest! {
    #[test]
    fn every_tier_is_what_counting_by_hand_gives(samples in any_samples()) {
        let closed = cascaded(&samples);
        for (tier, step) in STEPS.into_iter().enumerate() {
            let spans = by_hand(&samples, step);
            let found: Vec<_> = closed.iter().filter(|span| span.tier == tier).collect();
            prop_assert_eq!(found.len(), spans.len());
            for (span, (start, values)) in found.into_iter().zip(spans) {
                prop_assert_eq!(span.start, ms(start));
                prop_assert_eq!(span.value.count, values.len() as u64);
                prop_assert_eq!(span.value.min, values.iter().copied().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(span.value.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                prop_assert_eq!(Some(&span.value.first), values.first());
                prop_assert_eq!(Some(&span.value.last), values.last());
                prop_assert!(close(span.value.sum, values.iter().sum()));
                let increase = values.windows(2).map(|pair| rollup::gained(pair[0], pair[1])).sum();
                prop_assert!(close(span.value.increase, increase));
            }
        }
    }

    #[test]
    fn the_same_samples_again_change_nothing(samples in any_samples(), again in 0_usize..300) {
        let mut cascade = Cascade::new(STEPS);
        let mut closed = Vec::new();
        let rollup = |value| Rollup::of(value).expect("present");
        for (at, (time, value)) in samples.iter().enumerate() {
            prop_assert!(cascade.push(*time, &rollup(*value), &mut |span| closed.push(span)));
            // A replay of some that came before, as after a connection that broke off.
            for (time, value) in &samples[at.saturating_sub(again)..=at] {
                prop_assert!(!cascade.push(*time, &rollup(*value), &mut |span| closed.push(span)));
            }
        }
        cascade.finish(&mut |span| closed.push(span));
        prop_assert_eq!(closed, cascaded(&samples));
    }

    #[test]
    fn merging_does_not_depend_on_where_it_is_cut(samples in any_samples(), at in any::<prop::sample::Index>()) {
        let merged = |samples: &[(UnixMillis, f64)]| {
            samples.iter().filter_map(|(_, value)| Rollup::of(*value)).reduce(|mut all, later| {
                all.merge_later(&later);
                all
            })
        };
        let (a, b) = samples.split_at(at.index(samples.len()));
        let whole = merged(&samples).expect("a sample");
        let apart = match (merged(a), merged(b)) {
            (Some(mut a), Some(b)) => { a.merge_later(&b); a }
            (a, b) => a.or(b).expect("a sample"),
        };
        prop_assert_eq!((whole.min, whole.max, whole.count), (apart.min, apart.max, apart.count));
        prop_assert_eq!((whole.first, whole.last), (apart.first, apart.last));
        prop_assert!(close(whole.sum, apart.sum) && close(whole.increase, apart.increase));
    }

    #[test]
    fn histograms_roll_up_to_what_was_recorded(
        seconds in prop::collection::btree_map(0_u64..200, prop::collection::vec(any::<u32>(), 0..6), 1..60)
    ) {
        let mut cascade = Cascade::new([10_000]);
        let mut closed: Vec<Closed<LatencyHistogram>> = Vec::new();
        for (at, micros) in &seconds {
            cascade.push(second(*at), &recorded(micros.iter().copied()), &mut |span| closed.push(span));
        }
        cascade.finish(&mut |span| closed.push(span));
        let mut spans: BTreeMap<UnixMillis, Vec<u32>> = BTreeMap::new();
        for (at, micros) in seconds {
            spans.entry(second(at / 10 * 10)).or_default().extend(micros);
        }
        let by_hand: Vec<_> = spans.into_iter().map(|(start, micros)| (start, recorded(micros))).collect();
        prop_assert_eq!(closed.into_iter().map(|span| (span.start, span.value)).collect::<Vec<_>>(), by_hand);
    }

    #[test]
    fn rollups_return_from_their_columns(samples in any_samples(), counter: bool) {
        let kind = if counter { Kind::Counter } else { Kind::Gauge };
        let metric = MetricName::from(Metric::Cpu);
        let spans: Vec<_> = cascaded(&samples).into_iter().filter(|span| span.tier == 0).collect();
        let mut block = Block::new(source(1), spans.iter().map(|span| span.start).collect()).expect("ascending");
        let rollups: Vec<_> = spans.iter().map(|span| Some(span.value)).collect();
        rollup::insert(&mut block, &metric, kind, &rollups).expect("one a time");
        let mut packer = Packer::new(Packer::TARGET);
        packer.push(&block).expect("one block");
        let row = packer.finish().pop().expect("a row");
        let found = Row::parse(&row.bytes).expect("a row").blocks()[0].rollups(&metric).expect("readable");
        for ((at, found), span) in found.into_iter().zip(spans) {
            prop_assert_eq!(at, span.start);
            let kept = match kind {
                Kind::Counter => span.value,
                Kind::Gauge => Rollup { first: span.value.last, increase: 0.0, ..span.value },
            };
            prop_assert_eq!(found, kept);
        }
    }
}

#[test]
fn a_span_is_closed_by_the_first_sample_behind_it() {
    let mut cascade = Cascade::new(Tiers::default().rolled_up());
    let mut closed = Vec::new();
    let aligned = crate::samples::START / 300_000 * 300 + 300;
    for at in 0..=300 {
        let time = ms((aligned + at) * 1_000);
        cascade.push(time, &Rollup::of(1.0).expect("present"), &mut |span| closed.push((at, span)));
    }
    let of = |tier| closed.iter().filter(move |(_, span)| span.tier == tier).map(|(at, span)| (*at, span.value.count));
    assert_eq!(of(0).collect::<Vec<_>>(), (1..=30).map(|n| (10 * n, 10)).collect::<Vec<_>>());
    assert_eq!(of(1).collect::<Vec<_>>(), (1..=5).map(|n| (60 * n, 60)).collect::<Vec<_>>());
    assert_eq!(of(2).collect::<Vec<_>>(), [(300, 300)]);
}
