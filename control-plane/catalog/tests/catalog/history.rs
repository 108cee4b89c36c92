//! States of before: read, compared, gone back to.

use std::time::Duration;

use outrigger_catalog::model::{Actor, AuditAction, Environment, Role, Stage, Variable};
use outrigger_catalog::{At, CatalogError, EffectiveVariable, GENERATIONS_KEPT, NewEnvironment, Page, Side};
use outrigger_configuration::diff::{Aspect, Change, ShownValue};
use outrigger_secrets::SecretString;

use crate::world::{World, assert_error, delete, environment_of, owner, plain, secret, with_role};

async fn pair(world: &World, actor: &Actor) -> (Environment, Environment) {
    let project = world.project(actor).await;
    let base = world.environment(actor, &project).await;
    world.change(actor, &base, vec![plain("HOST", "one"), secret("TOKEN", "hunter1")]).await;
    let new = NewEnvironment { stage: Stage::Staging, extends: Some(base.id), ..environment_of(&project, "eu") };
    let eu = world.catalog.create_environment(actor, new).await.unwrap();
    (base, eu)
}

fn written(variables: &[Variable]) -> Vec<(&str, Option<&str>)> {
    variables.iter().map(|variable| (variable.key.as_str(), variable.value.as_deref())).collect()
}

fn effective(variables: &[EffectiveVariable]) -> Vec<(&str, Option<&str>)> {
    variables.iter().map(|variable| (variable.key.as_str(), variable.value.as_deref())).collect()
}

#[tokio::test]
async fn an_old_generation_is_read_as_it_was_with_what_it_inherited_then() {
    let world = World::new().await;
    let actor = owner();
    let (base, eu) = pair(&world, &actor).await;
    world.change(&actor, &eu, vec![plain("URL", "http://${HOST}/")]).await;
    world.change(&actor, &base, vec![plain("HOST", "two")]).await;
    world.change(&actor, &base, vec![delete("TOKEN")]).await;
    let viewer = with_role(&actor, Role::Viewer);
    let at = async |number| world.catalog.effective_variables(&viewer, eu.id, At::Generation(number)).await.unwrap();
    let (generation, seen) = at(2).await;
    assert_eq!(generation.number, 2);
    assert_eq!(effective(&seen), [("HOST", Some("one")), ("TOKEN", None), ("URL", Some("http://one/"))]);
    assert_eq!((seen[0].origin, seen[2].origin), (base.id, eu.id));
    assert_eq!(effective(&at(3).await.1), [("HOST", Some("two")), ("TOKEN", None), ("URL", Some("http://two/"))]);
    assert_eq!(effective(&at(4).await.1), [("HOST", Some("two")), ("URL", Some("http://two/"))]);
    assert_eq!(effective(&at(0).await.1), []);
    let (_, own) = world.catalog.variables_at(&viewer, base.id, At::Generation(1)).await.unwrap();
    assert_eq!(written(&own), [("HOST", Some("one")), ("TOKEN", None)]);
    assert_error!(
        world.catalog.effective_variables(&viewer, eu.id, At::Generation(9)).await,
        CatalogError::NotFound { what: "generation" }
    );
}

#[tokio::test]
async fn a_moment_is_the_generation_that_was_the_newest_then() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let created = world.now();
    let mut moments = Vec::new();
    for number in 1..=5 {
        world.pass(Duration::from_secs(60));
        world.change(&actor, &environment, vec![plain("N", &number.to_string())]).await;
        moments.push(world.now());
    }
    let number_at = async |time| {
        world
            .catalog
            .variables_at(&actor, environment.id, At::Time(time))
            .await
            .map(|(generation, _)| generation.number)
    };
    assert_eq!(number_at(created).await.unwrap(), 0);
    for (at, moment) in moments.iter().enumerate() {
        assert_eq!(number_at(*moment).await.unwrap(), at as u64 + 1);
        assert_eq!(number_at(moment.saturating_sub(Duration::from_millis(1))).await.unwrap(), at as u64);
    }
    let before = created.saturating_sub(Duration::from_millis(1));
    assert_error!(number_at(before).await, CatalogError::NotFound { what: "generation" });
}

#[tokio::test]
async fn a_difference_shows_plain_values_and_says_of_secrets_only_that_they_differ() {
    let world = World::new().await;
    let actor = owner();
    let (base, eu) = pair(&world, &actor).await;
    world.change(&actor, &base, vec![plain("HOST", "two"), secret("TOKEN", "hunter2"), plain("NEW", "x")]).await;
    let side = |environment: &Environment, number| Side { environment: environment.id, at: At::Generation(number) };
    let found = world.catalog.diff(&actor, side(&base, 1), side(&base, 2), false).await.unwrap();
    let names: Vec<&str> = found.iter().map(|difference| difference.name.as_str()).collect();
    assert_eq!(names, ["HOST", "NEW", "TOKEN"]);
    let values = |change: &Change| match change {
        Change::Changed { before, after, aspects } => {
            assert_eq!(aspects, &[Aspect::Value]);
            (Some(before.value.clone()), Some(after.value.clone()))
        }
        Change::Added(after) => (None, Some(after.value.clone())),
        Change::Removed(before) => (Some(before.value.clone()), None),
    };
    let text = |text: &str| Some(ShownValue::Text(text.to_owned()));
    assert_eq!(values(&found[0].change), (text("one"), text("two")));
    assert_eq!(values(&found[1].change), (None, text("x")));
    assert_eq!(values(&found[2].change), (Some(ShownValue::Hidden), Some(ShownValue::Hidden)));

    // Of two environments, what programs get; the same, where one only begins with the other.
    let now = |environment: &Environment| Side { environment: environment.id, at: At::Now };
    assert!(world.catalog.diff(&actor, now(&base), now(&eu), true).await.unwrap().is_empty());
    world.change(&actor, &eu, vec![plain("ONLY", "here")]).await;
    let found = world.catalog.diff(&actor, now(&base), now(&eu), true).await.unwrap();
    assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["ONLY"]);
}

#[tokio::test]
async fn going_back_is_a_new_generation_with_the_old_variables() {
    let world = World::new().await;
    let actor = owner();
    let (base, eu) = pair(&world, &actor).await;
    world.change(&actor, &base, vec![plain("HOST", "two"), delete("TOKEN")]).await;
    let back = |if_match| world.catalog.rollback(&actor, base.id, 1, if_match, String::new());
    assert_error!(back(Some(1)).await, CatalogError::Conflict { .. });
    let generation = back(Some(2)).await.unwrap();
    assert_eq!((generation.number, generation.message.as_str()), (3, "rollback to generation 1"));
    let first = world.catalog.generation(&actor, base.id, 1).await.unwrap();
    assert_eq!(generation.content_hash, first.content_hash);
    let revealed = world.catalog.reveal(&actor, base.id, "TOKEN").await.unwrap();
    assert_eq!(revealed, SecretString::from("hunter1"));
    let (_, seen) = world.catalog.effective_variables(&actor, eu.id, At::Now).await.unwrap();
    assert_eq!(effective(&seen), [("HOST", Some("one")), ("TOKEN", None)], "whoever extends it goes back with it");
    let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert!(audited.iter().any(|entry| entry.action == AuditAction::Rollback && entry.target == base.id.to_string()));

    assert_eq!(back(None).await.unwrap().number, 3, "it is there already");
    let viewer = with_role(&actor, Role::Viewer);
    let result = world.catalog.rollback(&viewer, base.id, 1, None, String::new()).await;
    assert_error!(result, CatalogError::Forbidden { .. });
    let result = world.catalog.rollback(&actor, base.id, 9, None, String::new()).await;
    assert_error!(result, CatalogError::NotFound { what: "generation" });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_state_is_read_even_when_its_inputs_are_no_longer_kept() {
    let world = World::new().await;
    let actor = owner();
    let (base, eu) = pair(&world, &actor).await;
    world.change(&actor, &eu, vec![plain("COUNTER", "mine")]).await;
    for number in 0..=GENERATIONS_KEPT {
        world.change(&actor, &base, vec![plain("COUNTER", &number.to_string())]).await;
    }
    let (generation, seen) = world.catalog.effective_variables(&actor, eu.id, At::Now).await.unwrap();
    assert_eq!(effective(&seen)[0], ("COUNTER", Some("mine")));
    let same = At::Generation(generation.number);
    assert_eq!(world.catalog.effective_variables(&actor, eu.id, same).await.unwrap().1, seen);
    assert_error!(
        world.catalog.effective_variables(&actor, eu.id, At::Generation(1)).await,
        CatalogError::NotFound { what: "generation" }
    );
}
