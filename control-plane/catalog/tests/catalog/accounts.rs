use std::time::Duration;

use outrigger_catalog::model::{AuditAction, Origin, Role, Subject};
use outrigger_catalog::{CatalogError, NewAccount, Page, Unauthenticated};
use outrigger_secrets::SecretString;

use crate::world::{World, assert_error};

fn account(email: &str) -> NewAccount {
    NewAccount { email: email.to_owned(), password: SecretString::from("correct horse"), name: "Ada".to_owned() }
}

#[tokio::test]
async fn registering_makes_an_organisation_whose_owner_one_is() {
    let world = World::new().await;
    let (user, token) = world.catalog.register(account("Ada@Example.org "), Origin::default()).await.unwrap();
    assert_eq!((user.email.as_str(), user.role), ("ada@example.org", Role::Owner));
    let actor = world.catalog.authenticate(token.expose()).await.unwrap();
    assert_eq!((actor.organization, actor.subject.clone()), (user.organization, Subject::User(user.id)));
    assert_eq!(world.catalog.me(&actor).await.unwrap(), user);
    let taken = world.catalog.register(account("ada@EXAMPLE.org"), Origin::default()).await;
    assert_error!(taken, CatalogError::Conflict { .. });
}

#[tokio::test]
async fn signing_in_takes_the_password_and_tells_nothing_else() {
    let world = World::new().await;
    let (user, _) = world.catalog.register(account("ada@example.org"), Origin::default()).await.unwrap();
    let login = async |email: &str, password: &str| {
        world.catalog.login(email, &SecretString::from(password), Origin::default()).await
    };
    let (again, token) = login("ADA@example.org", "correct horse").await.unwrap();
    assert_eq!(again, user);
    let wrong = login("ada@example.org", "correct house").await.unwrap_err();
    let unknown = login("eve@example.org", "correct horse").await.unwrap_err();
    assert_eq!(wrong.to_string(), "Invalid credentials");
    assert_eq!(wrong.to_string(), unknown.to_string());
    assert_error!(login(&"e".repeat(5_000), "x").await, CatalogError::Unauthenticated(_));
    assert_error!(login("", "").await, CatalogError::Validation(problems) if problems.len() == 2);

    let actor = world.catalog.authenticate(token.expose()).await.unwrap();
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let actions: Vec<_> = audit.iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [AuditAction::Failure, AuditAction::Login, AuditAction::Create]);
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_told_at_once() {
    let world = World::new().await;
    for email in ["ada", "@x", "a@", "a b@x", "a@b@c", "a@.b", "", &format!("{}@x.org", "a".repeat(300))] {
        let new = NewAccount { email: email.to_owned(), password: SecretString::from("short"), name: String::new() };
        match world.catalog.register(new, Origin::default()).await {
            Err(CatalogError::Validation(problems)) => {
                let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
                assert_eq!(fields, ["email", "password"], "{email}");
            }
            other => panic!("{email}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_expires_and_a_changed_one_is_worth_nothing() {
    let world = World::new().await;
    let (_, token) = world.catalog.register(account("ada@example.org"), Origin::default()).await.unwrap();
    let mut forged = token.expose().to_owned();
    forged.pop();
    for text in [forged.as_str(), "", "ogr_x", "Bearer", &format!("{}x", token.expose())] {
        let refused = world.catalog.authenticate(text).await;
        assert_error!(refused, CatalogError::Unauthenticated(Unauthenticated::InvalidToken));
    }
    world.pass(Duration::from_secs(24 * 60 * 60));
    let refused = world.catalog.authenticate(token.expose()).await;
    assert_error!(refused, CatalogError::Unauthenticated(Unauthenticated::ExpiredToken));
}

#[tokio::test]
async fn the_operators_token_is_made_once() {
    let world = World::new().await;
    let token = world.catalog.ensure_operator(None).await.unwrap().expect("the first start makes one");
    assert_eq!(world.catalog.ensure_operator(None).await.unwrap(), None);
    let actor = world.catalog.authenticate(token.expose()).await.unwrap();
    assert_eq!((actor.subject.clone(), actor.role), (Subject::Operator, Role::Owner));
    assert_eq!(world.catalog.me(&actor).await.unwrap().name, "operator");
    world.project(&actor).await;
    let login = world.catalog.login("operator", &SecretString::from("anything"), Origin::default()).await;
    assert_error!(login, CatalogError::Unauthenticated(Unauthenticated::InvalidCredentials));
}

#[tokio::test]
async fn a_configured_operator_token_replaces_the_one_before_it() {
    let world = World::new().await;
    let made = world.catalog.ensure_operator(None).await.unwrap().unwrap();
    let configured = SecretString::from("c".repeat(40));
    assert_eq!(world.catalog.ensure_operator(Some(configured.clone())).await.unwrap(), None);
    let actor = world.catalog.authenticate(configured.expose()).await.unwrap();
    assert_eq!(actor.subject, Subject::Operator);
    assert_error!(world.catalog.authenticate(made.expose()).await, CatalogError::Unauthenticated(_));
    let weak = world.catalog.ensure_operator(Some(SecretString::from("weak"))).await;
    assert_error!(weak, CatalogError::Validation(_));
    assert_eq!(world.catalog.ensure_operator(Some(configured)).await.unwrap(), None);
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert_eq!(audit.len(), 2, "the same token again is no change: {audit:?}");
}

#[tokio::test]
async fn an_owner_makes_accounts_in_the_same_organisation() {
    let world = World::new().await;
    let (user, token) = world.catalog.register(account("ada@example.org"), Origin::default()).await.unwrap();
    let ada = world.catalog.authenticate(token.expose()).await.unwrap();
    let bob = world.catalog.add_user(&ada, account("Bob@example.org"), Role::Developer).await.unwrap();
    assert_eq!(
        (bob.organization, bob.role, bob.email.as_str()),
        (user.organization, Role::Developer, "bob@example.org")
    );
    let (_, token) =
        world.catalog.login("bob@example.org", &SecretString::from("correct horse"), Origin::default()).await.unwrap();
    let actor = world.catalog.authenticate(token.expose()).await.unwrap();
    assert_eq!((actor.organization, actor.role), (user.organization, Role::Developer));
    assert_error!(
        world.catalog.add_user(&actor, account("eve@example.org"), Role::Viewer).await,
        CatalogError::Forbidden { need: Role::Owner }
    );
    let taken = world.catalog.add_user(&ada, account("bob@example.org"), Role::Owner).await;
    assert_error!(taken, CatalogError::Conflict { .. });
    let told = world.catalog.audit(&ada, Page::default()).await.unwrap().items;
    assert!(told.iter().any(|entry| entry.action == AuditAction::Create && entry.target == bob.id.to_string()));
}
