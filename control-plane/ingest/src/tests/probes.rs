use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::model::Deployment;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_protocol::probe::{Probe, ProbeKind, ProbeLevel, ProbeStatus, ProbeTarget, ProbeVerdict};

use super::world::{World, eventually, soon};
use crate::test_support::{TestAgent, TestSession};
use crate::{IngestEvent, InstanceHealth, LiveInstance};

const RUNNING: ProgramState = ProgramState::Running { pid: 7, restarts: 2 };

fn probe(kind: ProbeKind) -> Probe {
    Probe::new(kind, ProbeLevel::Service, ProbeTarget::Command(vec!["true".to_owned()]))
}

fn status(kind: ProbeKind, verdict: ProbeVerdict, consecutive_failures: u32) -> ProbeStatus {
    ProbeStatus {
        name: Probe::default_name(kind, ProbeLevel::Service),
        kind,
        level: ProbeLevel::Service,
        verdict,
        consecutive_failures,
        last_error: (consecutive_failures > 0).then(|| "status 503, expected 200 to 399".to_owned()),
    }
}

async fn probed(world: &World, probes: &[Probe]) -> Deployment {
    let mut spec = world.deployment.spec.clone();
    spec.name = "probed".to_owned();
    spec.probes = probes.to_vec();
    spec.bake_time = Some(Duration::from_secs(7));
    spec.start_only = vec!["POOL".to_owned()];
    let deployment = world.catalog.create_deployment(&world.actor, spec).await.unwrap();
    world.catalog.begin_deployment(&world.actor, deployment.id).await.unwrap()
}

/// An agent whose program runs with what it was offered.
async fn running(world: &World, deployment: &Deployment) -> (TestAgent, TestSession) {
    let agent = world.fleet.enroll(&world.join_token_of(deployment).await).await.unwrap();
    let mut session = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    world.offer_of(deployment).await;
    let offer = soon("an offer", session.next_offer()).await.unwrap();
    session.apply(&offer).await.unwrap();
    session.say(&AgentMessage::Program(RUNNING)).await.unwrap();
    eventually("it runs", || live(world, deployment).program == RUNNING).await;
    (agent, session)
}

fn live(world: &World, deployment: &Deployment) -> LiveInstance {
    world.ingest.live(deployment.id).pop().expect("it is here")
}

fn health(world: &World, deployment: &Deployment) -> Option<Arc<InstanceHealth>> {
    live(world, deployment).health
}

#[tokio::test]
async fn agents_are_told_their_probes() {
    let world = World::new().await;
    let deployment = probed(&world, &[probe(ProbeKind::Readiness)]).await;
    let (_, session) = running(&world, &deployment).await;
    assert_eq!(session.settings.probes, [probe(ProbeKind::Readiness)]);
    assert_eq!(session.settings.bake_time, Some(Duration::from_secs(7)));
    assert_eq!(session.settings.start_only, ["POOL"]);
}

#[tokio::test]
async fn an_instance_is_ready_when_its_startup_and_readiness_probes_pass() {
    use ProbeVerdict::{Failing, Passing, Pending};
    let world = World::new().await;
    let probes = [probe(ProbeKind::Startup), probe(ProbeKind::Liveness), probe(ProbeKind::Readiness)];
    let deployment = probed(&world, &probes).await;
    let (_, mut session) = running(&world, &deployment).await;
    assert!(!live(&world, &deployment).ready, "nothing has been heard of its probes");
    let cases = [
        (Pending, Pending, Pending, false),
        (Passing, Pending, Pending, false),
        (Passing, Failing, Passing, true),
        (Passing, Passing, Failing, false),
        (Passing, Passing, Passing, true),
    ];
    for (startup, liveness, readiness, expected) in cases {
        let said = vec![
            status(ProbeKind::Startup, startup, 0),
            status(ProbeKind::Liveness, liveness, 0),
            status(ProbeKind::Readiness, readiness, 0),
        ];
        session.say(&AgentMessage::Probes(said.clone())).await.unwrap();
        eventually("it is heard", || health(&world, &deployment).is_some_and(|health| health.probes == said)).await;
        assert_eq!(live(&world, &deployment).ready, expected, "{startup:?} {liveness:?} {readiness:?}");
    }
    assert_eq!(live(&world, &deployment).restarts, 2);
}

#[tokio::test]
async fn without_gates_whoever_runs_is_ready() {
    let world = World::new().await;
    let deployment = probed(&world, &[probe(ProbeKind::Liveness)]).await;
    let (_, _session) = running(&world, &deployment).await;
    assert!(live(&world, &deployment).ready);
}

#[tokio::test]
async fn every_change_is_told_with_its_count() {
    let world = World::new().await;
    let deployment = probed(&world, &[probe(ProbeKind::Readiness)]).await;
    let (agent, mut session) = running(&world, &deployment).await;
    let mut events = world.ingest.subscribe();
    for failures in 1..=5 {
        let verdict = if failures < 3 { ProbeVerdict::Passing } else { ProbeVerdict::Failing };
        session.say(&AgentMessage::Probes(vec![status(ProbeKind::Readiness, verdict, failures)])).await.unwrap();
    }
    let mut counts = Vec::new();
    while counts.len() < 5 {
        if let IngestEvent::Probes { instance, health, .. } = soon("an event", events.recv()).await.unwrap() {
            assert_eq!(instance, agent.instance);
            let worst = health.worst().expect("it fails");
            assert_eq!(worst.last_error.as_deref(), Some("status 503, expected 200 to 399"));
            counts.push(worst.consecutive_failures);
        }
    }
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn what_is_known_outlives_the_connection_and_not_the_process() {
    let world = World::new().await;
    let deployment = probed(&world, &[probe(ProbeKind::Readiness)]).await;
    let (mut agent, mut session) = running(&world, &deployment).await;
    session.say(&AgentMessage::Probes(vec![status(ProbeKind::Readiness, ProbeVerdict::Passing, 0)])).await.unwrap();
    eventually("ready", || live(&world, &deployment).ready).await;
    session.close();
    eventually("not ready", || !live(&world, &deployment).ready).await;
    assert!(health(&world, &deployment).is_some());

    let known = session.status.clone();
    let mut again = world.fleet.connect(&agent, known.clone()).await.unwrap();
    again.say(&AgentMessage::Program(RUNNING)).await.unwrap();
    eventually("the same process is as ready as it was", || live(&world, &deployment).ready).await;

    agent.epoch += 1;
    let mut other = world.fleet.connect(&agent, known).await.unwrap();
    other.say(&AgentMessage::Program(RUNNING)).await.unwrap();
    eventually("another one has found nothing yet", || health(&world, &deployment).is_none()).await;
    assert!(!live(&world, &deployment).ready);
}
