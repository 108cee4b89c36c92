use std::collections::HashSet;
use std::sync::atomic::Ordering;

use outrigger_catalog::model::{DeploymentStatus, EventKind, InstancePhase};
use outrigger_protocol::id::InstanceId;

use crate::fleet::DefectiveDriver;
use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_is_written_off_and_replaced() {
    let world = World::new().await;
    let id = world.running(|spec| spec.initial_replicas = 2).await;
    let dead = world.fleet.running()[0];
    world.fleet.kill(dead);
    eventually("another instance", async || {
        let running = world.fleet.running();
        running.len() == 2 && !running.contains(&dead)
    })
    .await;
    let events = world.events(id).await;
    assert!(events.iter().any(|event| event.kind == EventKind::InstanceLost { instance: dead }));
    eventually("both to be known to run", async || {
        let instances = world.instances(id).await;
        instances.len() == 2 && instances.iter().all(|one| one.phase == InstancePhase::Running)
    })
    .await;
    assert_eq!(world.read(id).await.desired_replicas, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_dies_before_the_driver_was_called_takes_it_up_again() {
    let world = World::new().await;
    world.fleet.stuck.store(true, Ordering::Relaxed);
    let id = world.deployment(|spec| spec.initial_replicas = 3).await.id;
    world.engine.start_deployment(&world.actor, id).await.expect("it can be started");
    let planned: HashSet<InstanceId> = world.instances(id).await.into_iter().map(|one| one.id).collect();
    assert_eq!(planned.len(), 3);
    let remains = world.die().await;
    assert!(remains.fleet.running().is_empty(), "nothing was made");

    remains.fleet.stuck.store(false, Ordering::Relaxed);
    let world = World::over(remains).await;
    world.reaches(id, DeploymentStatus::Running).await;
    let running: HashSet<InstanceId> = world.fleet.running().into_iter().collect();
    assert_eq!(running, planned, "those that were planned, and no others");
    assert_eq!(world.fleet.created.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_outlive_their_control_plane_and_strays_do_not() {
    let world = World::new().await;
    let id = world.running(|spec| spec.initial_replicas = 2).await;
    let before = world.fleet.running();
    let remains = world.die().await;
    let stray = InstanceId::generate();
    remains.fleet.plant(stray);

    let world = World::over(remains).await;
    eventually("the stray to be gone", async || !world.fleet.running().contains(&stray)).await;
    assert_eq!(world.fleet.running(), before, "no instance more, none less");
    assert_eq!(world.fleet.created.load(Ordering::Relaxed), 2);
    assert_eq!(world.read(id).await.status, DeploymentStatus::Running);
    // A destruction that nobody could finish is finished, too.
    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    let world = World::over(world.die().await).await;
    world.reaches(id, DeploymentStatus::Stopped).await;
    assert!(world.fleet.running().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_nothing_but_the_look_or_the_effect_it_happened_in() {
    let world = World::new().await;
    let poor = world.deployment(|spec| spec.driver = DefectiveDriver::NAME.to_owned()).await;
    world.engine.start_deployment(&world.actor, poor.id).await.expect("nothing tells it apart");
    let panics = || world.engine.stats().count("look_panics").unwrap_or_default();
    eventually("several panics", async || panics() >= 3).await;
    let good = world.deployment_in(poor.spec.environment, |_| {}).await.id;
    world.engine.start_deployment(&world.actor, good).await.expect("it can be started");
    world.reaches(good, DeploymentStatus::Running).await;
    world.engine.scale(&world.actor, good, 3, "").await.expect("within bounds");
    eventually("three instances", async || world.fleet.running().len() == 3).await;
    assert_eq!(world.engine.stats().count("task_panics"), Some(0));
}
