//! The newest samples in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_history::ring::Pushed;
use outrigger_history::{MetricName, Ring, RingConfig};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use crate::samples::{recorded, second, source};

const CONFIG: RingConfig =
    RingConfig { open: 16, span: Duration::from_secs(1_000_000), sealed_bytes: 1 << 20, metrics: 4 };

fn cpu() -> MetricName {
    Metric::Cpu.into()
}

fn ring() -> Ring {
    Ring::new(source(1), CONFIG)
}

fn push(ring: &mut Ring, at: u64, value: f64) -> Pushed {
    ring.push(second(at), &[(cpu(), value)], None)
}

fn all(ring: &Ring) -> Vec<(UnixMillis, f64)> {
    ring.samples(&cpu(), second(0), second(1_000_000)).expect("its own rows")
}

proptest! {
    #[test]
    fn samples_return_in_the_order_of_time_whatever_order_they_came_in(
        samples in prop::collection::vec((0_u64..200, 0_u32..1_000), 0..200)
    ) {
        let mut ring = ring();
        let mut kept = BTreeMap::new();
        for (at, value) in samples {
            let value = f64::from(value) / 10.0;
            match push(&mut ring, at, value) {
                Pushed::Stored => prop_assert!(kept.insert(second(at), value).is_none()),
                Pushed::Duplicate => prop_assert!(kept.contains_key(&second(at))),
                Pushed::TooLate => prop_assert!(ring.sealed_until() >= Some(second(at))),
                Pushed::Empty => prop_assert!(false, "every sample has a value"),
            }
        }
        prop_assert_eq!(all(&ring), kept.clone().into_iter().collect::<Vec<_>>());
        ring.seal_all();
        prop_assert_eq!(all(&ring), kept.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_saved_every_so_often_is_everything_once_and_restores_the_ring(
        late in prop::collection::vec(0_u64..8, 1..200), every in 1_usize..40
    ) {
        let mut ring = ring();
        let mut saved = Vec::new();
        for (at, late) in late.iter().enumerate() {
            push(&mut ring, 8 + at as u64 - late, at as f64);
            if at % every == 0 {
                saved.extend(ring.unsaved().expect("its own rows"));
            }
        }
        saved.extend(ring.unsaved().expect("its own rows"));
        prop_assert!(ring.unsaved().expect("its own rows").is_empty());
        let mut once = BTreeMap::new();
        let mut restored = Ring::new(source(1), RingConfig { open: 1_000, ..CONFIG });
        for block in &saved {
            for (at, value) in block.samples(&cpu()) {
                prop_assert!(once.insert(at, value).is_none(), "saved twice");
            }
            restored.restore(block);
            restored.restore(block);
        }
        prop_assert_eq!(&all(&ring), &once.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(all(&restored), all(&ring));
        prop_assert!(restored.unsaved().expect("its own rows").is_empty());
    }
}

#[test]
fn chunks_are_cut_where_the_one_before_ended() {
    let mut ring = ring();
    let mut cut = Vec::new();
    let mut until = None;
    for at in 0..500 {
        push(&mut ring, at, at as f64);
        if at % 50 == 0 {
            for block in ring.sealed_between(until, second(at)).expect("its own rows") {
                until = block.times().last().copied();
                cut.extend(block.samples(&cpu()));
            }
        }
    }
    assert!(cut.len() > 400, "{} samples", cut.len());
    assert_eq!(cut, all(&ring)[..cut.len()]);
}

#[test]
fn a_late_sample_finds_its_place_and_one_that_is_too_late_does_not() {
    let mut ring = ring();
    for at in (0..17).filter(|at| *at != 12) {
        assert_eq!(push(&mut ring, at, 1.0), Pushed::Stored);
    }
    assert_eq!(push(&mut ring, 12, 2.0), Pushed::Stored);
    assert_eq!(push(&mut ring, 12, 3.0), Pushed::Duplicate);
    assert_eq!(push(&mut ring, 0, 3.0), Pushed::TooLate);
    assert_eq!(push(&mut ring, 18, f64::NAN), Pushed::Empty);
    assert_eq!(all(&ring)[12], (second(12), 2.0));
}

#[test]
fn an_idle_source_takes_next_to_nothing_and_a_busy_one_no_more_than_it_may() {
    let mut idle = ring();
    for at in 0..3_600 {
        push(&mut idle, at, 0.0);
    }
    assert!(idle.sealed_bytes() < 20_000, "{} bytes", idle.sealed_bytes());
    let config = RingConfig { open: 64, sealed_bytes: 2_000, ..CONFIG };
    let mut busy = Ring::new(source(1), config);
    for at in 0..3_600_u64 {
        busy.push(second(at), &[(cpu(), (at * at % 9_973) as f64)], None);
        assert!(busy.sealed_bytes() <= 2_000);
    }
    let found = all(&busy);
    assert!(found.len() > 500, "{} samples", found.len());
    assert_eq!(found.last().map(|(at, _)| *at), Some(second(3_599)));
}

#[test]
fn sealed_samples_are_forgotten_after_their_time() {
    let mut ring = Ring::new(source(1), RingConfig { span: Duration::from_secs(100), ..CONFIG });
    for at in 0..1_000 {
        push(&mut ring, at, 1.0);
    }
    let found = all(&ring);
    assert!((100..140).contains(&found.len()), "{} samples", found.len());
}

#[test]
fn metrics_above_the_limit_are_left_out_and_counted() {
    let mut ring = ring();
    let named = |number: usize| (MetricName::new(&format!("of_the_program_{number}")), 1.0);
    let values: Vec<_> = (0..6).map(named).chain([(MetricName::new(""), 1.0)]).collect();
    assert_eq!(ring.push(second(1), &values, None), Pushed::Stored);
    assert_eq!(ring.left_out(), 3);
}

#[test]
fn response_times_return_from_both_parts() {
    let mut ring = ring();
    for at in 0..40_u32 {
        ring.push(second(u64::from(at)), &[], Some(&recorded([at + 1, 1_000])));
    }
    let found = ring.latency(second(5), second(35)).expect("its own rows");
    assert_eq!(found.len(), 30);
    assert!(found.iter().zip(5_u32..).all(|((_, histogram), at)| *histogram == recorded([at + 1, 1_000])));
}
