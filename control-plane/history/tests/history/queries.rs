//! Answers against brute force.

use std::time::Duration;

use outrigger_history::query::{self, Across, Aggregate, Grid, Points};
use outrigger_history::{Cascade, Kind, QueryError, Rollup};
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use crate::samples::{START, ms, recorded, second};

const SECOND: Duration = Duration::from_secs(1);

fn points(samples: &[(UnixMillis, f64)], kind: Kind) -> Points<Vec<(UnixMillis, Rollup)>> {
    let points = samples.iter().filter_map(|(at, value)| Some((*at, Rollup::of(*value)?))).collect();
    Points { points, kind, interval: SECOND }
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn any_samples() -> impl Strategy<Value = Vec<(UnixMillis, f64)>> {
    prop::collection::btree_map(0_u64..400, 0_u32..100_000, 0..200)
        .prop_map(|samples| samples.into_iter().map(|(at, value)| (second(at), f64::from(value) / 10.0)).collect())
}

fn by_hand(aggregate: Aggregate, values: &[f64]) -> Option<f64> {
    let last = *values.last()?;
    let sum: f64 = values.iter().sum();
    Some(match aggregate {
        Aggregate::Avg => sum / values.len() as f64,
        Aggregate::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregate::Sum => sum,
        Aggregate::Last => last,
        Aggregate::Count => values.len() as f64,
        Aggregate::Rate => return None,
    })
}

proptest! {
    #[test]
    fn every_step_is_what_counting_by_hand_gives(
        samples in any_samples(), from in 0_u64..300, length in 1_u64..200, step in 1_u64..40
    ) {
        let grid = Grid::new(second(from), second(from + length), Duration::from_secs(step)).expect("a grid");
        for aggregate in
            [Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Sum, Aggregate::Last, Aggregate::Count]
        {
            let found = query::series(&grid, aggregate, points(&samples, Kind::Gauge)).expect("an answer");
            prop_assert_eq!(found.len(), grid.points());
            for (start, found) in grid.times().zip(found) {
                let end = start.saturating_add(grid.step());
                let inside: Vec<_> =
                    samples.iter().filter(|(at, _)| (start..end).contains(at)).map(|(_, value)| *value).collect();
                prop_assert!(close(found, by_hand(aggregate, &inside)));
            }
        }
    }

    #[test]
    fn a_coarser_tier_answers_the_same(samples in any_samples()) {
        let mut rolled = Vec::new();
        let mut cascade = Cascade::new([10_000]);
        for (at, value) in &samples {
            cascade.push(*at, &Rollup::of(*value).expect("present"), &mut |span| rolled.push((span.start, span.value)));
        }
        cascade.finish(&mut |span| rolled.push((span.start, span.value)));
        let grid = Grid::new(second(0), second(400), Duration::from_secs(40)).expect("a grid");
        for aggregate in
            [Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Sum, Aggregate::Last, Aggregate::Count]
        {
            let fine = query::series(&grid, aggregate, points(&samples, Kind::Gauge)).expect("an answer");
            let tier = Points { points: rolled.clone(), kind: Kind::Gauge, interval: Duration::from_secs(10) };
            let coarse = query::series(&grid, aggregate, tier).expect("an answer");
            prop_assert!(fine.into_iter().zip(coarse).all(|(fine, coarse)| close(fine, coarse)));
        }
    }

    #[test]
    fn a_counter_that_begins_again_loses_nothing_but_what_nobody_saw(
        steps in prop::collection::vec((0_u32..1_000, prop::bool::weighted(0.05)), 2..300)
    ) {
        let mut total = 0.0;
        let mut grown = 0.0;
        let mut samples = Vec::new();
        for (at, (step, restarted)) in steps.iter().enumerate() {
            // At the restart of its program it counts from zero.
            total = if *restarted { f64::from(*step) } else { total + f64::from(*step) };
            let lower = samples.last().is_some_and(|(_, last)| total < *last);
            let gained = if *restarted && !lower { total - samples.last().map_or(0.0, |(_, last)| *last) } else { f64::from(*step) };
            grown += if at == 0 { 0.0 } else { gained };
            samples.push((second(at as u64), total));
        }
        let span = steps.len() as u64;
        let grid = Grid::new(second(0), second(span), Duration::from_secs(86_400)).expect("a grid");
        let rates = query::series(&grid, Aggregate::Rate, points(&samples, Kind::Counter)).expect("an answer");
        let found: Vec<_> = rates.into_iter().flatten().collect();
        prop_assert_eq!(found.len(), 1, "one day");
        prop_assert!(close(Some(found[0]), Some(grown / (span - 1) as f64)), "{} and {}", found[0], grown);
    }

    #[test]
    fn instances_are_put_together_where_they_have_values(
        columns in prop::collection::vec(prop::collection::vec(prop::option::of(0_u16..1_000), 20), 0..8)
    ) {
        let columns: Vec<Vec<Option<f64>>> =
            columns.into_iter().map(|column| column.into_iter().map(|value| value.map(f64::from)).collect()).collect();
        for (across, aggregate) in [
            (Across::Sum, Aggregate::Sum),
            (Across::Avg, Aggregate::Avg),
            (Across::Min, Aggregate::Min),
            (Across::Max, Aggregate::Max),
        ] {
            let found = across.combine(20, columns.clone());
            for (at, found) in found.into_iter().enumerate() {
                let values: Vec<_> = columns.iter().filter_map(|column| column[at]).collect();
                prop_assert!(close(found, by_hand(aggregate, &values)));
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_all_requests_of_a_step(
        seconds in prop::collection::vec((0_u64..60, prop::collection::vec(1_u32..1_000_000, 0..5)), 0..40)
    ) {
        let histograms: Vec<_> = seconds.iter().map(|(at, us)| (second(*at), recorded(us.iter().copied()))).collect();
        let grid = Grid::new(second(0), second(60), Duration::from_secs(20)).expect("a grid");
        let found = query::quantiles(&grid, 0.95, histograms.iter().map(|(at, histogram)| (*at, histogram)));
        for (start, found) in grid.times().zip(found.expect("an answer")) {
            let end = start.saturating_add(grid.step());
            let inside = seconds.iter().filter(|(at, _)| (start..end).contains(&second(*at)));
            prop_assert_eq!(found, recorded(inside.flat_map(|(_, us)| us.iter().copied())).quantile(0.95));
        }
    }
}

#[test]
fn rates_do_not_reach_over_a_gap() {
    let grid = Grid::new(second(0), second(40), Duration::from_secs(10)).expect("a grid");
    let start = START / 10_000 * 10;
    assert_eq!(start * 1_000, START, "the grid begins where the samples do");
    let counted = |at: u64| (second(at), 3.0 * at as f64);
    // Ten seconds, one lost sample, then twenty seconds of nothing.
    let samples: Vec<_> = (0..10).filter(|at| *at != 4).chain(30..40).map(counted).collect();
    let rates = query::series(&grid, Aggregate::Rate, points(&samples, Kind::Counter)).expect("an answer");
    assert_eq!(rates, [Some(3.0), None, None, Some(3.0)]);
}

#[test]
fn questions_without_an_answer_say_why() {
    let range = |from: u64, to: u64, step: u64| Grid::new(ms(from), ms(to), Duration::from_millis(step)).err();
    assert_eq!(range(0, 10, 0), Some(QueryError::Step));
    assert_eq!(range(10, 10, 1), Some(QueryError::Range));
    assert_eq!(range(0, 11_001, 1), Some(QueryError::TooManyPoints { points: 11_001 }));
    assert_eq!(range(0, u64::MAX, u64::MAX), None);
    let grid = Grid::new(ms(0), ms(10), SECOND).expect("a grid");
    assert_eq!(grid.points(), 1);
    let rate = query::series(&grid, Aggregate::Rate, points(&[], Kind::Gauge));
    assert_eq!(rate, Err(QueryError::RateOfGauge));
    assert_eq!(query::quantiles(&grid, 1.5, []), Err(QueryError::Quantile));
    assert_eq!(query::quantiles(&grid, f64::NAN, []), Err(QueryError::Quantile));
}

#[test]
fn the_same_question_a_little_later_has_the_same_points() {
    let at = |shift: u64| Grid::new(second(3 + shift), second(63 + shift), Duration::from_secs(10)).expect("a grid");
    assert_eq!(at(0).times().collect::<Vec<_>>(), at(4).times().collect::<Vec<_>>());
}
