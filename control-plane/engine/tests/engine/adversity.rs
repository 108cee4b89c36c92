//! Rollouts while nothing can be written down, while two decide at once, and over restarts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_catalog::Page;
use outrigger_catalog::model::{DeploymentSpec, DeploymentStatus, EventKind, RolloutState};
use outrigger_protocol::id::DeploymentId;
use outrigger_rollout::{Command, Reach, Settings, Strategy};

use crate::fleet::{SICK, VERDICT};
use crate::rollouts::canary;
use crate::world::{World, eventually};

impl World {
    /// Four instances that run the newest configuration.
    async fn four(&self, adjust: impl FnOnce(&mut DeploymentSpec)) -> DeploymentId {
        let id = self
            .running(|spec| {
                canary(spec);
                adjust(spec);
            })
            .await;
        eventually("all four", async || self.rollout(id).await.tally.running == 4).await;
        id
    }

    fn fill_disk(&self) {
        self.store.full_for_rollouts.store(true, Ordering::SeqCst);
    }

    fn make_room(&self) {
        self.store.full_for_rollouts.store(false, Ordering::SeqCst);
    }

    async fn refuses_again(&self) {
        let before = self.store.refused.load(Ordering::SeqCst);
        eventually("a refusal", async || self.store.refused.load(Ordering::SeqCst) > before).await;
    }

    /// Newest first.
    async fn history(&self, id: DeploymentId) -> Vec<(u64, RolloutState)> {
        let kept = self.catalog.rollouts(&self.actor, id, Page::default()).await.expect("it is there").items;
        kept.iter().map(|one| (one.generation, one.state)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_down_is_not_done_and_is_done_when_it_can() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    world.fill_disk();
    let generation = world.publish(id, "GREETING", "one").await;
    world.refuses_again().await;
    world.refuses_again().await;
    assert!(world.fleet.offered(generation).is_empty(), "nobody would know of it after a restart");
    world.make_room();
    world.rolls(id, generation, RolloutState::Progressing).await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;

    world.fill_disk();
    assert!(world.command(id, Command::Pause).await.is_err(), "it is not written down who that was");
    assert_eq!(world.rollout(id).await.state, RolloutState::Progressing);
    world.make_room();
    assert_eq!(world.command(id, Command::Pause).await.expect("there is room"), RolloutState::Paused);
    assert_eq!(world.rollout(id).await.state, RolloutState::Paused, "who has decided reads what they decided");
    world.command(id, Command::Resume).await.expect("it is paused");
    world.command(id, Command::Promote(Reach::All)).await.expect("it progresses");
    world.rolls(id, generation, RolloutState::Completed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_superseded_while_nothing_could_be_written_down_does_not_go_on_for_ever() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let first = world.publish(id, "GREETING", "one").await;
    world.rolls(id, first, RolloutState::Progressing).await;
    world.fill_disk();
    world.publish(id, "GREETING", "two").await;
    world.refuses_again().await;
    let third = world.publish(id, "GREETING", "three").await;
    world.refuses_again().await;
    world.refuses_again().await;
    world.make_room();
    world.rolls(id, third, RolloutState::Progressing).await;
    eventually("both to be told apart", async || {
        world.history(id).await[..2] == [(third, RolloutState::Progressing), (first, RolloutState::Superseded)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_is_stopped_while_nothing_can_be_written_down_leaves_no_rollout_open() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let first = world.publish(id, "GREETING", "one").await;
    world.rolls(id, first, RolloutState::Progressing).await;
    world.fill_disk();
    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    world.reaches(id, DeploymentStatus::Stopped).await;
    world.engine.start_deployment(&world.actor, id).await.expect("it is stopped");
    world.refuses_again().await;
    world.make_room();
    world.reaches(id, DeploymentStatus::Running).await;
    eventually("the old one to be closed", async || {
        let history = world.history(id).await;
        history[..2] == [(first, RolloutState::Completed), (first, RolloutState::Failed)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_rolled_out_also_when_nobody_could_read_whom_it_concerns() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    world.store.forgets_who_runs.store(true, Ordering::SeqCst);
    let generation = world.publish(id, "GREETING", "one").await;
    world.rolls(id, generation, RolloutState::Progressing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_was_left_off_does_not_come_back_with_the_control_plane() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let first = world.publish(id, "GREETING", "one").await;
    world.rolls(id, first, RolloutState::Progressing).await;
    world.engine.stop_deployment(&world.actor, id).await.expect("it runs");
    world.reaches(id, DeploymentStatus::Stopped).await;
    eventually("it to be closed", async || world.history(id).await[0] == (first, RolloutState::Failed)).await;
    let remains = world.die().await;
    // Started, and killed before anything could follow from it.
    remains
        .with_catalog(async |catalog, actor| drop(catalog.begin_deployment(actor, id).await.expect("it stands")))
        .await;
    let world = World::over(remains).await;
    world.reaches(id, DeploymentStatus::Running).await;
    eventually("a rollout of its own", async || {
        let history = world.history(id).await;
        history[..2] == [(first, RolloutState::Completed), (first, RolloutState::Failed)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_deployments_that_fail_with_one_generation_publish_one_rollback() {
    let world = World::new().await;
    let web = world.four(|_| {}).await;
    let environment = world.read(web).await.spec.environment;
    let other = |spec: &mut DeploymentSpec| {
        canary(spec);
        spec.name = "worker".to_owned();
    };
    let worker = world.deployment_in(environment, other).await.id;
    world.engine.start_deployment(&world.actor, worker).await.expect("nothing is missing");
    eventually("all of the other", async || world.rollout(worker).await.tally.running == 4).await;
    let bad = world.publish(web, VERDICT, SICK).await;
    for id in [web, worker] {
        eventually("the old content", async || {
            let rollout = world.rollout(id).await;
            let newest = rollout.restored_as.unwrap_or(rollout.generation);
            newest == bad + 1 && rollout.ended_at.is_some() && rollout.tally.running == 4
        })
        .await;
    }
    let newest = world.catalog.environment(&world.actor, environment).await.expect("it is there").generation;
    assert_eq!(newest, bad + 1, "gone back once");
    assert!(world.fleet.offered(bad).len() <= 2, "a quarter of four of each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_publishes_during_a_rollback_wins() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    for round in 0..4 {
        let bad = world.publish(id, VERDICT, SICK).await;
        eventually("the canary", async || !world.fleet.offered(bad).is_empty()).await;
        let mended = world.publish(id, VERDICT, &format!("mended {round}")).await;
        eventually("the mended one", async || world.rollout(id).await.generation == mended).await;
        // It may be all there is to do, or wait for its bake time.
        let _ = world.command(id, Command::Promote(Reach::All)).await;
        let rollout = world.rolls(id, mended, RolloutState::Completed).await;
        assert_eq!(rollout.tally.running, 4, "{rollout:?}");
        let open = world.history(id).await.into_iter().filter(|(_, state)| *state == RolloutState::Progressing);
        assert_eq!(open.count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_goes_to_one_and_back_keeps_to_its_share() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let generation = world.publish(id, "GREETING", "one").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    for size in [1, 4, 1, 4] {
        world.engine.scale(&world.actor, id, size, "").await.expect("it runs");
        eventually("the size", async || {
            let tally = world.rollout(id).await.tally;
            tally.total == size && tally.pending == 0 && tally.unhealthy == 0
        })
        .await;
    }
    assert!(world.fleet.offered(generation).len() <= 3, "a quarter of the ten that there ever were, rounded up");
    assert_eq!(world.rollout(id).await.state, RolloutState::Progressing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_is_lost_is_held_against_the_generation() {
    let world = World::new().await;
    let id = world.four(|spec| spec.rollout.answer_timeout = Duration::from_secs(1)).await;
    let generation = world.publish(id, "GREETING", "one").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    let canary = world.fleet.offered(generation).into_iter().next().expect("there is one");
    world.fleet.kill(canary);
    let rollout = world.rolls(id, generation, RolloutState::RolledBack).await;
    let reason = rollout.reason.expect("it says why");
    assert!(reason.contains(&canary.to_string()), "{reason}");
    eventually("all four again", async || world.rollout(id).await.tally.running == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_could_not_be_published_says_why_and_is_published_once_after_a_restart() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let bad = world.publish(id, "GREETING", "bad").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    world.store.full_for_generations.store(true, Ordering::SeqCst);
    assert_eq!(world.command(id, Command::Abort).await.expect("it progresses"), RolloutState::RollingBack);
    let kept = async || world.catalog.rollout(&world.actor, world.rollout(id).await.id).await.expect("it is kept");
    let says_why = |message: &str| message.contains("the storage is full");
    eventually("the reason", async || kept().await.timeline.iter().any(|entry| says_why(&entry.message))).await;
    let before = world.rollout(id).await.id;

    let world = World::over(world.die().await).await;
    let rollout = world.rolls(id, bad, RolloutState::RolledBack).await;
    assert_eq!((rollout.id, rollout.restored_as), (before, Some(bad + 1)));
    let environment = world.read(id).await.spec.environment;
    let newest = world.catalog.environment(&world.actor, environment).await.expect("it is there").generation;
    assert_eq!(newest, bad + 1);
    assert_eq!(world.value(id, "GREETING").await.as_deref(), Some("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_was_published_and_not_noted_is_not_published_again() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let bad = world.publish(id, "GREETING", "bad").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    world.store.full_for_generations.store(true, Ordering::SeqCst);
    world.command(id, Command::Abort).await.expect("it progresses");
    let (from, environment) =
        (world.rollout(id).await.from.expect("there is one"), world.read(id).await.spec.environment);
    let remains = world.die().await;
    remains
        .with_catalog(async |catalog, actor| {
            let restored = catalog.restore_generation(actor.organization, environment, bad, from, "rollback").await;
            restored.expect("nothing newer is there");
        })
        .await;
    let world = World::over(remains).await;
    let rollout = world.rolls(id, bad, RolloutState::RolledBack).await;
    assert_eq!(rollout.restored_as, Some(bad + 1));
    let newest = world.catalog.environment(&world.actor, environment).await.expect("it is there").generation;
    assert_eq!(newest, bad + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_everybody_runs_it_is_told_once_over_a_restart() {
    let world = World::new().await;
    let at_once = |spec: &mut DeploymentSpec| spec.rollout = Settings::new(Strategy::AllAtOnce);
    let id = world.four(at_once).await;
    let generation = world.publish(id, "GREETING", "one").await;
    let told = async |world: &World| {
        let events = world.events(id).await;
        events.iter().filter(|one| one.kind == EventKind::ConfigRunning { generation, instances: 4 }).count()
    };
    eventually("it to be told", async || told(&world).await == 1).await;
    let world = World::over(world.die().await).await;
    eventually("the worker to be back", async || world.command(id, Command::Promote(Reach::All)).await.is_ok()).await;
    world.rolls(id, generation, RolloutState::Completed).await;
    assert_eq!(told(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_or_has_ended_stays_so_over_a_restart() {
    let world = World::new().await;
    let id = world.four(|_| {}).await;
    let first = world.publish(id, "GREETING", "one").await;
    eventually("the canary", async || world.rollout(id).await.tally.running == 1).await;
    world.command(id, Command::Pause).await.expect("it progresses");
    let before = world.rollout(id).await.id;
    let world = World::over(world.die().await).await;
    let rollout = world.rolls(id, first, RolloutState::Paused).await;
    assert_eq!((rollout.id, rollout.paused_by.is_some()), (before, true));
    eventually("the worker to be back", async || world.command(id, Command::Resume).await.is_ok()).await;
    world.command(id, Command::Abort).await.expect("it progresses");
    let rollout = world.rolls(id, first, RolloutState::RolledBack).await;
    let world = World::over(world.die().await).await;
    world.rolls(id, first, RolloutState::RolledBack).await;
    assert!(world.command(id, Command::Abort).await.is_err(), "it has ended");
    let after = world.rollout(id).await;
    assert_eq!((after.id, after.ended_at, after.restored_as), (rollout.id, rollout.ended_at, rollout.restored_as));
}
