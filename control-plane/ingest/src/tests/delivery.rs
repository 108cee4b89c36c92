use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ApplyStrategy, ConfigOffer, ConfigRef, ConfigStatus, ServerMessage};

use super::world::{World, eventually, next_event, next_offer, soon};
use crate::test_support::TestSession;
use crate::{Count, EnvironmentError, IngestEvent};

fn value(session: &TestSession, offer: &ConfigOffer, key: &str) -> Option<String> {
    let environment = session.unseal(offer).unwrap();
    let entry = environment.entries.into_iter().find(|entry| entry.name == key)?;
    entry.value.map(|value| value.to_string())
}

fn sealed(world: &World) -> u64 {
    world.ingest.stats().count(Count::OffersSealed)
}

#[tokio::test]
async fn from_a_token_to_a_running_configuration() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    assert_eq!(session.settings.apply, ApplyStrategy::File);
    assert_eq!(session.settings.sample_interval, Duration::from_secs(1));
    let config = world.offer().await;
    let offer = next_offer(&mut session).await;
    assert_eq!((offer.config, value(&session, &offer, "GREETING").as_deref()), (config, Some("hello")));
    session.apply(&offer).await.unwrap();
    eventually("it runs", || world.running(config) == 1).await;
    let live = world.live(&agent);
    assert!(live.connected && live.apply == Some(ApplyState::Applied));
}

#[tokio::test]
async fn nothing_is_offered_unless_somebody_says_so() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    world.set("GREETING", "good day").await;
    let config = world.offer().await;
    assert_eq!((next_offer(&mut session).await.config, config.generation), (config, 2));
    eventually("counted", || sealed(&world) == 1).await;
}

#[tokio::test]
async fn a_change_reaches_those_who_are_to_have_it_and_nobody_else() {
    let world = World::new().await;
    let (chosen, mut canary) = world.connect_running().await;
    let (_, mut other) = world.connect_running().await;
    let generation = world.set("GREETING", "good day").await;
    let config = world.newest().await;
    assert_eq!(config.generation, generation);
    world.ingest.offer(&world.deployment, config, &[chosen.instance]).await.unwrap();
    let offer = next_offer(&mut canary).await;
    assert_eq!((offer.config, value(&canary, &offer, "GREETING").as_deref()), (config, Some("good day")));
    canary.apply(&offer).await.unwrap();
    eventually("it runs", || world.running(config) == 1).await;
    world.set("GREETING", "good night").await;
    let third = world.offer().await;
    for session in [&mut canary, &mut other] {
        assert_eq!(next_offer(session).await.config, third);
    }
    eventually("counted", || sealed(&world) >= 5).await;
    assert_eq!(sealed(&world), 5, "the first to both, the second to one, the third to both");
}

#[tokio::test]
async fn an_older_generation_is_delivered_as_it_was() {
    let world = World::new().await;
    let first = world.newest().await;
    world.set("GREETING", "good day").await;
    let (agent, mut session) = world.connect_new().await;
    world.ingest.offer(&world.deployment, first, &[agent.instance]).await.unwrap();
    let offer = next_offer(&mut session).await;
    assert_eq!((offer.config, value(&session, &offer, "GREETING").as_deref()), (first, Some("hello")));
}

#[tokio::test]
async fn a_lower_generation_never_follows_a_higher_one() {
    let world = World::new().await;
    let first = world.newest().await;
    let (agent, mut session) = world.connect_running().await;
    world.set("GREETING", "good day").await;
    let second = world.offer().await;
    let offer = next_offer(&mut session).await;
    assert_eq!(offer.config, second);

    let before = sealed(&world);
    world.ingest.offer(&world.deployment, first, &[agent.instance]).await.unwrap();
    world.ingest.offer(&world.deployment, second, &[agent.instance]).await.unwrap();
    assert_eq!(next_offer(&mut session).await.config, second, "offered, and not yet received");
    session.refuse(&offer, "PORT is missing").await.unwrap();
    eventually("refused", || world.live(&agent).apply == Some(ApplyState::Failed)).await;

    let status = session.status.clone();
    let mut session = world.fleet.connect(&agent, status).await.unwrap();
    eventually("here again", || world.ingest.stats().count(Count::SessionsOpened) == 2).await;
    world.ingest.offer(&world.deployment, first, &[agent.instance]).await.unwrap();
    world.ingest.offer(&world.deployment, second, &[agent.instance]).await.unwrap();
    assert_eq!(next_offer(&mut session).await.config, second, "received by the process, on whatever connection");
    eventually("counted", || sealed(&world) == before + 2).await;
}

#[tokio::test]
async fn a_refusal_is_told_and_the_same_generation_may_be_offered_again() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_running().await;
    world.set("GREETING", "bad").await;
    let mut events = world.ingest.subscribe();
    let config = world.offer().await;
    let offer = next_offer(&mut session).await;
    session.refuse(&offer, "PORT is missing").await.unwrap();
    let (state, status) = next_event(&mut events, "a report", |event| match event {
        IngestEvent::ConfigReport { instance, state, status, .. } if instance == agent.instance => {
            Some((state, status))
        }
        _ => None,
    })
    .await;
    assert_eq!((state, status.last_received), (ApplyState::Failed, Some(config)));
    assert_eq!(status.last_failed.map(|failure| failure.error).as_deref(), Some("PORT is missing"));

    world.offer().await;
    let again = next_offer(&mut session).await;
    assert!(again.config == config && again.nonce != offer.nonce);
    session.apply(&again).await.unwrap();
    eventually("it runs", || world.running(config) == 1).await;
}

#[tokio::test]
async fn other_content_is_not_delivered_under_a_generations_name() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let real = world.newest().await;
    let offer = async |config| world.ingest.offer(&world.deployment, config, &[agent.instance]).await;
    let forged = offer(ConfigRef { hash: [7; 32], ..real }).await;
    assert!(matches!(forged, Err(EnvironmentError::OtherContent { generation: 1 })), "{forged:?}");
    let absent = offer(ConfigRef { generation: 99, ..real }).await;
    assert!(matches!(absent, Err(EnvironmentError::Read { generation: 99, .. })), "{absent:?}");
    offer(real).await.unwrap();
    assert_eq!(next_offer(&mut session).await.config, real);
    eventually("counted", || sealed(&world) == 1).await;
}

#[tokio::test]
async fn who_is_not_there_or_of_another_deployment_is_skipped() {
    let world = World::new().await;
    let other = world.another_deployment().await;
    let elsewhere = world.fleet.enroll(&world.join_token_of(&other).await).await.unwrap();
    let mut stranger = world.fleet.connect(&elsewhere, ConfigStatus::default()).await.unwrap();
    let (gone, session) = world.connect_new().await;
    session.close();
    eventually("it has left", || !world.live(&gone).connected).await;
    let (here, mut session) = world.connect_new().await;
    let instances = [InstanceId::generate(), gone.instance, elsewhere.instance, here.instance];
    let config = world.newest().await;
    world.ingest.offer(&world.deployment, config, &instances).await.unwrap();
    assert_eq!(next_offer(&mut session).await.config, config);
    world.offer_of(&other).await;
    assert_eq!(next_offer(&mut stranger).await.config, config);
    eventually("counted", || sealed(&world) >= 2).await;
    assert_eq!(sealed(&world), 2, "one each");
}

#[tokio::test]
async fn what_was_sealed_to_one_agent_opens_for_no_other() {
    let world = World::new().await;
    let (_, mut first) = world.connect_new().await;
    let (_, second) = world.connect_new().await;
    world.offer().await;
    let offer = next_offer(&mut first).await;
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
