use std::time::Duration;

use outrigger_protocol::message::{AgentMessage, ApplyState, ConfigRef, ConfigStatus, ProgramState, ServerMessage};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{ClientIdentity, CloseCode, Trust};

use super::world::{World, config, eventually, next_event, next_offer, soon};
use crate::session::hear_by;
use crate::test_support::{Fleet, TestAgentError};
use crate::{Count, IngestConfig, IngestEvent, Reject, SessionEnd};

#[tokio::test]
async fn a_second_connection_takes_the_place_of_the_first() {
    let world = World::new().await;
    let (agent, first) = world.connect_new().await;
    let mut events = world.ingest.subscribe();
    let mut second = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    assert_eq!(soon("the end of the first", first.closed()).await, Some(CloseCode::Replaced));
    eventually("one session", || world.ingest.live_agents_count() == 1).await;
    world.offer().await;
    next_offer(&mut second).await;
    let lost = std::iter::from_fn(|| events.try_recv().ok()).any(|e| matches!(e, IngestEvent::AgentLost { .. }));
    assert!(!lost, "the agent was never gone");
}

#[tokio::test]
async fn the_last_words_of_a_connection_that_was_replaced_do_not_overwrite_what_the_next_one_says() {
    let world = World::new().await;
    let (agent, first) = world.connect_new().await;
    let ingest = world.ingest.inner();
    let peer = ingest.registry.of_agent(agent.agent).unwrap();
    let replaced = peer.session().unwrap();
    let running = ConfigRef { generation: 7, hash: [7; 32] };
    let status = ConfigStatus { last_received: Some(running), running: Some(running), last_failed: None };
    let _second = world.fleet.connect(&agent, status.clone()).await.unwrap();
    assert_eq!(soon("the end of the first", first.closed()).await, Some(CloseCode::Replaced));
    let mut events = world.ingest.subscribe();
    let report =
        AgentMessage::ConfigReport { nonce: [0; 16], state: ApplyState::Failed, status: ConfigStatus::default() };
    let exited = AgentMessage::Program(ProgramState::Exited { code: 9 });
    // As when they had been read already when the second came.
    for message in [report, exited, AgentMessage::Probes(Vec::new())] {
        hear_by(ingest, &replaced, &peer, message).unwrap();
    }
    let live = world.live(&agent);
    assert_eq!((live.config, live.apply, live.program), (status, None, ProgramState::Waiting));
    assert!(live.health.is_none());
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let told: Vec<_> = told.filter(|event| !matches!(event, IngestEvent::AgentConnected { .. })).collect();
    assert!(told.is_empty(), "{told:?}");
}

fn lost(event: IngestEvent) -> Option<SessionEnd> {
    match event {
        IngestEvent::AgentLost { end, .. } => Some(end),
        _ => None,
    }
}

#[tokio::test]
async fn who_connects_is_told_with_what_it_says_of_itself_before_anything_else_it_says() {
    let world = World::new().await;
    let (agent, session) = world.connect_running().await;
    let mut events = world.ingest.subscribe();
    let status = session.status.clone();
    session.close();
    assert_eq!(next_event(&mut events, "its end", lost).await, SessionEnd::Lost);
    let mut session = world.fleet.connect(&agent, status.clone()).await.unwrap();
    session.say(&AgentMessage::Program(ProgramState::Exited { code: 3 })).await.unwrap();
    let connected = IngestEvent::AgentConnected {
        deployment: agent.deployment,
        instance: agent.instance,
        agent: agent.agent,
        status,
        program: ProgramState::Waiting,
    };
    assert_eq!(next_event(&mut events, "its return", Some).await, connected);
    let said = next_event(&mut events, "what it says", Some).await;
    assert!(matches!(said, IngestEvent::Program { state: ProgramState::Exited { code: 3 }, .. }), "{said:?}");
}

#[tokio::test]
async fn an_agent_that_enrols_for_a_taken_instance_takes_its_place_without_an_end() {
    let world = World::new().await;
    let (_, first) = world.connect_new().await;
    let mut events = world.ingest.subscribe();
    let ttl = Duration::from_secs(600);
    let instance = world.ingest.live(world.deployment.id)[0].instance;
    let (token, secret) =
        world.catalog.create_join_token(&world.actor, world.deployment.id, Some(instance), ttl).await.unwrap();
    let second = world.fleet.enroll(&world.ingest.join_token_text(token.id, &secret)).await.unwrap();
    assert_eq!(second.instance, instance);
    let _session = world.fleet.connect(&second, ConfigStatus::default()).await.unwrap();
    assert_eq!(soon("the end of the first", first.closed()).await, Some(CloseCode::Replaced));
    eventually("one session", || world.ingest.live_agents_count() == 1).await;
    let ended = std::iter::from_fn(|| events.try_recv().ok()).find_map(lost);
    assert_eq!(ended, None, "somebody is there");
    assert!(world.live(&second).connected);
}

#[tokio::test]
async fn an_older_process_of_an_agent_does_not_displace_a_newer_one() {
    let world = World::new().await;
    let mut agent = world.enroll().await;
    agent.epoch = 8;
    let _newer = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    agent.epoch = 7;
    let older = world.fleet.connect(&agent, ConfigStatus::default()).await;
    assert_eq!(older.unwrap_err().closed_by_server(), Some(CloseCode::Replaced));
    assert_eq!(world.ingest.live_agents_count(), 1);
    assert_eq!(world.ingest.stats().rejected(Reject::Overtaken), 1);
}

#[tokio::test]
async fn a_revoked_agent_is_closed_and_not_let_in_again() {
    let world = World::new().await;
    let (agent, session) = world.connect_new().await;
    let mut events = world.ingest.subscribe();
    world.catalog.revoke_agent(&world.actor, agent.agent).await.unwrap();
    assert!(world.ingest.revoke(agent.agent));
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::Revoked));
    assert_eq!(next_event(&mut events, "the news", lost).await, SessionEnd::Revoked);
    assert!(!world.ingest.revoke(agent.agent), "it has no session any more");
    let again = world.fleet.connect(&agent, ConfigStatus::default()).await;
    assert_eq!(again.unwrap_err().closed_by_server(), Some(CloseCode::Revoked));
    assert_eq!(world.ingest.stats().rejected(Reject::Revoked), 1);
}

#[tokio::test]
async fn a_revoked_agent_gets_no_new_certificate_by_its_old_token() {
    let world = World::new().await;
    let token = world.join_token().await;
    let agent = world.fleet.enroll(&token).await.unwrap();
    world.catalog.revoke_agent(&world.actor, agent.agent).await.unwrap();
    let again = world.fleet.enroll_with(&token, agent.key).await;
    assert!(matches!(again, Err(TestAgentError::Refused { .. })), "{again:?}");
    assert_eq!(world.ingest.stats().count(Count::Enrolled), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (world, stranger) = (World::new().await, World::new().await);
    let mut agent = stranger.enroll().await;
    agent.trust = Trust::Fingerprint(world.ingest.ca_fingerprint());
    let outcome = world.fleet.connect(&agent, ConfigStatus::default()).await;
    assert_eq!(outcome.unwrap_err().closed_by_server(), Some(CloseCode::Unauthorized));
    eventually("counted", || world.ingest.stats().rejected(Reject::Handshake) == 1).await;
}

#[tokio::test]
async fn an_agent_does_not_talk_to_a_stranger() {
    let (world, stranger) = (World::new().await, World::new().await);
    let agent = world.enroll().await;
    let wrong = Fleet::new(stranger.ingest.local_addr(), "outrigger.test", 1).unwrap();
    assert!(wrong.connect(&agent, ConfigStatus::default()).await.is_err());
    assert_eq!(stranger.ingest.live_agents_count(), 0);
}

#[tokio::test]
async fn a_certificate_for_an_agent_that_nobody_enrolled_is_refused() {
    let world = World::new().await;
    let mut agent = world.enroll().await;
    let authority = world.ingest.authority();
    let key = crate::authority::ProvenKey::from_csr(&agent.key.csr().unwrap()).unwrap();
    let ghost = outrigger_protocol::id::AgentId::generate();
    let now = UnixMillis::now();
    let issued = authority.issue_agent(ghost, &key, Duration::from_secs(60), now).unwrap();
    let chain = issued.chain.into_iter().map(Into::into).collect();
    agent.identity = ClientIdentity { chain, key: agent.key.to_tls() };
    let outcome = world.fleet.connect(&agent, ConfigStatus::default()).await;
    assert_eq!(outcome.unwrap_err().closed_by_server(), Some(CloseCode::Unauthorized));
    assert_eq!(world.ingest.stats().rejected(Reject::UnknownAgent), 1);
}

#[tokio::test]
async fn a_silent_agent_is_asked_and_then_let_go() {
    let heartbeat_interval = Duration::from_millis(1_000);
    let world = World::with(IngestConfig { heartbeat_interval, missed_heartbeats: 3, ..config() }).await;
    let (_, mut session) = world.connect_new().await;
    let mut events = world.ingest.subscribe();
    soon("a question", async { while !matches!(session.next().await.unwrap(), ServerMessage::Heartbeat { .. }) {} })
        .await;
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::Unresponsive));
    let end = next_event(&mut events, "the news", lost).await;
    assert_eq!(end, SessionEnd::Unresponsive);
}

#[tokio::test]
async fn an_agent_whose_certificate_has_run_out_is_closed() {
    let certificate_lifetime = Duration::from_secs(2);
    let world = World::with(IngestConfig { certificate_lifetime, ..config() }).await;
    let (_, session) = world.connect_new().await;
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::CertificateExpired));
}

#[tokio::test]
async fn the_servers_certificate_is_renewed_while_it_runs() {
    let server_certificate_lifetime = Duration::from_secs(2);
    let world = World::with(IngestConfig { server_certificate_lifetime, ..config() }).await;
    let first_end = world.ingest.stats().certificate_ends;
    let (_, _session) = world.connect_new().await;
    // Agents look at what they are shown: after the end of the first certificate it has to be another one.
    eventually("the first certificate is over", || UnixMillis::now() > first_end.saturating_add(LAST_SECOND)).await;
    let (_, _newcomer) = world.connect_new().await;
    assert!(world.ingest.stats().certificate_ends > first_end);
    assert_eq!(world.ingest.live_agents_count(), 2, "who was there has stayed");
}

/// Certificates name whole seconds, and the second of their end is still a part of their life.
const LAST_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_the_program_does_is_seen() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_running().await;
    let running = ProgramState::Running { pid: 7, restarts: 0 };
    session.say(&AgentMessage::Program(running)).await.unwrap();
    let ready =
        || world.ingest.live(world.deployment.id).iter().any(|live| live.instance == agent.instance && live.ready);
    eventually("ready", ready).await;
    session.close();
    eventually("not ready", || !ready()).await;
    let live = world.ingest.live(world.deployment.id);
    assert!(!live[0].connected && live[0].program == running, "the last words are kept");
}

#[tokio::test]
async fn an_agent_that_is_gone_for_long_is_forgotten() {
    let world = World::with(IngestConfig { absent_after: Duration::from_millis(100), ..config() }).await;
    let (_, session) = world.connect_new().await;
    session.close();
    eventually("forgotten", || world.ingest.live(world.deployment.id).is_empty()).await;
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let world = World::with(IngestConfig { sessions: 1, ..config() }).await;
    let (_, _first) = world.connect_new().await;
    let agent = world.enroll().await;
    let second = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap_err();
    assert!(second.to_string().contains("RetryAfter"), "{second}");
    assert_eq!(world.ingest.live_agents_count(), 1);
}

#[tokio::test]
async fn a_forgotten_deployment_sends_its_agents_away() {
    let world = World::new().await;
    let (_, session) = world.connect_new().await;
    world.ingest.forget(world.deployment.id);
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::Revoked));
    assert!(world.ingest.live(world.deployment.id).is_empty());
    eventually("no session", || world.ingest.live_agents_count() == 0).await;
}
