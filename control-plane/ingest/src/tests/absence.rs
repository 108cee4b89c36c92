//! Agents that come back with what they saw while this was away.

use std::time::Duration;

use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::message::ConfigStatus;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use super::world::{World, config, eventually, soon};
use crate::test_support::busy_sample;
use crate::{Count, IngestConfig, IngestEvent};

const MINUTE: Duration = Duration::from_secs(60);

/// A clock that is three hours behind, as a sandbox's may be that nobody has ever set.
fn theirs() -> UnixMillis {
    UnixMillis::now().saturating_sub(180 * MINUTE)
}

/// What was seen in the hour before `now`, once a minute.
fn hour(now: UnixMillis) -> Vec<Sample> {
    let minutes = (0..=60_u32).rev();
    minutes.map(|ago| busy_sample(now.saturating_sub(ago * MINUTE), MINUTE, 30, 3, Duration::from_millis(20))).collect()
}

fn line(at: UnixMillis) -> LogRecord {
    let message = "still here".to_owned();
    LogRecord { at, stream: LogStream::Stdout, level: Level::Info, message, truncated: false }
}

#[tokio::test]
async fn an_hour_that_is_told_afterwards_goes_to_history_in_its_place_and_moves_no_decision() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let mut session = world.fleet.connect_by(&agent, ConfigStatus::default(), theirs).await.unwrap();
    let mut events = world.ingest.subscribe();
    let samples = hour(theirs());
    for batch in samples.chunks(20) {
        let id = session.send_samples(batch.to_vec()).await.unwrap();
        soon("an acknowledgement", session.accepted(id)).await.unwrap();
    }
    let heard: Vec<Sample> =
        world.heard.samples.lock().unwrap().iter().flat_map(|(_, samples)| samples.clone()).collect();
    let now = UnixMillis::now();
    assert_eq!(heard.len(), samples.len(), "all of it, once");
    assert!(heard.is_sorted_by(|a, b| a.at < b.at), "in order");
    let newest = heard.last().unwrap().at;
    assert!(newest <= now && now.since(newest) < Duration::from_secs(20), "{newest} at {now}");
    let span = newest.since(heard[0].at);
    assert!(span.abs_diff(60 * MINUTE) < Duration::from_secs(15), "an hour is an hour: {span:?}");
    assert!(heard.iter().all(|sample| sample.latency.as_ref().is_some_and(|latency| latency.count() == 30)));

    let stats = world.ingest.stats();
    assert_eq!(stats.count(Count::SamplesUntimely), 0);
    assert_eq!(stats.count(Count::Samples) + stats.count(Count::SamplesUnused), 61);
    let latest = world.ingest.window(world.deployment.id, |window| window.latest(agent.instance, "requests"));
    assert_eq!(latest.flatten().map(|(_, value)| value), Some(0.5));
    while let Ok(event) = events.try_recv() {
        if let IngestEvent::Traffic { since, until, .. } = event {
            assert!(now.since(until) < 16 * MINUTE && until.since(since) <= 20 * MINUTE, "judged by what is long past");
        }
    }
}

#[tokio::test]
async fn lines_of_an_absence_keep_their_times_and_those_that_nobody_can_believe_get_the_one_of_their_arrival() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let mut session = world.fleet.connect_by(&agent, ConfigStatus::default(), theirs).await.unwrap();
    let seen = theirs();
    let times = [seen.saturating_sub(60 * MINUTE), seen, UnixMillis::EPOCH, seen.saturating_add(600 * MINUTE)];
    session.send_logs(times.map(line).to_vec()).await.unwrap();
    eventually("the lines", || !world.heard.logs.lock().unwrap().is_empty()).await;
    let heard = world.heard.logs.lock().unwrap();
    let (now, records) = (UnixMillis::now(), &heard[0].1);
    let ago: Vec<Duration> = records.iter().map(|record| now.since(record.at)).collect();
    assert!(ago[0].abs_diff(60 * MINUTE) < Duration::from_secs(20), "{ago:?}");
    assert!(ago[1..].iter().all(|ago| *ago < Duration::from_secs(20)), "{ago:?}");
}

#[tokio::test]
async fn what_was_acknowledged_in_vain_before_a_long_absence_still_counts_once() {
    let world = World::with(IngestConfig { absent_after: Duration::from_millis(100), ..config() }).await;
    let (agent, mut session) = world.connect_new().await;
    let cpu = |ago: u64| {
        let mut sample = Sample::new(UnixMillis::now().saturating_sub(Duration::from_secs(ago)));
        sample.set(Metric::Cpu, 50.0);
        sample
    };
    let id = session.send_samples(vec![cpu(5)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    let record = vec![line(UnixMillis::now())];
    session.send_logs(record.clone()).await.unwrap();
    eventually("the line", || world.ingest.stats().count(Count::LogLines) == 1).await;
    session.close();
    eventually("forgotten", || world.ingest.live(world.deployment.id).is_empty()).await;

    let mut session = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    (session.next_batch, session.next_logs) = (1, 1);
    session.send_logs(record).await.unwrap();
    session.send_samples(vec![cpu(5)]).await.unwrap();
    let id = session.send_samples(vec![cpu(1)]).await.unwrap();
    soon("an acknowledgement", session.accepted(id)).await.unwrap();
    eventually("both were sent again", || world.ingest.stats().count(Count::DuplicateBatches) == 2).await;
    let stats = world.ingest.stats();
    assert_eq!((stats.count(Count::LogLines), stats.count(Count::Samples)), (1, 2));
}
