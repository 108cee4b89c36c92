//! What was pushed comes back once, whatever happens in between.

use std::collections::BTreeSet;

use outrigger_archive::Aggregate;
use outrigger_protocol::id::InstanceId;
use proptest::prelude::*;

use crate::world::{Ask, World, telling};

/// An hour and a half, so that an hour ends in it.
const SPAN: u64 = 5_400;

#[derive(Debug, Clone)]
enum Step {
    /// Samples of an instance, in this order; some may have been pushed before.
    Push(usize, Vec<u64>),
    Flush,
    Cut,
    Reopen,
    /// Everything is flushed, and the process ends without a word.
    Kill,
    /// Hours that ended are sealed.
    Pass,
}

fn any_step() -> impl Strategy<Value = Step> {
    let run = (0..SPAN, 1_u64..90).prop_map(|(from, length)| (from..(from + length).min(SPAN)).collect());
    let scattered = prop::collection::vec(0..SPAN, 1..20);
    let samples = prop_oneof![run, scattered];
    prop_oneof![
        6 => (0_usize..3, samples).prop_map(|(instance, samples)| Step::Push(instance, samples)),
        2 => Just(Step::Flush),
        2 => Just(Step::Cut),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        2 => Just(Step::Pass),
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Seconds that an instance has a sample of.
type Pushed = [BTreeSet<u64>; 3];

async fn assert_all_there(world: &World, instances: &[InstanceId; 3], pushed: &Pushed) {
    let ask = Ask { instance: None, metric: "cpu", from: 0, to: SPAN, step: 1, aggregate: Aggregate::Count };
    for ((number, instance), pushed) in (0_u64..).zip(instances).zip(pushed) {
        let ask = Ask { instance: Some(*instance), ..ask };
        let counts = world.ask(ask).await.points;
        let totals = world.ask(Ask { metric: "jobs_total", aggregate: Aggregate::Last, ..ask }).await.points;
        for (at, (count, total)) in (0..SPAN).zip(counts.iter().zip(&totals)) {
            let expected = pushed.contains(&at);
            assert_eq!(*count, expected.then_some(1.0), "instance {number}, second {at}");
            assert_eq!(*total, expected.then_some((number * 1_000_000 + at) as f64));
        }
    }
    let together = world.ask(ask).await.points;
    let requests = world.ask(Ask { metric: "response_time", ..ask }).await.points;
    for (at, (count, requests)) in (0..SPAN).zip(together.iter().zip(&requests)) {
        let expected = pushed.iter().filter(|pushed| pushed.contains(&at)).count();
        assert_eq!(*count, (expected > 0).then_some(expected as f64), "second {at} of all");
        assert_eq!(requests, count);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_pushed_comes_back_once(steps in prop::collection::vec(any_step(), 1..14)) {
        runtime().block_on(async {
            let mut world = World::new().await;
            let instances = [InstanceId::generate(), InstanceId::generate(), InstanceId::generate()];
            let mut pushed = Pushed::default();
            world.at(SPAN);
            for step in steps {
                match step {
                    Step::Push(number, seconds) => {
                        let samples: Vec<_> = seconds.iter().map(|at| telling(number as u64, *at)).collect();
                        world.push(instances[number], &samples);
                        pushed[number].extend(seconds);
                    }
                    Step::Flush => world.archive.flush().await,
                    Step::Cut => {
                        world.archive.flush().await;
                        world.archive.maintain(true).await;
                    }
                    Step::Reopen => world = world.reopened().await,
                    Step::Kill => {
                        world.archive.flush().await;
                        world = world.killed().await;
                    }
                    Step::Pass => {
                        world.at(SPAN + 600);
                        world.archive.maintain(false).await;
                    }
                }
            }
            assert_all_there(&world, &instances, &pushed).await;
            let stats = world.archive.stats();
            assert_eq!((stats.damaged, stats.failures, stats.dropped_late), (0, 0, 0), "{stats:?}");
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_instances_are_sealed_in_batches_and_none_is_lost() {
    let world = World::new().await;
    let instances: Vec<InstanceId> = (0..200).map(|_| InstanceId::generate()).collect();
    for minute in 0..3 {
        world.at(60 * (minute + 1));
        for (number, instance) in (0_u64..).zip(&instances) {
            let samples: Vec<_> = (0..60).map(|at| telling(number, 60 * minute + at)).collect();
            world.push(*instance, &samples);
        }
        world.archive.flush().await;
        world.archive.maintain(true).await;
    }
    let ask = Ask { instance: None, metric: "cpu", from: 0, to: 180, step: 1, aggregate: Aggregate::Count };
    assert!(world.ask(ask).await.points.iter().all(|count| *count == Some(200.0)));
    world.at(4_000);
    world.archive.maintain(false).await;
    assert_eq!(world.archive.stats().sealed, 1);
    assert!(world.ask(ask).await.points.iter().all(|count| *count == Some(200.0)));
    let one = Ask { instance: Some(instances[137]), metric: "jobs_total", aggregate: Aggregate::Last, ..ask };
    let expected: Vec<_> = (0..180).map(|at| Some((137_000_000 + at) as f64)).collect();
    assert_eq!(world.ask(one).await.points, expected);
    let mut known =
        world.archive.instances(world.deployment, crate::world::second(0), crate::world::second(180)).await.unwrap();
    known.sort();
    let mut expected = instances.clone();
    expected.sort();
    assert_eq!(known, expected);
    let metrics = world.archive.metrics(world.deployment, crate::world::second(0), crate::world::second(180)).await;
    assert_eq!(metrics.unwrap(), ["cpu", "jobs_total", "response_time"]);
}
