use std::time::Duration;

use outrigger_catalog::model::DeploymentStatus;
use outrigger_protocol::message::{ApplyStrategy, ServerMessage};
use outrigger_protocol::transport::CloseCode;

use super::world::{World, eventually, soon};
use crate::Count;
use crate::test_support::TestSession;

fn value(session: &TestSession, offer: &outrigger_protocol::message::ConfigOffer, key: &str) -> Option<String> {
    let environment = session.unseal(offer).unwrap();
    let entry = environment.entries.into_iter().find(|entry| entry.name == key)?;
    entry.value.map(|value| value.to_string())
}

#[tokio::test]
async fn from_a_token_to_a_running_configuration() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    assert_eq!(session.settings.apply, ApplyStrategy::File);
    assert_eq!(session.settings.sample_interval, Duration::from_secs(1));
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    assert_eq!(value(&session, &offer, "GREETING").as_deref(), Some("hello"));
    session.apply(&offer).await.unwrap();
    let rollout = world.rolled_out(1, 1).await;
    assert_eq!((rollout.applied, rollout.refused), (1, 0));
    let live = world.ingest.live(world.deployment.id);
    assert_eq!(live[0].config.running, Some(offer.config));
    assert!(live[0].connected);
}

#[tokio::test]
async fn a_push_reaches_every_agent_with_the_new_value() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let (_, mut session) = world.connect_new().await;
        let offer = soon("an offer", session.next_offer()).await.unwrap();
        session.apply(&offer).await.unwrap();
        sessions.push(session);
    }
    let generation = world.set("GREETING", "good day").await;
    let rollout = world.ingest.push(&world.deployment).await.unwrap();
    assert_eq!((rollout.generation, rollout.total), (generation, 3));
    for session in &mut sessions {
        let offer = soon("an offer", session.next_offer()).await.unwrap();
        assert_eq!(offer.config.generation, generation);
        assert_eq!(value(session, &offer, "GREETING").as_deref(), Some("good day"));
        session.apply(&offer).await.unwrap();
    }
    assert_eq!(world.rolled_out(generation, 3).await.applied, 3);
}

#[tokio::test]
async fn one_that_refuses_is_reported_and_not_asked_again_until_the_next_push() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let first = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&first).await.unwrap();
    let generation = world.set("GREETING", "bad").await;
    world.ingest.push(&world.deployment).await.unwrap();
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.refuse(&offer, "PORT is missing").await.unwrap();
    let rollout = world.rolled_out(generation, 1).await;
    assert_eq!(rollout.failed, [(agent.instance, "PORT is missing".to_owned())]);
    let sealed = world.ingest.stats().count(Count::OffersSealed);

    let status = session.status.clone();
    let mut session = world.fleet.connect(&agent, status).await.unwrap();
    assert_eq!(world.ingest.rollout(world.deployment.id).refused, 1);
    eventually("greeted", || world.ingest.stats().count(Count::SessionsOpened) == 2).await;

    world.ingest.push(&world.deployment).await.unwrap();
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&offer).await.unwrap();
    assert_eq!(world.rolled_out(generation, 1).await.applied, 1);
    assert_eq!(world.ingest.stats().count(Count::OffersSealed), sealed + 1, "by the push and not before");
}

#[tokio::test]
async fn an_agent_that_runs_the_newest_is_not_offered_it() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&offer).await.unwrap();
    world.rolled_out(1, 1).await;
    let status = session.status.clone();
    let mut session = world.fleet.connect(&agent, status).await.unwrap();
    eventually("greeted", || world.ingest.stats().count(Count::SessionsOpened) == 2).await;
    assert_eq!(world.ingest.rollout(world.deployment.id).applied, 1);

    let generation = world.set("GREETING", "later").await;
    world.ingest.push(&world.deployment).await.unwrap();
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    assert_eq!(offer.config.generation, generation);
    assert_eq!(world.ingest.stats().count(Count::OffersSealed), 2, "once each");
}

#[tokio::test]
async fn an_agent_that_is_revoked_counts_no_more_whether_it_is_connected_or_not() {
    let world = World::new().await;
    let (stays, mut leaves) = (world.connect_new().await, world.connect_new().await);
    let (connected, mut session) = stays;
    for session in [&mut session, &mut leaves.1] {
        let offer = soon("an offer", session.next_offer()).await.unwrap();
        session.apply(&offer).await.unwrap();
    }
    world.rolled_out(1, 2).await;
    leaves.1.close();
    eventually("it has left", || world.ingest.live_agents_count() == 1).await;
    assert_eq!(world.ingest.rollout(world.deployment.id).total, 2, "it may come back");

    assert!(!world.ingest.revoke(leaves.0.agent));
    assert_eq!(world.ingest.rollout(world.deployment.id).total, 1);
    assert!(world.ingest.revoke(connected.agent));
    assert_eq!(world.ingest.rollout(world.deployment.id).total, 0);
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::Revoked));
    assert_eq!(world.ingest.rollout(world.deployment.id).total, 0);
}

#[tokio::test]
async fn an_agent_that_comes_back_after_a_change_gets_it_without_a_push() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&offer).await.unwrap();
    session.close();
    let generation = world.set("GREETING", "later").await;
    let status = session.status.clone();
    let mut session = world.fleet.connect(&agent, status).await.unwrap();
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    assert_eq!(offer.config.generation, generation);
    session.apply(&offer).await.unwrap();
    world.rolled_out(generation, 1).await;
}

#[tokio::test]
async fn nothing_is_offered_unless_the_deployment_is_started() {
    let world = World::new().await;
    let set_status = async |status| {
        world.catalog.set_status(&world.actor, world.deployment.id, status, None).await.unwrap();
    };
    set_status(DeploymentStatus::Stopped).await;
    let (agent, mut session) = world.connect_new().await;
    eventually("greeted", || world.ingest.stats().count(Count::SessionsOpened) == 1).await;
    assert_eq!(world.ingest.stats().count(Count::OffersSealed), 0);

    let deployment = world.catalog.begin_deployment(&world.actor, world.deployment.id).await.unwrap();
    world.ingest.push(&deployment).await.unwrap();
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&offer).await.unwrap();
    world.rolled_out(1, 1).await;

    set_status(DeploymentStatus::Stopped).await;
    world.set("GREETING", "later").await;
    let status = session.status.clone();
    let _session = world.fleet.connect(&agent, status).await.unwrap();
    eventually("greeted again", || world.ingest.stats().count(Count::SessionsOpened) == 2).await;
    let rollout = world.ingest.rollout(world.deployment.id);
    assert_eq!((rollout.generation, rollout.applied, rollout.total), (1, 1, 1), "it runs what it ran");
    assert_eq!(world.ingest.stats().count(Count::OffersSealed), 1);
}

#[tokio::test]
async fn what_was_sealed_to_one_agent_opens_for_no_other() {
    let world = World::new().await;
    let (_, mut first) = world.connect_new().await;
    let (_, second) = world.connect_new().await;
    let offer = soon("an offer", first.next_offer()).await.unwrap();
    assert!(first.unseal(&offer).is_ok());
    assert!(second.unseal(&offer).is_err());
}

#[tokio::test]
async fn changed_settings_are_told() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    let mut deployment = world.deployment.clone();
    deployment.spec.sample_interval = Duration::from_secs(5);
    world.ingest.apply_settings(&deployment);
    let settings = soon("settings", async {
        loop {
            if let ServerMessage::Settings(settings) = session.next().await.unwrap() {
                return settings;
            }
        }
    });
    assert_eq!(settings.await.sample_interval, Duration::from_secs(5));
}

#[tokio::test]
async fn an_agent_is_told_to_stop() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    assert!(world.ingest.stop_instance(agent.instance, "scaled down"));
    let reason = soon("a stop", async {
        loop {
            if let ServerMessage::Stop { reason } = session.next().await.unwrap() {
                return reason;
            }
        }
    });
    assert_eq!(reason.await, "scaled down");
    assert!(!world.ingest.stop_instance(outrigger_protocol::id::InstanceId::generate(), "nobody"));
}
