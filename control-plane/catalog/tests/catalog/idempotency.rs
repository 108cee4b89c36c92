use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_catalog::model::{Actor, Role, VariableChange};
use outrigger_catalog::{CatalogError, NewProject, Page};
use serde_json::{Value, json};

use crate::world::{World, assert_error, owner, plain, with_key};

fn shop() -> NewProject {
    NewProject { name: "shop".to_owned(), description: String::new() }
}

#[tokio::test]
async fn the_same_key_and_request_has_the_same_result_and_one_effect() {
    let world = World::new().await;
    let actor = owner();
    let keyed = with_key(&actor, "k", 1);
    let first = world.catalog.create_project(&keyed, shop()).await.unwrap();
    world.pass(Duration::from_secs(60));
    let again = world.catalog.create_project(&keyed, shop()).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.catalog.list_projects(&actor, Page::default()).await.unwrap().items, [first]);
    assert_eq!(world.catalog.audit(&actor, Page::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let world = World::new().await;
    let actor = owner();
    world.catalog.create_project(&with_key(&actor, "k", 1), shop()).await.unwrap();
    let other = with_key(&actor, "k", 2);
    assert_error!(world.catalog.create_project(&other, shop()).await, CatalogError::IdempotencyMismatch);
    // Also for another operation.
    let project = world.project(&actor).await;
    assert_error!(world.catalog.delete_project(&other, project.id).await, CatalogError::IdempotencyMismatch);
    for key in ["", &"k".repeat(129)] {
        let bad = with_key(&actor, key, 1);
        assert_error!(world.catalog.create_project(&bad, shop()).await, CatalogError::Validation(_));
    }
}

#[tokio::test]
async fn two_people_may_use_the_same_key() {
    let world = World::new().await;
    let (mine, other) = (owner(), owner());
    let colleague = outrigger_catalog::model::Actor { organization: mine.organization, ..other.clone() };
    let projects = [
        world.catalog.create_project(&with_key(&mine, "k", 1), shop()).await.unwrap(),
        world.catalog.create_project(&with_key(&other, "k", 2), shop()).await.unwrap(),
        world.catalog.create_project(&with_key(&colleague, "k", 3), shop()).await.unwrap(),
    ];
    assert!(projects[0].id != projects[1].id && projects[0].id != projects[2].id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_submit_creates_one() {
    let world = World::new().await;
    let actor = owner();
    let keyed = with_key(&actor, "k", 1);
    let submits: Vec<_> = (0..8)
        .map(|_| {
            let (catalog, keyed) = (world.catalog.clone(), keyed.clone());
            tokio::spawn(async move { catalog.create_project(&keyed, shop()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for submit in submits {
        ids.push(submit.await.unwrap().unwrap().id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.catalog.list_projects(&actor, Page::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_join_token_is_told_again_to_who_repeats_the_request_and_is_not_stored_in_the_clear() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let keyed = with_key(&actor, "k", 1);
    let ttl = Duration::from_secs(60);
    let first = world.catalog.create_join_token(&keyed, deployment.id, None, ttl).await.unwrap();
    let again = world.catalog.create_join_token(&keyed, deployment.id, None, ttl).await.unwrap();
    assert_eq!(first, again);
    let content = world.disk.content();
    assert!(!content.windows(32).any(|window| window == first.1));
}

#[tokio::test]
async fn a_request_of_several_mutations_repeats_each_of_them() {
    use outrigger_catalog::model::DeploymentStatus;
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let keyed = with_key(&actor, "start", 1);
    let record = world.scale_up(&deployment, 0, 2);
    for _ in 0..2 {
        world.catalog.set_status(&keyed, deployment.id, DeploymentStatus::Provisioning, None).await.unwrap();
        let recorded = world.catalog.record_scaling(&keyed, record.clone()).await.unwrap();
        assert_eq!((recorded.deployment.desired_replicas, recorded.intents.len()), (2, 2));
    }
    assert_eq!(world.catalog.pending_intents().await.unwrap().len(), 2);
}

/// What the tests have done once: answers how often it was.
struct Work {
    done: AtomicU32,
}

impl Work {
    const fn new() -> Self {
        Self { done: AtomicU32::new(0) }
    }

    fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    async fn carry_out(&self, world: &World, actor: &Actor) -> Result<Value, CatalogError> {
        let work = async |actor: Actor| {
            assert_eq!(actor.idempotency, None, "what is a part of the work has no key of its own");
            Ok(json!({ "times": self.done.fetch_add(1, Ordering::Relaxed) + 1 }))
        };
        world.catalog.once(actor, "work", work).await
    }
}

#[tokio::test]
async fn what_is_more_than_one_mutation_is_done_once_and_answered_again() {
    let (world, work, actor) = (World::new().await, Work::new(), owner());
    let keyed = with_key(&actor, "k", 1);
    let first = work.carry_out(&world, &keyed).await.unwrap();
    world.pass(Duration::from_secs(60));
    assert_eq!(work.carry_out(&world, &keyed).await.unwrap(), first);
    assert_eq!(work.done(), 1);
    let other = with_key(&actor, "k", 2);
    assert_error!(work.carry_out(&world, &other).await, CatalogError::IdempotencyMismatch);
    assert_error!(world.catalog.create_project(&other, shop()).await, CatalogError::IdempotencyMismatch);
    assert_eq!(work.done(), 1);
    for _ in 0..2 {
        work.carry_out(&world, &actor).await.unwrap();
    }
    assert_eq!(work.done(), 3, "without a key each is a request of its own");
    world.pass(Duration::from_secs(24 * 60 * 60));
    assert_eq!(work.carry_out(&world, &other).await.unwrap(), json!({ "times": 4 }), "after a day the key is free");
    let viewer = Actor { role: Role::Viewer, ..keyed };
    assert_error!(work.carry_out(&world, &viewer).await, CatalogError::Forbidden { .. });
}

#[tokio::test]
async fn while_it_is_done_its_key_is_nobody_elses() {
    let (world, work, actor) = (World::new().await, Work::new(), owner());
    let keyed = with_key(&actor, "k", 1);
    let outer: Result<Value, CatalogError> = world
        .catalog
        .once(&keyed, "outer", async |_| {
            assert_error!(work.carry_out(&world, &with_key(&actor, "k", 2)).await, CatalogError::IdempotencyMismatch);
            Ok(json!("outer"))
        })
        .await;
    assert_eq!((outer.unwrap(), work.done()), (json!("outer"), 0));
}

#[tokio::test]
async fn what_is_refused_or_given_up_can_be_tried_again() {
    let (world, work, actor) = (World::new().await, Work::new(), owner());
    let (keyed, other) = (with_key(&actor, "k", 1), with_key(&actor, "k", 2));
    let refused: Result<Value, CatalogError> =
        world.catalog.once(&keyed, "work", async |_| Err(CatalogError::Conflict { what: "not now".to_owned() })).await;
    assert_error!(refused, CatalogError::Conflict { .. });
    work.carry_out(&world, &other).await.unwrap();
    assert_eq!(work.done(), 1, "the key was free again");

    // The caller goes away in the middle: nobody knows how it ended, so that the same request does it again.
    let abandoned = with_key(&actor, "a", 1);
    let (begin, begun) = tokio::sync::oneshot::channel();
    let endless = async move |_| -> Result<Value, CatalogError> {
        begin.send(()).unwrap();
        std::future::pending().await
    };
    tokio::select! {
        _ = world.catalog.once(&abandoned, "work", endless) => panic!("it has no end"),
        begun = begun => begun.unwrap(),
    }
    let other = with_key(&actor, "a", 2);
    assert_error!(work.carry_out(&world, &other).await, CatalogError::IdempotencyMismatch);
    work.carry_out(&world, &abandoned).await.unwrap();
    assert_eq!(work.done(), 2);
}

#[tokio::test]
async fn a_key_may_be_used_anew_after_a_day() {
    let world = World::new().await;
    let actor = owner();
    let first = world.catalog.create_project(&with_key(&actor, "k", 1), shop()).await.unwrap();
    world.pass(Duration::from_secs(24 * 60 * 60));
    let second = world.catalog.create_project(&with_key(&actor, "k", 2), shop()).await.unwrap();
    assert_ne!(first.id, second.id);
    let again = world.catalog.create_project(&with_key(&actor, "k", 2), shop()).await.unwrap();
    assert_eq!(second, again);
}

#[tokio::test]
async fn a_change_of_variables_is_repeated_with_its_own_generation() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let keyed = with_key(&actor, "k", 1);
    let change = async || -> Result<_, CatalogError> {
        let changes: Vec<VariableChange> = vec![plain("A", "1")];
        world.catalog.change_variables(&keyed, environment.id, changes, Some(0), String::new()).await
    };
    let first = change().await.unwrap();
    world.change(&actor, &environment, vec![plain("A", "2")]).await;
    assert_eq!(change().await.unwrap(), first);
    assert_eq!(world.catalog.environment(&actor, environment.id).await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_call_that_found_nothing_to_do_finds_nothing_when_it_is_repeated() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let keyed = with_key(&actor, "k", 1);
    world.catalog.set_paused(&keyed, deployment.id, false).await.unwrap();
    world.catalog.set_paused(&actor, deployment.id, true).await.unwrap();
    assert!(!world.catalog.set_paused(&keyed, deployment.id, false).await.unwrap().paused);
    assert!(world.catalog.deployment(&actor, deployment.id).await.unwrap().paused);
}
