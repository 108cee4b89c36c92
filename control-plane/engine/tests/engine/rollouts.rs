use std::time::Duration;

use outrigger_catalog::Page;
use outrigger_catalog::model::{DeploymentSpec, EventKind, RolloutState};
use outrigger_drivers::DryRunDriver;
use outrigger_engine::EngineError;
use outrigger_ingest::test_support::{Fleet, TestSession};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_rollout::{Command, Reach, Rest, Settings, Strategy};

use crate::fleet::{FAILING, REFUSED, SICK, VERDICT};
use crate::world::{World, eventually};

const HOUR: Duration = Duration::from_secs(3_600);

/// One of four first, and the rest only when somebody says so.
pub(crate) fn canary(spec: &mut DeploymentSpec) {
    spec.initial_replicas = 4;
    let strategy = Strategy::Canary { percent: 25.0, bake: HOUR, rest: Rest::AtOnce };
    spec.rollout = Settings { min_ready: Duration::ZERO, final_bake: Duration::ZERO, ..Settings::new(strategy) };
}

impl World {
    /// The value that programs get, as far as the environment itself says it.
    pub(crate) async fn value(&self, id: DeploymentId, key: &str) -> Option<String> {
        let environment = self.read(id).await.spec.environment;
        let (_, plaintext) = self.catalog.effective(self.actor.organization, environment).await.expect("it is there");
        let entry = plaintext.entries.into_iter().find(|entry| entry.name == key)?;
        entry.value.map(|value| value.as_str().to_owned())
    }

    pub(crate) async fn publish(&self, id: DeploymentId, key: &str, value: &str) -> u64 {
        let environment = self.read(id).await.spec.environment;
        self.set(environment, key, Some(value), false).await
    }

    pub(crate) async fn command(&self, id: DeploymentId, command: Command) -> Result<RolloutState, EngineError> {
        let rollout = self.rollout(id).await.id;
        let view = self.engine.command_rollout(&self.actor, rollout, command).await?;
        Ok(view.rollout.state)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_variable_reaches_every_instance_and_is_told_once() {
    let world = World::new().await;
    let id = world.running(|spec| spec.initial_replicas = 3).await;
    let generation = world.publish(id, "GREETING", "good evening").await;
    let running = format!("config generation {generation} running on 3 of 3");
    eventually(&running, async || world.events(id).await.iter().any(|event| event.message == running)).await;
    let view = world.engine.status(&world.actor, id).await.expect("it is there");
    assert_eq!(view.rollout.map(|view| (view.rollout.generation, view.rollout.tally.running)), Some((generation, 3)));
    let runs = |one: &outrigger_engine::InstanceView| {
        one.live.as_ref().and_then(|live| live.config.running).is_some_and(|config| config.generation == generation)
    };
    assert!(view.instances.iter().all(runs));

    let view = world.engine.push_config(&world.actor, id).await.expect("it runs");
    assert_eq!((view.rollout.generation, view.rollout.tally.running, view.failed.len()), (generation, 3, 0));
    let told = world.events(id).await;
    let pushed = told.iter().filter(|event| event.kind == EventKind::ConfigPushed { generation }).count();
    assert_eq!(pushed, 1, "a push by hand finds nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_another_environment_is_nobody_elses_business() {
    let world = World::new().await;
    let id = world.running(|_| {}).await;
    let elsewhere = {
        let spec = world.read(id).await.spec;
        let new = outrigger_catalog::NewEnvironment {
            project: spec.project,
            stage: outrigger_catalog::model::Stage::Staging,
            name: "other".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        world.catalog.create_environment(&world.actor, new).await.expect("an environment").id
    };
    world.set(elsewhere, "GREETING", Some("psst"), false).await;
    // A change of its own, to know that the other one would have been told by now.
    let generation = world.publish(id, "GREETING", "good evening").await;
    eventually("its own push", async || {
        world.events(id).await.iter().any(|event| event.kind == EventKind::ConfigPushed { generation })
    })
    .await;
    let pushes =
        world.events(id).await.into_iter().filter(|event| matches!(event.kind, EventKind::ConfigPushed { .. }));
    assert_eq!(pushes.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_in_the_canary_goes_back_by_itself_and_touches_nobody_else() {
    for verdict in [REFUSED, SICK] {
        let world = World::new().await;
        let id = world.running(canary).await;
        eventually("all four", async || world.rollout(id).await.tally.running == 4).await;
        let good = world.publish(id, "GREETING", "before").await;
        world.rolls(id, good, RolloutState::Progressing).await;
        eventually("the canary runs it", async || world.rollout(id).await.tally.running == 1).await;
        world.command(id, Command::Promote(Reach::All)).await.expect("it bakes");
        world.rolls(id, good, RolloutState::Completed).await;

        let bad = world.publish(id, VERDICT, verdict).await;
        let rollout = world.rolls(id, bad, RolloutState::RolledBack).await;
        assert_eq!((rollout.from, rollout.restored_as), (Some(good), Some(bad + 1)), "{rollout:?}");
        let touched = world.fleet.offered(bad);
        assert_eq!(touched.len(), 1, "a quarter of four");
        let canary = touched.first().expect("there is one").to_string();
        let reason = rollout.reason.expect("it says why");
        assert!(reason.contains(&canary), "{reason}");
        assert!(reason.contains(if verdict == SICK { "probe `http` failed 5 times" } else { "refused" }), "{reason}");
        assert_eq!(world.value(id, VERDICT).await, None);
        assert_eq!(world.value(id, "GREETING").await.as_deref(), Some("before"));
        let told = world.events(id).await;
        let went_back = EventKind::ConfigRolledBack { generation: bad, restored: bad + 1 };
        assert!(told.iter().any(|event| event.kind == went_back && event.message.contains(&reason)), "{told:?}");
        let running = format!("config generation {} running on 4 of 4", bad + 1);
        assert!(told.iter().any(|event| event.message == running), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_answers_with_more_errors_than_the_others_goes_back() {
    let world = World::new().await;
    let id = world
        .running(|spec| {
            canary(spec);
            spec.sample_interval = Duration::from_millis(100);
            spec.rollout.gates.warm_up = Duration::ZERO;
        })
        .await;
    eventually("all four", async || world.rollout(id).await.tally.running == 4).await;
    let bad = world.publish(id, VERDICT, FAILING).await;
    let rollout = world.rolls(id, bad, RolloutState::RolledBack).await;
    let reason = rollout.reason.expect("it says why");
    assert!(reason.starts_with("error rate ") && reason.contains("of the old cohort"), "{reason}");
    let touched = world.fleet.offered(bad);
    assert_eq!(touched.len(), 1, "a quarter of four");
    assert!(reason.contains(&touched.first().expect("there is one").to_string()), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_configuration_that_fails_is_told_and_offered_to_whoever_comes() {
    let world = World::new().await;
    let deployment = world.deployment(|spec| spec.initial_replicas = 1).await;
    world.set(deployment.spec.environment, VERDICT, Some(REFUSED), false).await;
    let id = deployment.id;
    world.engine.start_deployment(&world.actor, id).await.expect("nothing is missing");
    let failed = async || world.events(id).await.iter().any(|one| matches!(one.kind, EventKind::ConfigFailed { .. }));
    eventually("the refusal to be told or seen", async || failed().await || world.rollout(id).await.tally.refused == 1)
        .await;
    let generation = world.publish(id, VERDICT, "good").await;
    eventually("the better one", async || {
        let rollout = world.rollout(id).await;
        rollout.generation == generation && rollout.tally.running == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_hold_up_go_on_and_go_back() {
    let world = World::new().await;
    let id = world.running(canary).await;
    eventually("all four", async || world.rollout(id).await.tally.running == 4).await;
    let first = world.publish(id, "GREETING", "one").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    let refused = world.command(id, Command::Resume).await.expect_err("it is not paused");
    assert!(matches!(&refused, EngineError::State { what } if what.contains("not paused")), "{refused}");
    assert_eq!(world.command(id, Command::Pause).await.expect("it progresses"), RolloutState::Paused);
    assert!(world.command(id, Command::Promote(Reach::Step)).await.is_err(), "it is paused");
    world.command(id, Command::Resume).await.expect("it is paused");
    world.command(id, Command::Abort).await.expect("it progresses");
    let rollout = world.rolls(id, first, RolloutState::RolledBack).await;
    assert_eq!(rollout.reason.as_deref(), Some(&*format!("aborted by {}", world.actor.subject)));
    assert_eq!(world.value(id, "GREETING").await.as_deref(), Some("hello"));
    assert!(world.command(id, Command::Abort).await.is_err(), "it has ended");

    let second = world.publish(id, "GREETING", "two").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    let third = world.publish(id, "GREETING", "three").await;
    world.rolls(id, third, RolloutState::Progressing).await;
    world.command(id, Command::Promote(Reach::Step)).await.expect("it progresses");
    world.rolls(id, third, RolloutState::Completed).await;
    let kept = world.catalog.rollouts(&world.actor, id, Page::default()).await.expect("it is there").items;
    let states: Vec<_> = kept.iter().map(|one| (one.generation, one.state)).collect();
    assert_eq!(
        states[..3],
        [(third, RolloutState::Completed), (second, RolloutState::Superseded), (first, RolloutState::RolledBack)]
    );
    let audited = world.catalog.audit(&world.actor, outrigger_catalog::AuditQuery::default()).await;
    let details: Vec<String> = audited.expect("it is there").items.into_iter().map(|entry| entry.detail).collect();
    for what in ["pause", "resume", "abort", "promote"] {
        assert!(details.iter().any(|detail| detail.contains(what)), "{what}: {details:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_scaled_away_in_the_middle_of_it_is_no_failure() {
    let world = World::new().await;
    let id = world.running(canary).await;
    eventually("all four", async || world.rollout(id).await.tally.running == 4).await;
    let generation = world.publish(id, "GREETING", "one").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    world.engine.scale(&world.actor, id, 1, "less to do").await.expect("it runs");
    eventually("three to go", async || world.rollout(id).await.tally.total == 1).await;
    world.command(id, Command::Promote(Reach::All)).await.expect("it progresses");
    let rollout = world.rolls(id, generation, RolloutState::Completed).await;
    assert_eq!(rollout.tally.running, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_one_deployment_is_a_new_generation_for_all_that_share_the_environment() {
    let world = World::new().await;
    let id = world.running(canary).await;
    let environment = world.read(id).await.spec.environment;
    let other = world.deployment_in(environment, |spec| spec.name = "worker".to_owned()).await.id;
    world.engine.start_deployment(&world.actor, other).await.expect("nothing is missing");
    eventually("both", async || {
        world.rollout(id).await.tally.running == 4 && world.rollout(other).await.tally.running == 1
    })
    .await;
    let bad = world.publish(id, VERDICT, SICK).await;
    world.rolls(id, bad, RolloutState::RolledBack).await;
    eventually("the other one to have what was restored", async || {
        let rollout = world.rollout(other).await;
        let newest = rollout.restored_as.unwrap_or(rollout.generation);
        newest > bad && rollout.tally.running == 1
    })
    .await;
}

/// Runs what it is offered next.
async fn serve(session: &mut TestSession) -> u64 {
    let offer = session.next_offer().await.expect("an offer");
    session.apply(&offer).await.expect("a connection");
    session.say(&AgentMessage::Program(ProgramState::Running { pid: 1, restarts: 0 })).await.expect("a connection");
    offer.config.generation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_goes_on_where_the_control_plane_was_killed() {
    let world = World::new().await;
    let id = world
        .running(|spec| {
            canary(spec);
            spec.driver = DryRunDriver::NAME.to_owned();
            spec.initial_replicas = 1;
        })
        .await;
    let mut agents = Vec::new();
    for _ in 0..4 {
        let (fleet, agent) = world.join(id).await;
        let mut session = fleet.connect(&agent, ConfigStatus::default()).await.expect("it is let in");
        serve(&mut session).await;
        agents.push((fleet, agent, session));
    }
    eventually("all four", async || world.rollout(id).await.tally.running == 4).await;
    let generation = world.publish(id, "GREETING", "one").await;
    eventually("the canary was offered it", async || world.rollout(id).await.tally.touched == 1).await;
    let rollout = world.rollout(id).await.id;

    let world = World::over(world.die().await).await;
    let mut canaries = 0;
    let mut sessions: Vec<(Fleet, TestSession)> = Vec::new();
    for (_, mut agent, before) in agents {
        agent.epoch += 1;
        let fleet = world.network();
        let session = fleet.connect(&agent, before.status.clone()).await.expect("it is let in");
        sessions.push((fleet, session));
    }
    eventually("all to be back", async || world.rollout(id).await.tally.total == 4).await;
    let at_most = Duration::from_millis(500);
    for (_, session) in &mut sessions {
        // The one that was offered it is offered it again, and nobody else.
        if let Ok(served) = tokio::time::timeout(at_most, serve(session)).await {
            assert_eq!(served, generation);
            canaries += 1;
        }
    }
    assert_eq!(canaries, 1);
    let goes_on = world.rollout(id).await;
    assert_eq!((goes_on.id, goes_on.state), (rollout, RolloutState::Progressing));
    world.command(id, Command::Promote(Reach::All)).await.expect("it progresses");
    // In whatever order their turns come.
    let mut serving = tokio::task::JoinSet::new();
    for (fleet, mut session) in sessions {
        serving.spawn(async move {
            if session.status.running.is_none_or(|running| running.generation != generation) {
                assert_eq!(serve(&mut session).await, generation);
            }
            (fleet, session)
        });
    }
    let served = tokio::time::timeout(Duration::from_secs(30), serving.join_all()).await.expect("the others follow");
    assert_eq!(served.len(), 4);
    world.rolls(id, generation, RolloutState::Completed).await;
}
