//! Tiers are what a naive computation makes of the samples, and nothing shows where they end.

use std::collections::BTreeMap;

use outrigger_archive::Aggregate;
use outrigger_protocol::id::InstanceId;
use proptest::prelude::*;

use crate::world::{Ask, HOUR, World, cpu, telling};

/// Seconds with their values, of each instance.
type Samples = Vec<BTreeMap<u64, i32>>;

fn any_samples() -> impl Strategy<Value = Samples> {
    let sparse = prop::collection::btree_map(0_u64..3 * HOUR, -900_i32..900, 1..120);
    let dense = (0_u64..3 * HOUR - 300, prop::collection::vec(-900_i32..900, 1..300))
        .prop_map(|(from, values)| (from..).zip(values).collect::<BTreeMap<u64, i32>>());
    prop::collection::vec(prop_oneof![sparse, dense], 1..4)
}

/// Of all samples in a step, by their times; `None` where there are none.
fn naive(all: &[(u64, f64)], step: u64, aggregate: Aggregate) -> Vec<Option<f64>> {
    let told = |start: u64| {
        let inside: Vec<f64> =
            all.iter().filter(|(at, _)| (start..start + step).contains(at)).map(|(_, value)| *value).collect();
        let sum: f64 = inside.iter().sum();
        (!inside.is_empty()).then(|| match aggregate {
            Aggregate::Avg => sum / inside.len() as f64,
            Aggregate::Min => inside.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregate::Max => inside.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Sum => sum,
            Aggregate::Last => inside[inside.len() - 1],
            Aggregate::Count => inside.len() as f64,
            other => panic!("{other:?} has no naive form here"),
        })
    };
    (0..3 * HOUR).step_by(usize::try_from(step).unwrap()).map(told).collect()
}

/// The sum of the instances' means in each ten seconds, averaged over those that any instance has.
fn naive_total(samples: &Samples, step: u64) -> Vec<Option<f64>> {
    let means: Vec<Vec<Option<f64>>> = samples.iter().map(|one| naive(&listed(one), 10, Aggregate::Avg)).collect();
    let slots: Vec<Option<f64>> = (0..means[0].len())
        .map(|slot| means.iter().filter_map(|one| one[slot]).reduce(|sum, mean| sum + mean))
        .collect();
    let slots_of_step = usize::try_from(step / 10).unwrap();
    slots
        .chunks(slots_of_step)
        .map(|slots| {
            let known: Vec<f64> = slots.iter().copied().flatten().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect()
}

fn listed(samples: &BTreeMap<u64, i32>) -> Vec<(u64, f64)> {
    samples.iter().map(|(at, value)| (*at, f64::from(*value) / 100.0)).collect()
}

fn assert_close(found: &[Option<f64>], expected: &[Option<f64>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        match (found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) if (found - expected).abs() < 1e-6 => {}
            _ => panic!("{what}, step {at}: {found:?} and not {expected:?}"),
        }
    }
}

const OF_SAMPLES: [Aggregate; 5] = [Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Sum, Aggregate::Count];

async fn assert_naive(world: &World, instances: &[InstanceId], samples: &Samples, when: &str) {
    let mut all: Vec<(u64, f64)> = samples.iter().flat_map(listed).collect();
    all.sort_by_key(|(at, _)| *at);
    for step in [10, 60, 300] {
        let ask = Ask { instance: None, metric: "cpu", from: 0, to: 3 * HOUR, step, aggregate: Aggregate::Avg };
        for aggregate in OF_SAMPLES.into_iter().chain([Aggregate::Last]) {
            for (instance, samples) in instances.iter().zip(samples) {
                let found = world.ask(Ask { instance: Some(*instance), aggregate, ..ask }).await;
                let what = format!("{when}: {aggregate:?} of an instance by {step} s");
                assert_close(&found.points, &naive(&listed(samples), step, aggregate), &what);
            }
        }
        for aggregate in OF_SAMPLES {
            let found = world.ask(Ask { aggregate, ..ask }).await;
            let what = format!("{when}: {aggregate:?} of all by {step} s");
            assert_close(&found.points, &naive(&all, step, aggregate), &what);
        }
        let found = world.ask(Ask { aggregate: Aggregate::Total, ..ask }).await;
        assert_close(&found.points, &naive_total(samples, step), &format!("{when}: the total by {step} s"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn tiers_are_what_a_naive_computation_gives(samples in any_samples()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let instances: Vec<InstanceId> = samples.iter().map(|_| InstanceId::generate()).collect();
            // Each hour when it is over, so that nothing is too late.
            for hour in 0..3 {
                world.at((hour + 1) * HOUR);
                for (instance, samples) in instances.iter().zip(&samples) {
                    let inside = samples.range(hour * HOUR..(hour + 1) * HOUR);
                    let samples: Vec<_> = inside.map(|(at, value)| cpu(*at, f64::from(*value) / 100.0)).collect();
                    world.push(*instance, &samples);
                }
                world.archive.flush().await;
            }
            assert_naive(&world, &instances, &samples, "in memory").await;
            world.archive.maintain(true).await;
            assert_naive(&world, &instances, &samples, "two hours sealed").await;
            world.at(3 * HOUR + 600);
            world.archive.maintain(false).await;
            assert_naive(&world, &instances, &samples, "all sealed").await;
            // The seconds are gone, and the rows of tens of seconds joined.
            world.at(12 * HOUR);
            world.archive.maintain(false).await;
            assert_naive(&world, &instances, &samples, "long after").await;
            let world = world.reopened().await;
            assert_naive(&world, &instances, &samples, "after a restart").await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_seals_its_hour_again() {
    let world = World::new().await;
    let instance = InstanceId::generate();
    world.at(HOUR);
    world.push(instance, &(0..100).map(|at| cpu(at, 10.0)).collect::<Vec<_>>());
    world.archive.flush().await;
    world.archive.maintain(true).await;
    world.at(HOUR + 600);
    world.archive.maintain(false).await;
    world.push(instance, &(50..200).map(|at| cpu(at, 10.0)).collect::<Vec<_>>());
    let ask = Ask { instance: None, metric: "cpu", from: 0, to: 300, step: 60, aggregate: Aggregate::Count };
    let expected = [Some(60.0), Some(60.0), Some(60.0), Some(20.0), None];
    assert_eq!(world.ask(ask).await.points, expected, "in memory");
    world.archive.flush().await;
    world.archive.maintain(true).await;
    assert_eq!(world.ask(ask).await.points, expected, "in a piece");
    world.archive.maintain(false).await;
    assert_eq!(world.archive.stats().sealed, 1, "more may be on its way");
    world.at(HOUR + 900);
    world.archive.maintain(false).await;
    assert_eq!(world.archive.stats().sealed, 2);
    assert_eq!(world.ask(ask).await.points, expected, "sealed again");
    assert_eq!(world.ask(Ask { instance: Some(instance), ..ask }).await.points, expected);
}

/// An agent that was away while others were not, for so long that the seconds are gone when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_when_the_seconds_are_gone_fills_gaps_once() {
    let mut world = World::new().await;
    let (there, away) = (InstanceId::generate(), InstanceId::generate());
    world.at(HOUR);
    world.push(there, &(0..600).map(|at| telling(1, at)).collect::<Vec<_>>());
    world.push(away, &(0..300).map(|at| telling(2, at)).collect::<Vec<_>>());
    for at in [HOUR, HOUR + 600, 8 * HOUR] {
        world.at(at);
        world.archive.flush().await;
        world.archive.maintain(true).await;
    }
    for again in 1..3 {
        world.push(away, &(0..600).map(|at| telling(2, at)).collect::<Vec<_>>());
        world.archive.flush().await;
        world.archive.maintain(true).await;
        world.at(8 * HOUR + 400 * again);
        world.archive.maintain(true).await;
        world = world.killed().await;
        let ask = Ask { instance: None, metric: "cpu", from: 0, to: 600, step: 300, aggregate: Aggregate::Count };
        for (metric, instance, expected) in [
            ("cpu", None, 600.0),
            ("response_time", None, 600.0),
            ("jobs_total", Some(away), 300.0),
            ("response_time", Some(away), 300.0),
        ] {
            let found = world.ask(Ask { metric, instance, ..ask }).await.points;
            assert_eq!(found, [Some(expected); 2], "{metric} of {instance:?}");
        }
        let mean = world.ask(Ask { aggregate: Aggregate::Avg, from: 300, ..ask }).await.points[0].unwrap();
        let total = world.ask(Ask { aggregate: Aggregate::Total, from: 300, ..ask }).await.points[0].unwrap();
        assert!((total - 2.0 * mean).abs() < 1e-9, "{total} and {mean}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_grow_at_a_rate_and_response_times_have_quantiles() {
    let world = World::new().await;
    let instances = [InstanceId::generate(), InstanceId::generate()];
    world.at(600);
    for instance in instances {
        // Three jobs a second.
        let samples: Vec<_> = (0..600)
            .map(|at| {
                let mut sample = crate::world::telling(0, at);
                sample.custom = vec![("jobs_total".to_owned(), 3.0 * at as f64)];
                sample
            })
            .collect();
        world.push(instance, &samples);
    }
    let ask = Ask { instance: None, metric: "jobs_total", from: 300, to: 600, step: 60, aggregate: Aggregate::Rate };
    for (instance, expected) in [(Some(instances[0]), 3.0), (None, 6.0)] {
        for rate in world.ask(Ask { instance, ..ask }).await.points {
            assert!((rate.unwrap() - expected).abs() < 0.35, "{rate:?} and not {expected}");
        }
    }
    let times = Ask { metric: "response_time", step: 100, aggregate: Aggregate::P50, from: 100, to: 200, ..ask };
    let median = world.ask(times).await.points[0].unwrap();
    assert!((median - 50.5).abs() < 1.5, "{median} ms");
    let named = Ask { metric: "response_time_p50", aggregate: Aggregate::Avg, ..times };
    assert_eq!(world.ask(named).await.points[0], Some(median));
    let refused = world.archive.query(Ask { metric: "cpu", ..ask }.of(world.deployment)).await.unwrap_err();
    assert!(refused.to_string().contains("a rate is that of a counter"), "{refused}");
    let refused = world.archive.query(Ask { metric: "cpu", ..times }.of(world.deployment)).await.unwrap_err();
    assert!(refused.to_string().contains("p50 is not told of cpu"), "{refused}");
}
