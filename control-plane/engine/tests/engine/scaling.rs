use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_catalog::model::PolicyMode;
use outrigger_engine::News;
use outrigger_policy_host::json::input_from_json;
use outrigger_scaling::{GuardOutcome, Verdict};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_brings_replicas_and_its_end_takes_them_back() {
    let world = World::new().await;
    let binding = world.threshold(PolicyMode::Active).await;
    let mut news = world.engine.subscribe();
    let id = world.running(|spec| spec.policies = vec![binding]).await;
    world.fleet.load.store(100, Ordering::Relaxed);
    eventually("three replicas", async || world.fleet.running().len() >= 3).await;
    let up = world.decisions(id).await.into_iter().find(|one| one.from_replicas == 1 && one.to_replicas == 3);
    let up = up.expect("a decision from one to three");
    assert_eq!(up.verdict, Verdict::Approve { target: 3 });
    assert!(up.reason.starts_with("load: "), "{}", up.reason);
    assert!(up.reaction.is_some_and(|reaction| reaction < Duration::from_secs(2)), "{:?}", up.reaction);
    assert!(up.guards.len() == 6 && up.guards.iter().all(|report| report.outcome == GuardOutcome::Passed));
    let proposal = up.proposals[0].outcome.as_ref().expect("a proposal");
    assert_eq!((proposal.desired, up.proposals[0].shadow), (3, false));
    let inputs: serde_json::Value = serde_json::from_str(&up.input).expect("JSON");
    let input = input_from_json(&inputs["load"].to_string()).expect("what the policy was given");
    assert_eq!((input.deployment.replicas, input.series[0].name.as_str()), (1, "requests"));

    world.fleet.load.store(0, Ordering::Relaxed);
    eventually("one replica", async || world.fleet.running().len() == 1).await;
    let told: Vec<String> = world.events(id).await.into_iter().map(|event| event.message).collect();
    assert!(told.iter().any(|line| line.starts_with("scaled up 1 -> 3: load: ")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("scaled down ")), "{told:?}");
    let mut decisions = 0;
    while let Ok(one) = news.try_recv() {
        decisions += usize::from(matches!(one, News::Decision(decision) if decision.id == up.id));
    }
    assert_eq!(decisions, 1, "it was told as it happened");
    assert!(world.engine.stats().timing(outrigger_engine::Timing::SampleToCall).count() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_policy_is_recorded_and_never_acted_on() {
    let world = World::new().await;
    let binding = world.threshold(PolicyMode::Shadow).await;
    world.fleet.load.store(100, Ordering::Relaxed);
    let id = world.running(|spec| spec.policies = vec![binding]).await;
    eventually("the shadow's opinion", async || {
        let wants_more = |desired: u32| desired == 3;
        world.decisions(id).await.iter().any(|decision| {
            decision.verdict == Verdict::Hold
                && decision
                    .proposals
                    .iter()
                    .any(|one| one.shadow && one.outcome.as_ref().is_ok_and(|proposal| wants_more(proposal.desired)))
        })
    })
    .await;
    assert_eq!((world.read(id).await.desired_replicas, world.fleet.running().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_holds_whatever_the_load_was() {
    let world = World::new().await;
    let binding = world.threshold(PolicyMode::Active).await;
    world.fleet.load.store(30, Ordering::Relaxed);
    let id = world
        .running(|spec| {
            (spec.policies, spec.initial_replicas) = (vec![binding], 3);
            spec.guards.freshness = Duration::from_millis(100);
            // Two samples' time is fresh at least.
            spec.sample_interval = Duration::from_millis(200);
        })
        .await;
    world.fleet.silent.store(true, Ordering::Relaxed);
    let looks = || world.engine.stats().count("decisions_held").unwrap_or_default();
    eventually("many looks", async || looks() > 20).await;
    assert_eq!(world.read(id).await.desired_replicas, 3);
    let decisions = world.decisions(id).await;
    assert!(decisions.len() < 10, "holds that repeat each other are not written down: {}", decisions.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_keeps_its_size_until_it_is_resumed() {
    let world = World::new().await;
    let binding = world.threshold(PolicyMode::Active).await;
    let id = world.running(|spec| spec.policies = vec![binding]).await;
    world.engine.pause(&world.actor, id).await.expect("it is there");
    world.fleet.load.store(100, Ordering::Relaxed);
    eventually("a hold because of the pause", async || {
        world.decisions(id).await.iter().any(|decision| decision.reason.contains("paused"))
    })
    .await;
    assert_eq!(world.read(id).await.desired_replicas, 1);
    world.engine.resume(&world.actor, id).await.expect("it is there");
    eventually("three replicas", async || world.fleet.running().len() >= 3).await;
}
