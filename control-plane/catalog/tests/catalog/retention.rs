use std::time::Duration;

use outrigger_catalog::model::{Actor, Origin};
use outrigger_catalog::{CatalogError, NewAccount, NewProject, Page, Swept};
use outrigger_secrets::SecretString;
use outrigger_store::{KeyRange, Transaction};

use crate::world::{World, assert_error, with_key};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) async fn registered(world: &World) -> Actor {
    let new = NewAccount {
        email: "ada@example.org".to_owned(),
        password: SecretString::from("correct horse"),
        name: String::new(),
    };
    let (_, token) = world.catalog.register(new, Origin::default()).await.unwrap();
    world.catalog.authenticate(token.expose()).await.unwrap()
}

#[tokio::test]
async fn what_is_past_its_time_goes_and_the_rest_stays() {
    let world = World::new().await;
    let actor = registered(&world).await;
    let new = NewProject { name: "kept".to_owned(), description: String::new() };
    world.catalog.create_project(&with_key(&actor, "k", 1), new).await.unwrap();
    let deployment = world.deployment(&actor).await;
    let (token, secret) =
        world.catalog.create_join_token(&actor, deployment.id, None, Duration::from_secs(60)).await.unwrap();
    let agent = world.catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap().agent;
    world.catalog.instance_lost(actor.organization, agent.instance, "gone").await.unwrap();
    assert_eq!(world.catalog.sweep().await.unwrap(), Swept::default());

    world.pass(DAY + Duration::from_secs(60));
    let swept = world.catalog.sweep().await.unwrap();
    let expected = Swept { idempotency_keys: 1, tokens: 1, join_tokens: 1, instances: 1, ..Swept::default() };
    assert_eq!(swept, expected);
    assert_eq!(world.catalog.agent(agent.id).await.unwrap(), None);
    assert_error!(world.catalog.instance(&actor, agent.instance).await, CatalogError::NotFound { .. });

    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
    world.pass(30 * DAY);
    assert_eq!(world.catalog.sweep().await.unwrap(), Swept { deployments: 1, ..Swept::default() });
    assert_error!(world.catalog.deployment(&actor, deployment.id).await, CatalogError::NotFound { .. });
    assert_eq!(world.catalog.list_projects(&actor, Page::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_is_finished() {
    let world = World::new().await;
    let actor = registered(&world).await;
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![crate::world::plain("LEFT_BEHIND", "x")]).await;
    // The state right after the transaction that makes an environment unreachable.
    let rows = world.store.list(KeyRange::all(), 10_000).await.unwrap().entries;
    let holding = |text: &str| rows.iter().find(|row| row.key.to_string().contains(text)).unwrap().key.clone();
    let id = environment.id.to_bytes();
    let mark = outrigger_store::Key::builder()
        .array(b"t")
        .array(&actor.organization.to_bytes())
        .text("erase")
        .array(&id)
        .build();
    let empty = rows.iter().find(|row| row.key.to_string().contains("environment-of")).unwrap().value.clone();
    let cut = Transaction::new().delete(holding("environment\\x00\\x01")).put(mark, empty);
    world.store.commit(cut).await.unwrap();

    assert_eq!(world.catalog.sweep().await.unwrap().environments, 1);
    let rows = world.store.list(KeyRange::all(), 10_000).await.unwrap().entries;
    assert!(!rows.iter().any(|row| row.key.to_string().contains("LEFT_BEHIND")));
    assert_eq!(world.catalog.sweep().await.unwrap().environments, 0);
}
