//! Agents that join from outside: watched and offered configuration like the others, and never ended.

use std::time::Duration;

use outrigger_catalog::model::DeploymentStatus;
use outrigger_drivers::DryRunDriver;
use outrigger_ingest::test_support::{Fleet, TestAgent, TestSession};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_protocol::transport::CloseCode;

use crate::world::{World, eventually};

/// Beyond what an offer that is not made could take to come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(fleet: &Fleet, agent: &TestAgent, status: ConfigStatus) -> TestSession {
    fleet.connect(agent, status).await.expect("it is let in")
}

/// Runs what it is offered first.
async fn serve(session: &mut TestSession) -> u64 {
    let offer = tokio::time::timeout(PATIENCE, session.next_offer()).await.expect("an offer in time");
    let offer = offer.expect("a connection");
    session.apply(&offer).await.expect("a connection");
    let running = AgentMessage::Program(ProgramState::Running { pid: 1, restarts: 0 });
    session.say(&running).await.expect("a connection");
    offer.config.generation
}

/// A deployment whose only sandboxes are those that join.
async fn external(world: &World) -> DeploymentId {
    let deployment = world.deployment(|spec| {
        spec.driver = DryRunDriver::NAME.to_owned();
        (spec.min_replicas, spec.initial_replicas) = (0, 0);
    });
    deployment.await.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_before_the_start_gets_its_configuration_with_it() {
    let world = World::new().await;
    let id = external(&world).await;
    let (fleet, agent) = world.join(id).await;
    let mut session = connect(&fleet, &agent, ConfigStatus::default()).await;
    let view = world.engine.status(&world.actor, id).await.expect("it is there");
    assert_eq!((view.instances.len(), view.instances[0].ready), (1, false));
    assert!(view.rollout.is_none(), "nothing is rolled out before the start");

    world.engine.start_deployment(&world.actor, id).await.expect("nothing is missing");
    let generation = serve(&mut session).await;
    let told = format!("config generation {generation} running on 1 of 1");
    eventually(&told, async || world.events(id).await.iter().any(|event| event.message == told)).await;
    eventually("it serves", async || {
        let view = world.engine.status(&world.actor, id).await.expect("it is there");
        view.instances[0].ready && view.ready == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_a_driver_made_and_a_deletion_revokes_the_others() {
    let world = World::new().await;
    let id = world.running(|_| {}).await;
    let environment = world.read(id).await.spec.environment;
    let (fleet, agent) = world.join(id).await;
    let mut session = connect(&fleet, &agent, ConfigStatus::default()).await;
    serve(&mut session).await;
    eventually("both run it", async || world.rollout(id).await.tally.running == 2).await;

    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    world.reaches(id, DeploymentStatus::Stopped).await;
    assert!(world.fleet.running().is_empty());
    let view = world.engine.status(&world.actor, id).await.expect("it is there");
    let left: Vec<_> = view.instances.iter().map(|one| (one.instance.id, one.ready)).collect();
    assert_eq!((left, view.ready), (vec![(agent.instance, true)], 0));
    eventually("nothing to be rolled out any more", async || {
        world.engine.status(&world.actor, id).await.expect("it is there").rollout.is_none()
    })
    .await;

    // Nothing new is offered, neither by the change nor to whoever comes back, until it is started again.
    let generation = world.set(environment, "GREETING", Some("good evening"), false).await;
    let status = session.status.clone();
    let mut session = connect(&fleet, &agent, status).await;
    world.engine.start_deployment(&world.actor, id).await.expect("it is stopped");
    assert_eq!(serve(&mut session).await, generation);
    world.reaches(id, DeploymentStatus::Running).await;

    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    world.reaches(id, DeploymentStatus::Stopped).await;
    world.engine.delete(&world.actor, id).await.expect("only what is not ours is left");
    assert_eq!(session.closed().await, Some(CloseCode::Revoked));
    assert!(world.catalog.agent(agent.agent).await.expect("a read").is_some_and(|agent| agent.revoked));
    assert!(fleet.connect(&agent, ConfigStatus::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_refused_takes_nobodys_identity() {
    let world = World::new().await;
    let id = world.running(|_| {}).await;
    let (_fleet, agent) = world.join(id).await;
    world.engine.delete(&world.actor, id).await.expect_err("it runs");
    assert!(!world.catalog.agent(agent.agent).await.expect("a read").expect("it has joined").revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_long_is_written_off_and_taken_back() {
    let world = World::new().await;
    let id = external(&world).await;
    let (fleet, agent) = world.join(id).await;
    connect(&fleet, &agent, ConfigStatus::default()).await.close();
    eventually("it is written off", async || world.instances(id).await.is_empty()).await;
    let session = connect(&fleet, &agent, ConfigStatus::default()).await;
    eventually("it is taken back", async || {
        world.instances(id).await.first().is_some_and(|instance| instance.id == agent.instance)
    })
    .await;
    assert!(!world.catalog.agent(agent.agent).await.expect("a read").expect("it has joined").revoked);
    drop(session);
}
