use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, DeploymentStatus, EventKind, InstancePhase, Role};
use outrigger_drivers::{Call, DryRunDriver};
use outrigger_engine::EngineError;

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_started_scaled_by_hand_stopped_and_deleted() {
    let world = World::new().await;
    let (engine, actor) = (&world.engine, &world.actor);
    let id = world.running(|spec| spec.initial_replicas = 2).await;
    assert_eq!(world.fleet.running().len(), 2);
    let started = engine.start_deployment(actor, id).await.expect("starting again changes nothing");
    assert_eq!((started.status, started.desired_replicas), (DeploymentStatus::Running, 2));
    let view = engine.status(actor, id).await.expect("it is there");
    assert_eq!((view.ready, view.instances.len()), (2, 2));
    assert!(view.instances.iter().all(|one| one.ready && one.live.as_ref().is_some_and(|live| live.ready)));

    let scaled = engine.scale(actor, id, 4, "a sale").await.expect("within bounds");
    assert_eq!(scaled.desired_replicas, 4);
    eventually("four instances", async || world.fleet.running().len() == 4).await;
    engine.scale(actor, id, 1, "").await.expect("within bounds");
    eventually("one instance", async || world.fleet.running().len() == 1).await;
    let reason = &world.decisions(id).await[0].reason;
    assert_eq!(reason, "scaled by system");

    let stopped = engine.stop_deployment(actor, id).await.expect("it runs");
    assert_eq!((stopped.status, stopped.desired_replicas), (DeploymentStatus::Stopping, 0));
    world.reaches(id, DeploymentStatus::Stopped).await;
    assert!(world.fleet.running().is_empty() && world.instances(id).await.is_empty());
    engine.delete(actor, id).await.expect("it is stopped");
    assert_eq!(world.read(id).await.status, DeploymentStatus::Destroyed);

    let told: Vec<String> = world.events(id).await.into_iter().map(|event| event.message).collect();
    for expected in [
        "PENDING -> PROVISIONING",
        "scaled up 0 -> 2: started by system",
        "PROVISIONING -> RUNNING",
        "scaled up 2 -> 4: scaled by system: a sale",
        "scaled down 4 -> 1: scaled by system",
        "STOPPING -> STOPPED",
    ] {
        assert!(told.iter().any(|line| line == expected), "{expected} is not among {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_started_without_its_required_variables_and_all_of_them_are_named() {
    let world = World::new().await;
    let environment = world.environment().await;
    world.set(environment, "DATABASE_URL", None, true).await;
    world.set(environment, "REGION", None, false).await;
    let id = world.deployment_in(environment, |_| {}).await.id;
    let Err(EngineError::Invalid(problems)) = world.engine.start_deployment(&world.actor, id).await else {
        panic!("it must not start");
    };
    let mut named: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["DATABASE_URL", "REGION"]);
    assert_eq!(world.read(id).await.status, DeploymentStatus::Pending);
    world.set(environment, "DATABASE_URL", Some("postgres://"), true).await;
    world.set(environment, "REGION", Some("north"), false).await;
    world.engine.start_deployment(&world.actor, id).await.expect("nothing is missing any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_state_or_the_role_does_not_allow_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (engine, actor) = (&world.engine, &world.actor);
    let pending = world.deployment(|_| {}).await.id;
    assert!(matches!(engine.scale(actor, pending, 2, "").await, Err(EngineError::State { .. })));
    assert!(matches!(engine.push_config(actor, pending).await, Err(EngineError::State { .. })));
    let stranger = Actor::system(outrigger_protocol::id::OrganizationId::generate());
    let absent = engine.start_deployment(&stranger, pending).await;
    assert!(matches!(absent, Err(EngineError::Catalog(CatalogError::NotFound { .. }))));
    let viewer = Actor { role: Role::Viewer, ..actor.clone() };
    let forbidden = engine.start_deployment(&viewer, pending).await;
    assert!(matches!(forbidden, Err(EngineError::Catalog(CatalogError::Forbidden { .. }))));
    assert_eq!(world.read(pending).await.status, DeploymentStatus::Pending);

    engine.start_deployment(actor, pending).await.expect("it can be started");
    world.reaches(pending, DeploymentStatus::Running).await;
    assert!(matches!(engine.scale(actor, pending, 9, "").await, Err(EngineError::Invalid(_))));
    let refused = engine.delete(actor, pending).await;
    assert!(matches!(refused, Err(EngineError::Catalog(CatalogError::Conflict { .. }))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_goes_through_the_same_life_and_does_nothing() {
    let world = World::new().await;
    let id = world.running(|spec| (spec.driver, spec.initial_replicas) = (DryRunDriver::NAME.to_owned(), 3)).await;
    let view = world.engine.status(&world.actor, id).await.expect("it is there");
    assert!(view.ready == 3 && view.instances.iter().all(|one| one.ready), "{view:?}");
    let instances = world.instances(id).await;
    assert!(instances.len() == 3 && instances.iter().all(|one| one.phase == InstancePhase::Running));
    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    world.reaches(id, DeploymentStatus::Stopped).await;
    let calls = world.dry.calls();
    let count = |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
    assert_eq!(count(|call| matches!(call, Call::Create(_))), 3, "{calls:?}");
    assert_eq!(count(|call| matches!(call, Call::Destroy(_))), 3, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_fails_for_a_while_is_tried_again() {
    let world = World::new().await;
    world.fleet.failures.store(3, Ordering::Relaxed);
    let id = world.running(|_| {}).await;
    assert_eq!(world.fleet.running().len(), 1);
    let failed = world.events(id).await.into_iter().any(|event| matches!(event.kind, EventKind::DriverFailed { .. }));
    assert!(!failed, "it came right in the end");
    assert!(world.engine.stats().count("driver_calls_failed") >= Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_cannot_be_provisioned_fails_with_the_reason_and_can_be_started_again() {
    let world = World::new().await;
    world.fleet.broken.store(true, Ordering::Relaxed);
    let id = world.deployment(|spec| spec.initial_replicas = 2).await.id;
    world.engine.start_deployment(&world.actor, id).await.expect("it can be started");
    world.reaches(id, DeploymentStatus::Failed).await;
    let failed = world.read(id).await;
    let reason = failed.status_reason.expect("it says why");
    assert!(reason.contains("there is no such program"), "{reason}");
    eventually("no instance is left", async || world.instances(id).await.is_empty()).await;
    eventually("nothing is wanted", async || world.read(id).await.desired_replicas == 0).await;

    world.fleet.broken.store(false, Ordering::Relaxed);
    world.engine.start_deployment(&world.actor, id).await.expect("it may be tried again");
    world.reaches(id, DeploymentStatus::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_engine_takes_nothing_more() {
    let world = World::new().await;
    let id = world.deployment(|_| {}).await.id;
    world.engine.drain(Duration::from_secs(1)).await;
    assert!(matches!(world.engine.start_deployment(&world.actor, id).await, Err(EngineError::Draining)));
}
