//! Everything has an end: memory, deployments, times.

use outrigger_archive::{Aggregate, Archive, ArchiveConfig, ArchiveError, Tier, Tiers};
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::faults::Disk;

use crate::world::{Ask, HOUR, World, cpu, second, store_on, telling};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_instance_takes_a_few_kib() {
    let world = World::new().await;
    let instances: Vec<InstanceId> = (0..200).map(|_| InstanceId::generate()).collect();
    let metrics = Metric::ALL.iter().filter(|metric| !metric.is_derived()).take(12);
    for flush in 0..29 {
        world.at(4 * flush + 4);
        for instance in &instances {
            let samples: Vec<Sample> = (4 * flush..4 * flush + 4)
                .map(|at| {
                    let mut sample = Sample::new(second(at));
                    metrics.clone().for_each(|metric| sample.set(*metric, 12.5));
                    sample
                })
                .collect();
            world.push(*instance, &samples);
        }
        world.archive.flush().await;
        world.archive.maintain(false).await;
    }
    let each = world.archive.stats().memory_bytes / 200;
    assert!((1_000..4_096).contains(&each), "{each} bytes an instance");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_cannot_be_are_shifted_or_dropped() {
    let world = World::new().await;
    let instance = InstanceId::generate();
    world.at(200 * HOUR);
    let year = |at| Sample { at: UnixMillis::from_millis(at), ..cpu(0, 1.0) };
    world.push(instance, &[year(0), year(5), cpu(HOUR, 1.0)]);
    assert_eq!(world.archive.stats().dropped_late, 3);
    world.push(instance, &[year(u64::MAX)]);
    world.push(instance, &[year(4_102_444_800_000)]);
    world.push(instance, &[cpu(200 * HOUR + 5, 1.0), cpu(200 * HOUR + 6, 1.0)]);
    assert_eq!(world.archive.stats().shifted, 4);
    world.archive.flush().await;
    world.archive.maintain(true).await;
    let ask = Ask {
        instance: None,
        metric: "cpu",
        from: 199 * HOUR,
        to: 201 * HOUR,
        step: HOUR,
        aggregate: Aggregate::Count,
    };
    assert_eq!(world.ask(ask).await.points, [Some(1.0), Some(1.0)], "all at now, and one a second before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_none_are_left_out_and_counted() {
    let world = World::new().await;
    let instance = InstanceId::generate();
    world.at(100);
    let mut sample = cpu(1, 1.0);
    sample.values.push((Metric::Memory, f64::NAN));
    sample.values.push((Metric::ResponseTimeP50, 1.0));
    sample.custom = (0..100).map(|number| (format!("metric{number}\n"), 0.1)).collect();
    sample.custom.insert(0, (String::new(), 1.0));
    sample.custom.insert(0, ("x".repeat(1_000), 1.0));
    sample.custom.insert(0, ("infinite".to_owned(), f64::INFINITY));
    world.push(instance, &[sample, Sample::new(second(2))]);
    let stats = world.archive.stats();
    assert_eq!((stats.samples, stats.dropped_empty), (1, 1));
    assert_eq!(stats.dropped_values, 2 + 2 + 37 + 1, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_deployments_are_bounded() {
    let world = World::with(|config| {
        config.deployments = 2;
        config.most_memory_bytes = 20_000;
        config.memory_bytes = 10_000;
    })
    .await;
    let instance = InstanceId::generate();
    world.at(1_000);
    for _ in 0..2 {
        let other = World { deployment: DeploymentId::generate(), ..world.clone() };
        other.push(instance, &[telling(0, 1)]);
    }
    world.push(instance, &[telling(0, 1)]);
    assert_eq!(world.archive.stats().dropped_full, 1, "one deployment too many");

    let world = World::with(|config| (config.most_memory_bytes, config.memory_bytes) = (20_000, 10_000)).await;
    world.at(1_000);
    for at in 0..1_000 {
        world.push(instance, &[telling(0, at)]);
    }
    let stats = world.archive.stats();
    assert!(stats.dropped_full > 0 && stats.memory_bytes < 21_000, "{stats:?}");
    // Memory is short: rows are made before it is time.
    world.archive.flush().await;
    world.archive.maintain(false).await;
    assert_eq!(world.archive.stats().memory_bytes, 0);
    world.push(instance, &[telling(0, 999)]);
    assert_eq!(world.archive.stats().dropped_full, stats.dropped_full);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_does_not_divide_an_hour_is_refused() {
    let tier = |step, retention| Tier {
        step: std::time::Duration::from_secs(step),
        retention: std::time::Duration::from_secs(retention),
    };
    let tiers = Tiers::new(vec![tier(1, 100), tier(7, 1_000)]).unwrap();
    let config = ArchiveConfig { tiers, ..ArchiveConfig::default() };
    let refused = Archive::open(store_on(&Disk::new()).unwrap(), config).await.unwrap_err();
    assert!(matches!(refused, ArchiveError::Step { tier: 1, step_ms: 7_000 }), "{refused}");
}
