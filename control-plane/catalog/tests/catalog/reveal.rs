//! Values that programs get, in the clear.

use outrigger_catalog::model::{Actor, AuditAction, Environment, Project, Role, Stage};
use outrigger_catalog::{AuditQuery, CatalogError, NewEnvironment, Page};

use crate::world::{World, assert_error, environment_of, owner, plain, secret, with_role};

async fn make(
    world: &World,
    actor: &Actor,
    project: &Project,
    name: &str,
    extends: Option<&Environment>,
) -> Environment {
    let new =
        NewEnvironment { stage: Stage::Staging, extends: extends.map(|base| base.id), ..environment_of(project, name) };
    world.catalog.create_environment(actor, new).await.unwrap()
}

#[tokio::test]
async fn an_inherited_or_composed_value_is_shown_and_told_of_wherever_its_secrets_are_written() {
    let (world, actor) = (World::new().await, owner());
    let project = world.project(&actor).await;
    let base = make(&world, &actor, &project, "base", None).await;
    world.change(&actor, &base, vec![secret("PASSWORD", "hunter2"), plain("HOST", "db")]).await;
    let other = make(&world, &actor, &project, "other", None).await;
    world.change(&actor, &other, vec![secret("KEY", "k-1"), secret("WRAPPED", "<${KEY}>"), plain("PLAIN", "p")]).await;
    let eu = make(&world, &actor, &project, "eu", Some(&base)).await;
    let url = plain("URL", "${PASSWORD}@${HOST} ${env:other/WRAPPED} ${env:other/PLAIN}");
    world.change(&actor, &eu, vec![url]).await;

    let catalog = &world.catalog;
    assert_error!(catalog.reveal(&actor, eu.id, "PASSWORD").await, CatalogError::NotFound { .. });
    let value = catalog.reveal_effective(&actor, eu.id, "URL").await.unwrap();
    assert_eq!(value.expose(), "hunter2@db <k-1> p");
    let revealed = async || {
        let query = AuditQuery { action: Some(AuditAction::Reveal), ..AuditQuery::from(Page::default()) };
        let mut found: Vec<(String, String)> = catalog
            .audit(&actor, query)
            .await
            .unwrap()
            .items
            .into_iter()
            .inspect(|entry| assert_eq!(entry.project, Some(project.id)))
            .map(|entry| (entry.target, entry.detail))
            .collect();
        found.sort();
        found
    };
    let target = format!("{}/URL", eu.id);
    let part = |environment: &Environment, key: &str| {
        (format!("{}/{key}", environment.id), format!("revealed the value as a part of {target}"))
    };
    let own = (target.clone(), "revealed the effective value".to_owned());
    let mut expected = vec![own, part(&base, "PASSWORD"), part(&other, "KEY"), part(&other, "WRAPPED")];
    expected.sort();
    assert_eq!(revealed().await, expected);

    assert_eq!(catalog.reveal_effective(&actor, eu.id, "PASSWORD").await.unwrap().expose(), "hunter2");
    let told = revealed().await;
    let inherited =
        (format!("{}/PASSWORD", eu.id), format!("revealed the effective value, inherited from {}", base.id));
    assert!(told.contains(&inherited), "{told:?}");
    assert_eq!(told.iter().filter(|(target, _)| *target == format!("{}/PASSWORD", base.id)).count(), 2);

    assert_error!(catalog.reveal_effective(&actor, eu.id, "ABSENT").await, CatalogError::NotFound { .. });
    let developer = with_role(&actor, Role::Developer);
    assert_error!(catalog.reveal_effective(&developer, eu.id, "URL").await, CatalogError::Forbidden { .. });
    assert_error!(catalog.reveal_effective(&owner(), eu.id, "URL").await, CatalogError::NotFound { .. });
}
