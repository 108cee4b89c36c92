use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_protocol::message::ConfigStatus;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::transport::CloseCode;
use tokio::task::JoinSet;

use super::world::{PATIENCE, World, eventually, soon};
use crate::test_support::Seen;
use crate::{Count, Reject};

const AGENTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_agents_enrol_report_and_follow_an_offer() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        agents.push(world.enroll().await);
    }
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for (at, agent) in agents.into_iter().enumerate() {
        let mut session = world.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
        let accepted = Arc::clone(&accepted);
        running.spawn(async move {
            let sample = |now| {
                let mut sample = Sample::new(now);
                sample.set(Metric::Cpu, 50.0);
                Some(sample)
            };
            let mut end = None;
            let interval = Duration::from_millis(500);
            let offset = Duration::from_millis((at % 50) as u64 * 10);
            session
                .run(interval, offset, sample, |seen| match seen {
                    Seen::Accepted(_) => {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    Seen::Applied(_) => {}
                    Seen::Ended(code) => end = code,
                })
                .await;
            (end, session)
        });
    }
    assert_eq!(world.ingest.live_agents_count(), AGENTS);
    let first = world.offer().await;
    eventually("everybody runs it", || world.running(first) == AGENTS).await;
    eventually("everybody was heard", || {
        let seen = world.ingest.window(world.deployment.id, |window| window.instances().count());
        accepted.load(Ordering::Relaxed) >= 2 * AGENTS && seen == Some(AGENTS)
    })
    .await;

    world.set("GREETING", "all").await;
    let second = world.offer().await;
    eventually("everybody runs the new one", || world.running(second) == AGENTS).await;

    let stats = world.ingest.stats();
    assert!(stats.count(Count::OffersSealed) <= 2 * AGENTS as u64, "once each");
    assert_eq!(stats.count(Count::DuplicateBatches), 0);
    assert_eq!(stats.rejected(Reject::OverBudget), 0);
    soon("the drain", world.ingest.drain(PATIENCE)).await;
    let mut ended = 0;
    while let Some(session) = soon("the agents end", running.join_next()).await {
        let (_, session) = session.unwrap();
        session.close();
        ended += 1;
    }
    assert_eq!(ended, AGENTS);
    assert_eq!(world.ingest.live_agents_count(), 0);
}

#[tokio::test]
async fn a_drain_tells_agents_and_lets_nobody_in() {
    let world = World::new().await;
    let agent = world.enroll().await;
    let (_, session) = world.connect_new().await;
    soon("the drain", world.ingest.drain(Duration::from_secs(5))).await;
    assert_eq!(soon("the end", session.closed()).await, Some(CloseCode::Drain));
    assert!(soon("an answer", world.fleet.connect(&agent, ConfigStatus::default())).await.is_err());
    assert_eq!(world.ingest.live_agents_count(), 0);
}
