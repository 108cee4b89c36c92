//! What is old goes, and what is deleted goes at once.

use std::collections::HashSet;

use outrigger_archive::Aggregate;
use outrigger_protocol::id::InstanceId;
use outrigger_store::{KeyRange, RangeOptions};

use crate::world::{Ask, HOUR, World, telling};

const DAY: u64 = 24 * HOUR;

async fn filled() -> (World, InstanceId) {
    let world = World::new().await;
    let instance = InstanceId::generate();
    world.at(HOUR);
    world.push(instance, &(0..HOUR).map(|at| telling(1, at)).collect::<Vec<_>>());
    world.archive.flush().await;
    world.at(HOUR + 600);
    world.archive.maintain(true).await;
    (world, instance)
}

async fn keys(world: &World) -> Vec<String> {
    let page = world.store.range(KeyRange::all(), RangeOptions::default()).await.unwrap();
    page.entries.iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tier_keeps_what_it_promises_and_no_more_than_its_rows_hold() {
    let (world, instance) = filled().await;
    let ask =
        Ask { instance: Some(instance), metric: "cpu", from: 0, to: HOUR, step: 300, aggregate: Aggregate::Count };
    for (at, resolution) in [(2 * HOUR, 300), (DAY, 300), (6 * DAY, 300), (89 * DAY, 300)] {
        world.at(at);
        world.archive.maintain(false).await;
        let answer = world.ask(ask).await;
        assert_eq!(answer.resolution.as_secs(), resolution);
        assert!(answer.points.iter().all(|count| *count == Some(300.0)), "at {at}: {:?}", answer.points);
    }
    world.at(92 * DAY);
    world.archive.maintain(false).await;
    world.archive.maintain(false).await;
    assert!(world.ask(ask).await.points.iter().all(Option::is_none));
    let left = keys(&world).await;
    assert!(left.iter().all(|key| key.contains("epoch")), "{left:?}");
    assert_eq!(world.archive.stats().deployments, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_deployment_leaves_nothing_and_does_not_come_back() {
    let (world, instance) = filled().await;
    world.push(instance, &[telling(1, HOUR + 1)]);
    world.archive.flush().await;
    world.archive.sink().deployment_gone(world.deployment);
    world.push(instance, &[telling(1, HOUR + 2)]);
    assert_eq!(world.archive.stats().dropped_gone, 1);
    world.archive.maintain(true).await;
    let ask = Ask { instance: None, metric: "cpu", from: 0, to: 2 * HOUR, step: 60, aggregate: Aggregate::Count };
    assert!(world.ask(ask).await.points.iter().all(Option::is_none));
    assert_eq!(world.archive.stats().memory_bytes, 0);
    let left = keys(&world).await;
    assert!(left.iter().all(|key| key.contains("epoch") || key.contains("journal")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_while_nobody_listened_is_forgotten_at_the_start() {
    let (world, instance) = filled().await;
    world.push(instance, &[telling(1, HOUR + 1)]);
    let world = world.reopened().await;
    world.archive.keep_only(&HashSet::from([world.deployment])).await.unwrap();
    world.archive.maintain(false).await;
    let ask = Ask { instance: None, metric: "cpu", from: 0, to: 2 * HOUR, step: 60, aggregate: Aggregate::Count };
    assert!(world.ask(ask).await.points.iter().any(Option::is_some));
    world.archive.keep_only(&HashSet::new()).await.unwrap();
    world.archive.maintain(true).await;
    assert!(world.ask(ask).await.points.iter().all(Option::is_none));
    assert_eq!(world.archive.stats().deployments, 0);
}
