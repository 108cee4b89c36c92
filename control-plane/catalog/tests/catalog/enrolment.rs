use std::time::Duration;

use outrigger_catalog::model::{AuditAction, DeploymentStatus, EventKind, InstancePhase};
use outrigger_catalog::{CatalogError, EnrollError, IntentOutcome, MAX_JOIN_TOKEN_TTL, Page};
use outrigger_protocol::id::{AgentId, JoinTokenId};

use crate::world::{World, assert_error, owner};

const TTL: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_token_is_consumed_once_and_its_key_may_ask_again() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let instance = recorded.intents[0].instance;
    let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, Some(instance), TTL).await.unwrap();
    let first = world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap();
    assert!(first.first_time);
    assert_eq!((first.agent.instance, first.agent.deployment), (instance, deployment.id));
    assert_eq!(world.catalog.instance(&actor, instance).await.unwrap().agent, Some(first.agent.id));
    assert_eq!(world.catalog.agent(first.agent.id).await.unwrap(), Some(first.agent.clone()));

    // Also after the token's time: the answer may have been lost on the way.
    world.pass(TTL);
    let again = world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap();
    assert_eq!((again.agent, again.first_time), (first.agent, false));
}

#[tokio::test]
async fn another_key_with_a_used_token_raises_an_alarm() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
    world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap();
    let thief = world.catalog.enroll(token.id, &secret, [2; 32], world.now()).await;
    assert_error!(thief, EnrollError::UsedByOther);
    let events = world.catalog.events(&actor, deployment.id, Page::default()).await.unwrap().items;
    assert_eq!(events[0].kind, EventKind::TokenMisused);
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert_eq!((audit[0].action, audit[0].target.as_str()), (AuditAction::Failure, token.id.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_keys_at_once_one_gets_the_identity() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
    let now = world.now();
    let attempts: Vec<_> = (0..6_u8)
        .map(|key| {
            let catalog = world.catalog.clone();
            tokio::spawn(async move { catalog.enroll(token.id, &secret, [key; 32], now).await })
        })
        .collect();
    let mut granted = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(grant) => granted += usize::from(grant.first_time),
            Err(EnrollError::UsedByOther) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(granted, 1);
    assert_eq!(world.catalog.instances(&actor, deployment.id, true).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_expired_an_unknown_and_a_guessed_token_are_refused() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
    let enroll = async |id, secret: &[u8; 32]| world.catalog.enroll(id, secret, [1; 32], world.now()).await;
    assert_error!(enroll(JoinTokenId::generate(), &secret).await, EnrollError::Unknown);
    assert_error!(enroll(token.id, &[0; 32]).await, EnrollError::Unknown);
    world.pass(TTL);
    assert_error!(enroll(token.id, &secret).await, EnrollError::Expired);
    assert!(world.catalog.instances(&actor, deployment.id, true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_for_what_is_gone_admits_nobody() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let intent = &recorded.intents[0];
    let (token, secret) =
        world.catalog.create_join_token(&actor, deployment.id, Some(intent.instance), TTL).await.unwrap();
    let (free, free_secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
    let failed = IntentOutcome::Failed { reason: "no room".to_owned() };
    world.catalog.finish_intent(intent, failed, None).await.unwrap();
    assert_error!(world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await, EnrollError::Unknown);
    let late = world.catalog.create_join_token(&actor, deployment.id, Some(intent.instance), TTL).await;
    assert_error!(late, CatalogError::NotFound { what: "instance" });

    world.catalog.set_status(&actor, deployment.id, DeploymentStatus::Stopped, None).await.unwrap();
    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
    assert_error!(world.catalog.enroll(free.id, &free_secret, [1; 32], world.now()).await, EnrollError::Unknown);
}

#[tokio::test]
async fn an_identity_ends_with_its_instance_or_by_revocation() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let join = async |instance, key: u8| {
        let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, instance, TTL).await.unwrap();
        let agent = world.catalog.enroll(token.id, &secret, [key; 32], world.now()).await.unwrap().agent;
        (token, secret, agent)
    };
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let (_, _, lost) = join(Some(recorded.intents[0].instance), 1).await;
    let gone = world.catalog.instance_lost(actor.organization, lost.instance, "it ended").await.unwrap();
    assert_eq!((gone.phase, gone.outside), (InstancePhase::Gone, false));
    assert!(world.catalog.agent(lost.id).await.unwrap().unwrap().revoked);
    let again = world.catalog.instance_returned(actor.organization, lost.instance).await.unwrap();
    assert_eq!(again.phase, InstancePhase::Gone, "what was ours and is lost stays so");

    let (token, secret, revoked) = join(None, 2).await;
    world.catalog.revoke_agent(&actor, revoked.id).await.unwrap();
    world.catalog.revoke_agent(&actor, revoked.id).await.unwrap();
    assert!(world.catalog.agent(revoked.id).await.unwrap().unwrap().revoked);
    assert_error!(world.catalog.enroll(token.id, &secret, [2; 32], world.now()).await, EnrollError::UsedByOther);
    assert_eq!(world.catalog.agent(AgentId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn an_agent_from_outside_may_be_away_for_a_while() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
    let agent = world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap().agent;
    assert!(world.catalog.instance(&actor, agent.instance).await.unwrap().outside);
    world.catalog.instance_lost(actor.organization, agent.instance, "not heard").await.unwrap();
    assert!(world.catalog.instances(&actor, deployment.id, false).await.unwrap().is_empty());
    assert!(!world.catalog.agent(agent.id).await.unwrap().unwrap().revoked, "it may only have been away");
    let back = world.catalog.instance_returned(actor.organization, agent.instance).await.unwrap();
    assert_eq!((back.phase, back.agent), (InstancePhase::Running, Some(agent.id)));
    assert_eq!(world.catalog.instances(&actor, deployment.id, false).await.unwrap(), [back]);
}

#[tokio::test]
async fn agents_from_outside_are_revoked_with_their_deployment_however_many_there_are() {
    const AGENTS: usize = 450;
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let mut agents = Vec::new();
    for key in 0..AGENTS {
        let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, None, TTL).await.unwrap();
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&key.to_be_bytes());
        agents.push(world.catalog.enroll(token.id, &secret, fingerprint, world.now()).await.unwrap().agent.id);
    }
    assert_error!(
        world.catalog.delete_deployment(&actor, deployment.id).await,
        CatalogError::Conflict { what } if what.contains("450 instances")
    );
    world.catalog.revoke_outside(&actor, deployment.id).await.unwrap();
    for agent in agents {
        assert!(world.catalog.agent(agent).await.unwrap().unwrap().revoked);
    }
    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
}

#[tokio::test]
async fn a_second_agent_of_an_instance_replaces_the_first() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let instance = Some(recorded.intents[0].instance);
    let mut agents = Vec::new();
    for key in 1..=2 {
        let (token, secret) = world.catalog.create_join_token(&actor, deployment.id, instance, TTL).await.unwrap();
        agents.push(world.catalog.enroll(token.id, &secret, [key; 32], world.now()).await.unwrap().agent.id);
    }
    assert!(world.catalog.agent(agents[0]).await.unwrap().unwrap().revoked);
    assert!(!world.catalog.agent(agents[1]).await.unwrap().unwrap().revoked);
}

#[tokio::test]
async fn a_token_is_good_for_a_bounded_time() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    for ttl in [Duration::ZERO, MAX_JOIN_TOKEN_TTL + Duration::from_secs(1)] {
        let refused = world.catalog.create_join_token(&actor, deployment.id, None, ttl).await;
        assert_error!(refused, CatalogError::Validation(_));
    }
}
