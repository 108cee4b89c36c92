use std::time::Duration;

use outrigger_protocol::identity::AgentKey;
use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, EnrollRefusal, ServerMessage};
use outrigger_protocol::transport::CloseCode;

use super::world::{World, config, eventually, soon};
use crate::test_support::TestAgentError;
use crate::{Count, EnrollLimits, IngestEvent, Rate, Reject};

fn refusal<T: std::fmt::Debug>(outcome: Result<T, TestAgentError>) -> EnrollRefusal {
    match outcome {
        Err(TestAgentError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_enrols_one_key_however_often_it_asks() {
    let world = World::new().await;
    let token = world.join_token().await;
    let key = AgentKey::generate().unwrap();
    let again = AgentKey::from_pkcs8_der(key.pkcs8_der().to_vec().into()).unwrap();
    let first = world.fleet.enroll_with(&token, key).await.unwrap();
    let second = world.fleet.enroll_with(&token, again).await.unwrap();
    assert_eq!((first.agent, first.instance), (second.agent, second.instance));
    assert_eq!(first.deployment, world.deployment.id);
    assert_ne!(first.identity.chain[0], second.identity.chain[0], "each answer is a certificate of its own");
}

#[tokio::test]
async fn a_used_token_with_another_key_is_refused_and_an_alarm() {
    let world = World::new().await;
    let token = world.join_token().await;
    let mut events = world.ingest.subscribe();
    world.fleet.enroll(&token).await.unwrap();
    assert_eq!(refusal(world.fleet.enroll(&token).await), EnrollRefusal::UsedToken);
    let alarm = soon("an alarm", async {
        loop {
            if let IngestEvent::TokenMisused { token } = events.recv().await.unwrap() {
                return token;
            }
        }
    });
    assert_eq!(alarm.await, token.parse::<JoinToken>().unwrap().id);
    assert_eq!(world.ingest.stats().rejected(Reject::TokenUsed), 1);
}

#[tokio::test]
async fn unknown_forged_and_expired_tokens_are_refused() {
    let world = World::new().await;
    let good: JoinToken = world.join_token().await.parse().unwrap();
    let forged = JoinToken { secret: [7; 32], ..good.clone() };
    assert_eq!(refusal(world.fleet.enroll(&forged.reveal()).await), EnrollRefusal::UnknownToken);
    let id = outrigger_protocol::id::JoinTokenId::generate();
    let unknown = JoinToken { id, ..good.clone() };
    assert_eq!(refusal(world.fleet.enroll(&unknown.reveal()).await), EnrollRefusal::UnknownToken);
    let ttl = Duration::from_secs(1);
    let (short, secret) = world.catalog.create_join_token(&world.actor, world.deployment.id, None, ttl).await.unwrap();
    let expired = world.ingest.join_token_text(short.id, &secret);
    eventually("the token expires", || outrigger_protocol::time::UnixMillis::now() > short.expires_at).await;
    assert_eq!(refusal(world.fleet.enroll(&expired).await), EnrollRefusal::ExpiredToken);
    assert_eq!(world.ingest.stats().rejected(Reject::TokenUnknown), 2);
    assert_eq!(world.ingest.stats().count(Count::Enrolled), 0);
    world.fleet.enroll(&good.reveal()).await.expect("the good token is still good");
}

#[tokio::test]
async fn an_address_that_guesses_is_made_to_wait() {
    let enroll = EnrollLimits { rate: Rate { per_second: 0.001, burst: 10.0 }, refusal_cost: 5.0, ..config().enroll };
    let world = World::with(crate::IngestConfig { enroll, ..config() }).await;
    let good: JoinToken = world.join_token().await.parse().unwrap();
    let forged = JoinToken { secret: [7; 32], ..good };
    for _ in 0..2 {
        assert_eq!(refusal(world.fleet.enroll(&forged.reveal()).await), EnrollRefusal::UnknownToken);
    }
    assert_eq!(refusal(world.fleet.enroll(&forged.reveal()).await), EnrollRefusal::TryLater);
    assert_eq!(world.ingest.stats().rejected(Reject::EnrollmentLimited), 1);
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_key_only() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    session.say(&AgentMessage::Renew { csr: agent.key.csr().unwrap() }).await.unwrap();
    let chain = soon("a renewed certificate", async {
        loop {
            if let ServerMessage::Renewed { chain } = session.next().await.unwrap() {
                return chain;
            }
        }
    });
    assert_ne!(chain.await[0], agent.identity.chain[0].to_vec());
    let stranger = AgentKey::generate().unwrap();
    session.say(&AgentMessage::Renew { csr: stranger.csr().unwrap() }).await.unwrap();
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::ProtocolError));
    eventually("counted", || world.ingest.stats().rejected(Reject::ForeignKey) == 1).await;
    world.fleet.connect(&agent, ConfigStatus::default()).await.expect("its own certificate is still good");
}
