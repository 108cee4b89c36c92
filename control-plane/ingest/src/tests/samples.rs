use std::time::Duration;

use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ServerMessage};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use super::world::{World, config, eventually, soon};
use crate::test_support::busy_sample;
use crate::{Count, IngestConfig, IngestEvent};

fn cpu(at: UnixMillis, value: f64) -> Sample {
    let mut sample = Sample::new(at);
    sample.set(Metric::Cpu, value);
    sample
}

#[tokio::test]
async fn a_sample_is_in_the_window_when_it_is_acknowledged() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    world.ingest.dirty().await;
    let id = session.send_samples(vec![cpu(UnixMillis::now(), 42.0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let latest = world.ingest.window(world.deployment.id, |window| window.latest(agent.instance, "cpu"));
    assert_eq!(latest.flatten().map(|(_, value)| value), Some(42.0));
    assert_eq!(soon("a mark", world.ingest.dirty()).await, [world.deployment.id]);
    let live = world.ingest.live(world.deployment.id);
    assert_eq!(live[0].latest.as_ref().and_then(|sample| sample.value(Metric::Cpu)), Some(42.0));
}

#[tokio::test]
async fn batches_sent_again_after_a_reconnect_count_once() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let now = UnixMillis::now();
    let back = |seconds| now.saturating_sub(Duration::from_secs(seconds));
    for seconds in [5, 4, 3] {
        let id = session.send_samples(vec![cpu(back(seconds), 10.0)]).await.unwrap();
        soon("an acknowledgement", session.accepted(id)).await.unwrap();
    }
    session.close();
    let mut session = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    session.next_batch = 2;
    session.send_samples(vec![cpu(back(4), 99.0)]).await.unwrap();
    session.send_samples(vec![cpu(back(3), 99.0)]).await.unwrap();
    let id = session.send_samples(vec![cpu(back(2), 20.0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let stats = world.ingest.stats();
    assert_eq!((stats.count(Count::Batches), stats.count(Count::DuplicateBatches)), (4, 2));
    assert_eq!(stats.count(Count::Samples), 4);
}

#[tokio::test]
async fn requests_are_told_as_counts_and_once() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let mut events = world.ingest.subscribe();
    let (now, second) = (UnixMillis::now(), Duration::from_secs(1));
    let back = |seconds| now.saturating_sub(Duration::from_secs(seconds));
    let busy = |at, requests, errors| busy_sample(at, second, requests, errors, Duration::from_millis(20));
    for sample in [busy(back(5), 40, 4), busy(back(4), 50, 5), cpu(back(3), 10.0)] {
        let id = session.send_samples(vec![sample]).await.unwrap();
        soon("an acknowledgement", session.accepted(id)).await.unwrap();
    }
    session.close();
    let mut session = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    session.next_batch = 2;
    session.send_samples(vec![busy(back(4), 99, 99)]).await.unwrap();
    session.send_samples(vec![busy(back(3), 99, 99)]).await.unwrap();
    let id = session.send_samples(vec![busy(back(2), 10, 0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();

    let mut spans = Vec::new();
    let mut counts = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let IngestEvent::Traffic { deployment, instance, since, until, requests, errors, latency } = event {
            assert_eq!((deployment, instance), (world.deployment.id, agent.instance));
            assert_eq!(latency.count(), requests);
            spans.push((since, until));
            counts.push((requests, errors));
        }
    }
    assert_eq!(counts, [(40, 4), (50, 5), (10, 0)]);
    assert!(spans[..2].iter().all(|(since, until)| until.since(*since) == second), "{spans:?}");
    assert!(spans.is_sorted_by(|(_, end), (begin, _)| end <= begin), "{spans:?}");
}

#[tokio::test]
async fn an_agent_whose_clock_is_a_day_wrong_is_believed_in_the_right_place() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let day = Duration::from_secs(86_400);
    let theirs = || UnixMillis::now().saturating_add(day);
    let mut session = world.fleet.connect_by(&agent, ConfigStatus::default(), theirs).await.unwrap();
    let id = session.send_samples(vec![cpu(theirs(), 42.0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let freshest = world.ingest.window(world.deployment.id, |window| window.freshest()).flatten().unwrap();
    let now = UnixMillis::now();
    assert!(freshest <= now && now.since(freshest) < Duration::from_secs(20), "{freshest} at {now}");
}

#[tokio::test]
async fn samples_from_the_future_or_the_far_past_are_dropped_and_the_batch_is_kept() {
    let world = World::new().await;
    let (_, mut session) = world.connect_new().await;
    let now = UnixMillis::now();
    let samples = vec![
        cpu(now.saturating_add(Duration::from_secs(3_600)), 1.0),
        cpu(UnixMillis::from_millis(u64::MAX), 2.0),
        cpu(UnixMillis::EPOCH, 3.0),
        cpu(now, 42.0),
    ];
    let id = session.send_samples(samples).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let stats = world.ingest.stats();
    assert_eq!((stats.count(Count::Samples), stats.count(Count::SamplesUntimely)), (1, 3));
    let freshest = world.ingest.window(world.deployment.id, |window| window.freshest()).flatten().unwrap();
    assert!(freshest <= UnixMillis::now());
}

#[tokio::test]
async fn a_clock_that_is_set_in_mid_session_is_measured_again() {
    let heartbeat_interval = Duration::from_millis(500);
    let world = World::with(IngestConfig { heartbeat_interval, missed_heartbeats: 40, ..config() }).await;
    let (_, mut session) = world.connect_new().await;
    let set_ahead = || UnixMillis::now().saturating_add(Duration::from_secs(3_600));
    let id = session.send_samples(vec![cpu(set_ahead(), 1.0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    assert_eq!(world.ingest.stats().count(Count::Samples), 0, "an hour from now is not believed");
    soon("a question", async { while !matches!(session.next().await.unwrap(), ServerMessage::Heartbeat { .. }) {} })
        .await;
    session.say(&AgentMessage::Heartbeat { now: set_ahead() }).await.unwrap();
    // Control and metrics are streams of their own: the answer may be heard after a batch that was sent after it.
    let believed = async {
        while world.ingest.stats().count(Count::Samples) == 0 {
            let id = session.send_samples(vec![cpu(set_ahead(), 42.0)]).await.unwrap();
            session.accepted(id).await.unwrap();
        }
    };
    soon("believed again", believed).await;
}

#[tokio::test]
async fn a_liar_reaches_its_own_deployment_only() {
    let world = World::new().await;
    let other = world.another_deployment().await;
    let (honest, mut first) = world.connect_new().await;
    let liar = world.fleet.enroll(&world.join_token_of(&other).await).await.unwrap();
    let mut second = world.fleet.connect(&liar, ConfigStatus::default()).await.unwrap();
    let id = first.send_samples(vec![cpu(UnixMillis::now(), 50.0)]).await.unwrap();
    soon("an acknowledgement", first.accepted(id)).await.unwrap();
    let id = second.send_samples(vec![cpu(UnixMillis::now(), 1e9), cpu(UnixMillis::EPOCH, -7.0)]).await.unwrap();
    soon("an acknowledgement", second.accepted(id)).await.unwrap();
    let instances = |id| world.ingest.window(id, |window| window.instances().collect::<Vec<_>>());
    assert_eq!(instances(world.deployment.id), Some(vec![honest.instance]));
    assert!(!instances(other.id).unwrap_or_default().contains(&honest.instance));
    let latest = world.ingest.window(world.deployment.id, |window| window.latest(honest.instance, "cpu"));
    assert_eq!(latest.flatten().map(|(_, value)| value), Some(50.0));
}

#[tokio::test]
async fn log_lines_reach_the_sinks_before_they_are_acknowledged() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let record = |message: &str| LogRecord {
        at: UnixMillis::now(),
        stream: LogStream::Stdout,
        level: Level::Info,
        message: message.to_owned(),
        truncated: false,
    };
    let sent = session.send_logs(vec![record("listening"), record("<script>\u{1b}[31m\0")]).await.unwrap();
    soon("an acknowledgement", async {
        while !matches!(session.next().await.unwrap(), ServerMessage::LogsAccepted { id } if id == sent) {}
    })
    .await;
    let heard = world.heard.logs.lock().unwrap();
    let [(source, records, dropped)] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((source.deployment, source.instance, *dropped), (world.deployment.id, agent.instance, 0));
    assert_eq!(
        records.iter().map(|record| record.message.as_str()).collect::<Vec<_>>(),
        ["listening", "<script>\u{1b}[31m\0"]
    );
}

#[tokio::test]
async fn an_instance_that_left_is_no_longer_in_the_window() {
    let world = World::new().await;
    let (agent, mut session) = world.connect_new().await;
    let id = session.send_samples(vec![cpu(UnixMillis::now(), 50.0)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let goodbye = AgentMessage::Goodbye { reason: "exit 0".to_owned() };
    session.say(&goodbye).await.unwrap();
    eventually("gone", || {
        let here = world.ingest.window(world.deployment.id, |window| window.instances().any(|i| i == agent.instance));
        here == Some(false)
    })
    .await;
    assert_eq!(world.ingest.live_agents_count(), 0);
}
