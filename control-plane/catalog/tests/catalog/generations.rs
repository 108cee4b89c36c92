use outrigger_catalog::{CatalogError, GENERATIONS_KEPT, Page};
use outrigger_protocol::environment::Environment as Plaintext;

use crate::world::{World, assert_error, delete, owner, plain, secret};

#[tokio::test]
async fn numbers_only_grow_and_what_changes_nothing_makes_none() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let present = async || world.catalog.environment(&actor, environment.id).await.unwrap().generation;
    assert_eq!(present().await, 0);
    assert_eq!(world.change(&actor, &environment, Vec::new()).await, 0);
    assert_eq!(world.change(&actor, &environment, vec![plain("A", "1"), secret("S", "x")]).await, 1);
    assert_eq!(world.change(&actor, &environment, vec![plain("A", "1"), secret("S", "x")]).await, 1);
    assert_eq!(world.change(&actor, &environment, vec![secret("S", "y")]).await, 2);
    assert_eq!(world.change(&actor, &environment, vec![delete("A")]).await, 3);
    assert_eq!(world.change(&actor, &environment, vec![plain("A", "1"), secret("S", "x")]).await, 4);
    assert_eq!(present().await, 4);

    let listed = world.catalog.generations(&actor, environment.id, Page::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|generation| generation.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    // The same content has the same hash, under whatever number.
    assert_eq!(listed[0].content_hash, listed[3].content_hash);
    assert_ne!(listed[0].content_hash, listed[1].content_hash);
}

#[tokio::test]
async fn before_the_first_variable_there_is_an_empty_generation() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let (generation, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    assert_eq!((generation.number, effective), (0, Plaintext::default()));
    assert_eq!(generation.content_hash, Plaintext::default().hash());
    assert_eq!(world.catalog.generation(&actor, environment.id, 0).await.unwrap(), generation);
    assert_error!(
        world.catalog.generation(&actor, environment.id, 1).await,
        CatalogError::NotFound { what: "generation" }
    );
}

#[tokio::test]
async fn a_change_to_a_state_that_is_no_longer_the_newest_is_a_conflict_that_names_it() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let change = async |value: &str, if_match| {
        world.catalog.change_variables(&actor, environment.id, vec![plain("A", value)], if_match, String::new()).await
    };
    assert_eq!(change("1", Some(0)).await.unwrap().number, 1);
    assert_eq!(change("2", Some(1)).await.unwrap().number, 2);
    match change("3", Some(1)).await {
        Err(CatalogError::Conflict { what }) => assert_eq!(what, "the environment is at generation 2"),
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(world.catalog.variables(&actor, environment.id).await.unwrap()[0].value.as_deref(), Some("2"));
}

#[tokio::test]
async fn author_and_message_are_kept_and_a_generation_never_changes() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let message = "first".to_owned();
    let first =
        world.catalog.change_variables(&actor, environment.id, vec![plain("A", "1")], None, message).await.unwrap();
    world.change(&actor, &environment, vec![plain("A", "2")]).await;
    assert_eq!(first.author, actor.subject.to_string());
    assert_eq!(first.message, "first");
    assert_eq!(world.catalog.generation(&actor, environment.id, 1).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_generations_go_with_what_only_they_listed() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![plain("STAYS", "from the beginning"), plain("GOES", "early")]).await;
    world.change(&actor, &environment, vec![delete("GOES")]).await;
    for number in 3..=GENERATIONS_KEPT + 3 {
        world.change(&actor, &environment, vec![plain("COUNTER", &number.to_string())]).await;
    }
    for gone in 1..=3 {
        assert_error!(
            world.catalog.generation(&actor, environment.id, gone).await,
            CatalogError::NotFound { what: "generation" }
        );
    }
    assert_eq!(world.catalog.generation(&actor, environment.id, 4).await.unwrap().number, 4);
    let (_, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    let names: Vec<_> = effective.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["COUNTER", "STAYS"]);

    let rows = world.store.list(outrigger_store::KeyRange::all(), 10_000).await.unwrap().entries;
    let named = |name: &str| rows.iter().filter(|row| row.key.to_string().contains(name)).count();
    assert_eq!(named("GOES"), 0, "nothing lists it any more");
    // The present one, and one for each kept generation before it.
    assert_eq!(named("COUNTER"), usize::try_from(GENERATIONS_KEPT).unwrap());
}
