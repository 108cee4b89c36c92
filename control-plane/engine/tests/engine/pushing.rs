use outrigger_catalog::model::EventKind;

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_variable_reaches_every_instance_and_is_told_once() {
    let world = World::new().await;
    let id = world.running(|spec| spec.initial_replicas = 3).await;
    let environment = world.read(id).await.spec.environment;
    let generation = world.set(environment, "GREETING", Some("good evening"), false).await;
    let running = format!("config generation {generation} running on 3 of 3");
    eventually(&running, async || world.events(id).await.iter().any(|event| event.message == running)).await;
    let view = world.engine.status(&world.actor, id).await.expect("it is there");
    assert_eq!((view.rollout.generation, view.rollout.applied), (generation, 3));
    let runs = |one: &outrigger_engine::InstanceView| {
        one.live.as_ref().and_then(|live| live.config.running).is_some_and(|config| config.generation == generation)
    };
    assert!(view.instances.iter().all(runs));

    let rollout = world.engine.push_config(&world.actor, id).await.expect("it runs");
    assert_eq!((rollout.generation, rollout.applied, rollout.pending), (generation, 3, 0));
    let told = world.events(id).await;
    let pushed = told.iter().filter(|event| event.kind == EventKind::ConfigPushed { generation }).count();
    assert_eq!(pushed, 2, "by the change, and by hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_another_environment_is_nobody_elses_business() {
    let world = World::new().await;
    let id = world.running(|_| {}).await;
    let elsewhere = {
        let spec = world.read(id).await.spec;
        let new = outrigger_catalog::NewEnvironment {
            project: spec.project,
            stage: outrigger_catalog::model::Stage::Staging,
            name: "other".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        world.catalog.create_environment(&world.actor, new).await.expect("an environment").id
    };
    world.set(elsewhere, "GREETING", Some("psst"), false).await;
    // A change of its own, to know that the other one would have been told by now.
    let environment = world.read(id).await.spec.environment;
    let generation = world.set(environment, "GREETING", Some("good evening"), false).await;
    eventually("its own push", async || {
        world.events(id).await.iter().any(|event| event.kind == EventKind::ConfigPushed { generation })
    })
    .await;
    let pushes =
        world.events(id).await.into_iter().filter(|event| matches!(event.kind, EventKind::ConfigPushed { .. }));
    assert_eq!(pushes.count(), 1);
}
