//! Rollouts as they are kept, and generations that go back to what was.

use std::slice;
use std::time::Duration;

use outrigger_catalog::model::{
    Actor, AuditAction, Deployment, Environment, EventKind, Risk, Role, Rollout, RolloutState, Stage, VariableChange,
};
use outrigger_catalog::{
    At, CatalogError, EnvironmentUpdate, GENERATIONS_KEPT, NewEnvironment, Page, ROLLOUTS_KEPT, Restored, SaveRollout,
    Side,
};
use outrigger_protocol::id::{EnvironmentId, InstanceId, RolloutId};
use outrigger_protocol::message::{ConfigRef, ConfigStatus, ProgramState};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Arrival, Launch, Rollout as Machine, Settings, Snapshot, Strategy, Tally};

use crate::retention::registered;
use crate::world::{World, assert_error, delete, environment_of, owner, plain, secret, spec, with_key, with_role};

fn canary() -> Settings {
    let rest = outrigger_rollout::Rest::AtOnce;
    Settings::new(Strategy::Canary { percent: 10.0, bake: Duration::from_secs(60), rest })
}

const fn config(generation: u64) -> ConfigRef {
    ConfigRef { generation, hash: [7; 32] }
}

/// What a rollout of generation 2 knows that has just begun with `n` instances.
fn snapshot(n: usize) -> Snapshot {
    let launch = Launch { target: config(2), plan: canary().compile().unwrap(), seed: 7, baseline: None };
    let arrivals = (0..n).map(|_| Arrival {
        instance: InstanceId::generate(),
        status: ConfigStatus::default(),
        program: ProgramState::Waiting,
    });
    Machine::start(launch, None, arrivals, UnixMillis::from_millis(1)).unwrap().0.snapshot()
}

fn rollout(world: &World, deployment: &Deployment, number: u64) -> Rollout {
    Rollout {
        id: RolloutId::new(world.now().saturating_add(Duration::from_secs(number)), [7; 10]),
        organization: deployment.organization,
        project: deployment.spec.project,
        deployment: deployment.id,
        environment: deployment.spec.environment,
        generation: number,
        from: number.checked_sub(1),
        strategy: "canary".to_owned(),
        state: RolloutState::Progressing,
        reason: None,
        step: 1,
        steps: 2,
        share: 10.0,
        tally: Tally::default(),
        restored_as: None,
        overridden_by: None,
        paused_by: None,
        started_at: world.now(),
        ended_at: None,
        timeline: Vec::new(),
    }
}

async fn stored(world: &World, deployment: &Deployment) -> Option<(Rollout, Snapshot)> {
    world.catalog.stored_rollout(deployment.organization, deployment.id).await.unwrap()
}

const fn save<'a>(rollout: &'a Rollout, snapshot: &'a Snapshot) -> SaveRollout<'a> {
    SaveRollout { rollout, snapshot, superseded: None, events: &[], by: None }
}

#[tokio::test]
async fn a_rollout_is_kept_with_its_state_and_its_events() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let catalog = &world.catalog;
    assert_eq!(stored(&world, &deployment).await, None);

    let mut first = rollout(&world, &deployment, 2);
    let state = snapshot(3);
    let events = [world.event(&deployment, EventKind::ConfigPushed { generation: 2 })];
    catalog.save_rollout(SaveRollout { events: &events, ..save(&first, &state) }).await.unwrap();
    assert_eq!(stored(&world, &deployment).await, Some((first.clone(), state.clone())));
    assert_eq!(catalog.rollout(&with_role(&actor, Role::Viewer), first.id).await.unwrap(), first);
    let told = catalog.events(&actor, deployment.id, Page::default()).await.unwrap().items;
    assert_eq!(told, events);
    let audited = catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert!(audited.iter().all(|entry| entry.action != AuditAction::Rollout), "nobody did anything");

    // Over several chunks, and then back to one.
    first.note(world.now(), "something happened".to_owned());
    let large = snapshot(5_000);
    catalog.save_rollout(save(&first, &large)).await.unwrap();
    assert_eq!(stored(&world, &deployment).await, Some((first.clone(), large)));
    catalog.save_rollout(save(&first, &state)).await.unwrap();
    assert_eq!(stored(&world, &deployment).await, Some((first.clone(), state)));

    let second = rollout(&world, &deployment, 3);
    first.state = RolloutState::Superseded;
    let state = snapshot(1);
    catalog.save_rollout(SaveRollout { superseded: Some(&first), ..save(&second, &state) }).await.unwrap();
    assert_eq!(stored(&world, &deployment).await, Some((second.clone(), state)));
    let listed = catalog.rollouts(&actor, deployment.id, Page::default()).await.unwrap();
    assert_eq!((listed.items, listed.next), (vec![second, first], None));
}

#[tokio::test]
async fn what_a_person_does_to_a_rollout_is_audited_and_takes_the_right() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let (rollout, state) = (rollout(&world, &deployment, 2), snapshot(1));
    let by = |actor| SaveRollout { by: Some((actor, "aborted".to_owned())), ..save(&rollout, &state) };
    let viewer = with_role(&actor, Role::Viewer);
    assert_error!(world.catalog.save_rollout(by(&viewer)).await, CatalogError::Forbidden { need: Role::Developer });
    let stranger = owner();
    assert_error!(world.catalog.save_rollout(by(&stranger)).await, CatalogError::NotFound { .. });
    // What is written is how things are: a repeated key does not keep it from being written.
    let keyed = with_key(&actor, "once", 1);
    world.catalog.save_rollout(by(&keyed)).await.unwrap();
    world.catalog.save_rollout(by(&keyed)).await.unwrap();
    let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let told: Vec<_> = audited.iter().filter(|entry| entry.action == AuditAction::Rollout).collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].target.as_str(), told[0].detail.as_str()), (&*rollout.id.to_string(), "aborted"));
    assert_eq!((&told[0].actor, told[0].project), (&actor.subject.to_string(), Some(deployment.spec.project)));
}

#[tokio::test]
async fn the_newest_rollouts_are_kept_and_listed_in_pages() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let state = snapshot(0);
    let all: Vec<Rollout> = (1..=ROLLOUTS_KEPT as u64 + 3).map(|number| rollout(&world, &deployment, number)).collect();
    for one in &all {
        world.catalog.save_rollout(save(one, &state)).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let page = Page { limit: Some(40), cursor };
        let page = world.catalog.rollouts(&actor, deployment.id, page).await.unwrap();
        listed.extend(page.items.into_iter().map(|rollout| rollout.generation));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<u64> = (4..=ROLLOUTS_KEPT as u64 + 3).rev().collect();
    assert_eq!(listed, expected);
    let gone = world.catalog.rollout(&actor, all[2].id).await;
    assert_error!(gone, CatalogError::NotFound { what: "rollout" });
    assert_eq!(world.catalog.rollout(&actor, all[3].id).await.unwrap(), all[3]);
}

#[tokio::test]
async fn nothing_is_kept_of_a_deployment_that_is_destroyed_but_its_history_for_a_while() {
    let world = World::new().await;
    let actor = registered(&world).await;
    let deployment = world.deployment(&actor).await;
    let (rollout, state) = (rollout(&world, &deployment, 2), snapshot(1));
    world.catalog.save_rollout(save(&rollout, &state)).await.unwrap();
    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
    assert_eq!(stored(&world, &deployment).await, None);
    assert_error!(
        world.catalog.save_rollout(save(&rollout, &state)).await,
        CatalogError::NotFound { what: "deployment" }
    );
    assert_eq!(world.catalog.rollout(&actor, rollout.id).await.unwrap(), rollout);
    let page = Page::default();
    assert_eq!(
        world.catalog.rollouts(&actor, deployment.id, page.clone()).await.unwrap().items,
        slice::from_ref(&rollout)
    );
    world.pass(Duration::from_secs(31 * 24 * 60 * 60));
    world.catalog.sweep().await.unwrap();
    assert_error!(world.catalog.rollout(&actor, rollout.id).await, CatalogError::NotFound { .. });
    assert_error!(world.catalog.rollouts(&actor, deployment.id, page).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn another_tenants_rollouts_are_not_there() {
    let world = World::new().await;
    let (actor, stranger) = (owner(), owner());
    let deployment = world.deployment(&actor).await;
    let (rollout, state) = (rollout(&world, &deployment, 2), snapshot(1));
    world.catalog.save_rollout(save(&rollout, &state)).await.unwrap();
    assert_error!(world.catalog.rollout(&stranger, rollout.id).await, CatalogError::NotFound { .. });
    let listed = world.catalog.rollouts(&stranger, deployment.id, Page::default()).await;
    assert_error!(listed, CatalogError::NotFound { .. });
    let foreign = Rollout { organization: stranger.organization, ..rollout.clone() };
    let saved = world.catalog.save_rollout(SaveRollout { superseded: Some(&foreign), ..save(&rollout, &state) }).await;
    assert_error!(saved, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn settings_that_are_wrong_are_told_by_their_paths() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let mut spec = spec(&project, &environment);
    spec.rollout = canary();
    let deployment = world.catalog.create_deployment(&actor, spec.clone()).await.unwrap();
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap().spec.rollout, canary());
    spec.rollout = Settings { strategy: Strategy::Linear { percent: 0.0, interval: Duration::ZERO }, ..canary() };
    spec.rollout.gates.restarts = 0;
    let Err(CatalogError::Validation(problems)) = world.catalog.create_deployment(&actor, spec).await else {
        panic!("it is wrong twice");
    };
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["rollout.strategy.percent", "rollout.gates.restarts"]);
}

/// An environment that extends another and refers to a third.
struct Family {
    world: World,
    actor: Actor,
    base: Environment,
    shared: Environment,
    app: Environment,
}

impl Family {
    async fn new() -> Self {
        let (world, actor) = (World::new().await, owner());
        let project = world.project(&actor).await;
        let base = world.environment(&actor, &project).await;
        world.change(&actor, &base, vec![plain("HOST", "db"), secret("TOKEN", "hunter1")]).await;
        let shared = NewEnvironment { stage: Stage::Staging, ..environment_of(&project, "shared") };
        let shared = world.catalog.create_environment(&actor, shared).await.unwrap();
        world.change(&actor, &shared, vec![plain("PORT", "1")]).await;
        let app = NewEnvironment { extends: Some(base.id), ..environment_of(&project, "app") };
        let app = world.catalog.create_environment(&actor, app).await.unwrap();
        let family = Self { world, actor, base, shared, app };
        family.change(&family.app, vec![plain("URL", "${HOST}:${env:staging/shared/PORT}")]).await;
        family
    }

    async fn change(&self, environment: &Environment, changes: Vec<VariableChange>) -> u64 {
        self.world.change(&self.actor, environment, changes).await
    }

    async fn restore(&self, environment: EnvironmentId, from: u64, to: u64) -> Result<Restored, CatalogError> {
        self.world.catalog.restore_generation(self.actor.organization, environment, from, to, "p95 is worse").await
    }

    async fn generation(&self, environment: &Environment) -> u64 {
        self.world.catalog.environment(&self.actor, environment.id).await.unwrap().generation
    }

    /// The number of the newest generation and the value of `URL` that programs get, which every way to ask agrees on.
    async fn delivered(&self) -> (u64, String) {
        let (catalog, id) = (&self.world.catalog, self.app.id);
        let (generation, content) = catalog.effective(self.actor.organization, id).await.unwrap();
        assert_eq!(content.hash(), generation.content_hash);
        let at = catalog.effective_at(self.actor.organization, id, generation.number).await.unwrap();
        assert_eq!(at, (generation.clone(), content.clone()));
        let url = content.entries.iter().find(|entry| entry.name == "URL").and_then(|entry| entry.value.clone());
        let url = url.expect("it has one").as_str().to_owned();

        for now in [At::Now, At::Generation(generation.number), At::Time(self.world.now())] {
            let (read, variables) = catalog.effective_variables(&self.actor, id, now).await.unwrap();
            assert_eq!(read.number, generation.number);
            let shown = variables.iter().find(|variable| variable.key == "URL").unwrap();
            assert_eq!(shown.value.as_deref(), Some(url.as_str()));
        }
        let (_, exported) = catalog.export_variables(&self.actor, id, At::Now, true, true).await.unwrap();
        let exported = exported.iter().find(|variable| variable.name == "URL").unwrap();
        assert_eq!(exported.value.as_ref().map(|value| value.as_str()), Some(url.as_str()));
        (generation.number, url)
    }

    async fn hash(&self, number: u64) -> [u8; 32] {
        self.world.catalog.generation(&self.actor, self.app.id, number).await.unwrap().content_hash
    }
}

#[tokio::test]
async fn what_an_environment_wrote_itself_goes_back() {
    let family = Family::new().await;
    let (good, bad) = (2, family.change(&family.app, vec![plain("URL", "nowhere"), plain("OTHER", "x")]).await);
    assert_eq!(family.delivered().await, (bad, "nowhere".to_owned()));
    let Ok(Restored::Published(generation)) = family.restore(family.app.id, bad, good).await else {
        panic!("nothing came in between");
    };
    assert_eq!((generation.number, generation.message.as_str()), (bad + 1, "p95 is worse"));
    assert_eq!((generation.author.as_str(), generation.content_hash), ("system", family.hash(good).await));
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
    let audited = family.world.catalog.audit(&family.actor, Page::default()).await.unwrap().items;
    let told = audited.iter().find(|entry| entry.action == AuditAction::Rollback).unwrap();
    assert_eq!((told.actor.as_str(), told.target.as_str()), ("system", &*family.app.id.to_string()));
    assert!(told.detail.contains("from generation 3 to the whole content of generation 2"), "{}", told.detail);

    assert_eq!(family.restore(family.app.id, bad, good).await.unwrap(), Restored::Published(generation), "once");
    assert_eq!(family.generation(&family.app).await, 4);
    family.change(&family.app, vec![plain("URL", "elsewhere")]).await;
    assert_eq!(family.restore(family.app.id, bad, good).await.unwrap(), Restored::Overtaken);
    assert_eq!(family.delivered().await, (5, "elsewhere".to_owned()));
}

#[tokio::test]
async fn what_was_inherited_goes_back_although_the_base_stays_as_it_is() {
    let family = Family::new().await;
    family.change(&family.base, vec![plain("HOST", "broken"), secret("TOKEN", "hunter2")]).await;
    assert_eq!(family.delivered().await, (3, "broken:1".to_owned()));
    let Ok(Restored::Published(generation)) = family.restore(family.app.id, 3, 2).await else {
        panic!("nothing came in between");
    };
    assert_eq!((generation.number, generation.content_hash), (4, family.hash(2).await));
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
    assert_eq!(family.generation(&family.base).await, 2, "it is not the base's fault alone");

    // What is shown is what is delivered: of a comparison, and of where values come from.
    let (catalog, actor) = (&family.world.catalog, &family.actor);
    let side = |environment: &Environment, at| Side { environment: environment.id, at };
    let then = catalog.diff(actor, side(&family.app, At::Generation(2)), side(&family.app, At::Now), true).await;
    assert!(then.unwrap().is_empty());
    let base = catalog.diff(actor, side(&family.base, At::Now), side(&family.app, At::Now), true).await.unwrap();
    assert_eq!(base.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["HOST", "TOKEN", "URL"]);
    let (_, variables) = catalog.effective_variables(actor, family.app.id, At::Now).await.unwrap();
    let host = variables.iter().find(|variable| variable.key == "HOST").unwrap();
    assert_eq!((host.value.as_deref(), host.origin), (Some("db"), family.base.id));

    // Any change of what it is made of ends that.
    family.change(&family.base, vec![plain("LEVEL", "info")]).await;
    assert_eq!(family.delivered().await, (5, "broken:1".to_owned()));
    family.change(&family.base, vec![plain("HOST", "db")]).await;
    assert_eq!(family.delivered().await, (6, "db:1".to_owned()));
}

#[tokio::test]
async fn what_was_referred_to_goes_back_and_an_ordinary_change_ends_that() {
    let family = Family::new().await;
    family.change(&family.shared, vec![plain("PORT", "0")]).await;
    assert_eq!(family.delivered().await, (3, "db:0".to_owned()));
    family.restore(family.app.id, 3, 2).await.unwrap();
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
    family.change(&family.app, vec![plain("LEVEL", "info")]).await;
    assert_eq!(family.delivered().await, (5, "db:0".to_owned()));
    // Of the old one it is still known what it was.
    let (_, then) = family.world.catalog.effective_at(family.actor.organization, family.app.id, 4).await.unwrap();
    assert_eq!(then.hash(), family.hash(2).await);
}

#[tokio::test]
async fn a_restored_generation_is_no_longer_one_when_its_inputs_change_without_a_difference() {
    let family = Family::new().await;
    family.change(&family.app, vec![plain("HOST", "mine")]).await;
    family.change(&family.app, vec![plain("URL", "nowhere")]).await;
    family.restore(family.app.id, 4, 3).await.unwrap();
    let before = family.delivered().await;
    family.change(&family.base, vec![plain("HOST", "overridden")]).await;
    let (number, url) = family.delivered().await;
    assert_eq!((number, &url), (before.0 + 1, &before.1), "the same content, put together from the present");
    let audited = family.world.catalog.audit(&family.actor, Page::default()).await.unwrap().items;
    assert!(audited.iter().any(|entry| entry.detail.contains("generation 6, because production/main")));
}

#[tokio::test]
async fn what_an_environment_extended_goes_back_too_and_dependents_follow() {
    let family = Family::new().await;
    let catalog = &family.world.catalog;
    let project = catalog.project(&family.actor, family.app.project).await.unwrap();
    let other = catalog.create_environment(&family.actor, environment_of(&project, "other")).await.unwrap();
    family.change(&other, vec![plain("HOST", "wrong")]).await;
    let above = NewEnvironment { extends: Some(family.app.id), ..environment_of(&project, "above") };
    let above = catalog.create_environment(&family.actor, above).await.unwrap();
    let update = EnvironmentUpdate { extends: Some(Some(other.id)), ..EnvironmentUpdate::default() };
    catalog.update_environment(&family.actor, family.app.id, update).await.unwrap();
    assert_eq!(family.delivered().await, (3, "wrong:1".to_owned()));
    family.restore(family.app.id, 3, 2).await.unwrap();
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
    let row = catalog.environment(&family.actor, family.app.id).await.unwrap();
    assert_eq!(row.extends, Some(family.base.id));
    let (generation, content) = catalog.effective(family.actor.organization, above.id).await.unwrap();
    assert_eq!((generation.number, generation.content_hash), (3, content.hash()));
    assert_eq!(content.hash(), family.hash(4).await, "it says nothing itself");
    family.change(&family.app, vec![plain("LEVEL", "info")]).await;
    let (_, then) = catalog.effective_at(family.actor.organization, above.id, 3).await.unwrap();
    assert_eq!(then, content);
}

#[tokio::test]
async fn a_removal_goes_back_with_everything_else() {
    let family = Family::new().await;
    family.change(&family.base, vec![delete("TOKEN"), plain("HOST", "broken")]).await;
    family.restore(family.app.id, 3, 2).await.unwrap();
    let (_, content) = family.world.catalog.effective(family.actor.organization, family.app.id).await.unwrap();
    let token = content.entries.iter().find(|entry| entry.name == "TOKEN").expect("it is inherited from then");
    assert!(token.is_secret() && token.value.as_ref().is_some_and(|value| value.as_str() == "hunter1"));
    let (_, shown) = family.world.catalog.effective_variables(&family.actor, family.app.id, At::Now).await.unwrap();
    let token = shown.iter().find(|variable| variable.key == "TOKEN").unwrap();
    assert!(token.is_secret && token.value.is_none());
}

#[tokio::test]
async fn what_is_not_there_is_not_restored() {
    let family = Family::new().await;
    family.change(&family.app, vec![plain("URL", "nowhere")]).await;
    assert_error!(family.restore(EnvironmentId::generate(), 3, 2).await, CatalogError::NotFound { .. });
    assert_error!(family.restore(family.app.id, 9, 2).await, CatalogError::Conflict { what } if what.contains("no generation 9"));
    let stranger = owner();
    let restored = family.world.catalog.restore_generation(stranger.organization, family.app.id, 3, 2, "").await;
    assert_error!(restored, CatalogError::NotFound { .. });
    assert_eq!(family.generation(&family.app).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_whose_inputs_are_no_longer_kept_is_a_conflict_and_changes_nothing() {
    let family = Family::new().await;
    family.change(&family.app, vec![plain("HOST", "mine")]).await;
    family.change(&family.app, vec![plain("URL", "nowhere")]).await;
    for number in 0..=GENERATIONS_KEPT {
        family.change(&family.base, vec![plain("HOST", &number.to_string())]).await;
    }
    assert_error!(
        family.restore(family.app.id, 4, 3).await,
        CatalogError::Conflict { what } if what.contains("generation 3 cannot be restored")
    );
    assert_eq!(family.delivered().await, (4, "nowhere".to_owned()));
}

#[tokio::test]
async fn who_goes_back_at_the_same_time_goes_back_once() {
    let family = Family::new().await;
    family.change(&family.base, vec![plain("HOST", "broken")]).await;
    let restore = || family.restore(family.app.id, 3, 2);
    let (one, other, third) = tokio::join!(restore(), restore(), restore());
    assert!(matches!(&one, Ok(Restored::Published(generation)) if generation.number == 4));
    assert_eq!((one.as_ref().unwrap(), one.as_ref().unwrap()), (&other.unwrap(), &third.unwrap()));
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
}

#[tokio::test]
async fn nobody_is_asked_to_approve_what_was_published_before() {
    let family = Family::new().await;
    family.change(&family.base, vec![plain("HOST", "broken")]).await;
    let update = EnvironmentUpdate { approval: Some(Some(Risk::Low)), ..EnvironmentUpdate::default() };
    family.world.catalog.update_environment(&family.actor, family.app.id, update).await.unwrap();
    let held = family.world.catalog.rollback(&family.actor, family.app.id, 0, None, String::new()).await;
    assert_error!(held, CatalogError::AwaitsApproval { .. });
    assert!(matches!(family.restore(family.app.id, 3, 2).await, Ok(Restored::Published(_))));
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
}

#[tokio::test]
async fn what_has_become_secret_since_is_what_it_was_and_stays_so_only_until_the_next_change() {
    let family = Family::new().await;
    family.change(&family.base, vec![secret("URL", "of the base")]).await;
    let is_secret = async || {
        let (_, variables) =
            family.world.catalog.effective_variables(&family.actor, family.app.id, At::Now).await.unwrap();
        variables.iter().find(|variable| variable.key == "URL").unwrap().is_secret
    };
    assert!(is_secret().await, "what a base keeps secret, nobody shows who extends it");
    let Ok(Restored::Published(generation)) = family.restore(family.app.id, 3, 2).await else {
        panic!("nothing came in between");
    };
    assert_eq!(generation.content_hash, family.hash(2).await);
    assert_eq!(family.delivered().await, (4, "db:1".to_owned()));
    family.change(&family.app, vec![plain("LEVEL", "info")]).await;
    assert!(is_secret().await);
}

#[tokio::test]
async fn what_another_environment_could_not_do_without_is_not_taken_from_it() {
    let family = Family::new().await;
    let catalog = &family.world.catalog;
    family.change(&family.app, vec![plain("PATH_PREFIX", "/v2")]).await;
    family.change(&family.shared, vec![plain("WHERE", "${env:app/PATH_PREFIX}/x")]).await;
    let newest = family.generation(&family.app).await;
    let Err(CatalogError::Validation(problems)) = family.restore(family.app.id, newest, 2).await else {
        panic!("the reference leads nowhere then");
    };
    assert!(problems[0].field.contains("WHERE"), "{problems:?}");
    assert_eq!(family.generation(&family.app).await, newest);
    let (_, content) = catalog.effective(family.actor.organization, family.shared.id).await.unwrap();
    assert!(content.entries.iter().any(|entry| entry.name == "WHERE"));
}
