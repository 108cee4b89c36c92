use std::time::Duration;

use outrigger_catalog::model::{AuditAction, Role, Subject};
use outrigger_catalog::{At, AuditQuery, CatalogError, NewProject, Page, RotationStep};
use outrigger_secrets::{ENCRYPTIONS_PER_KEY, ROTATION_DUE};
use outrigger_store::{Key, Transaction};

use super::{Shop, content_at, finish, operator, row_of};
use crate::world::{World, assert_error, secret, with_key};

#[tokio::test]
async fn everything_is_sealed_anew_and_the_old_key_is_destroyed() {
    let world = World::new().await;
    let catalog = &world.catalog;
    let shop = Shop::new(&world, 3, 5).await;
    let before = shop.keys(catalog).await;
    let old = before.keys[0];
    assert_eq!((before.keys.len(), old.rows, old.encryptions, old.is_active), (1, 30, 30, true));
    assert_eq!(before.rotation, None);

    let rotation = catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    assert!(rotation.is_running() && rotation.total.is_none());
    assert_eq!(catalog.running_rotations().await.unwrap(), [shop.kind()]);
    while catalog.advance_rotation(shop.kind()).await.unwrap() == RotationStep::More {
        shop.assert_intact(catalog).await;
        let now = shop.keys(catalog).await;
        let progress = now.rotation.unwrap();
        assert_eq!(now.keys.iter().map(|key| key.rows).sum::<u64>(), 30, "no row is lost or doubled");
        assert_eq!(progress.total, Some(30));
        assert_eq!(now.keys[1].rows, progress.done);
        assert_eq!(now.keys[1].encryptions, progress.done);
    }
    shop.assert_intact(catalog).await;
    let after = shop.keys(catalog).await;
    assert_eq!(after.keys.len(), 1);
    assert_eq!((after.keys[0].id, after.keys[0].rows), (rotation.id, 30));
    let over = catalog.rotation(&shop.actor, rotation.id).await.unwrap();
    assert_eq!((over.done, over.total, over.unreadable, over.is_running()), (30, Some(30), 0, false));
    assert!(catalog.running_rotations().await.unwrap().is_empty());

    let told = AuditQuery { action: Some(AuditAction::Rotate), ..AuditQuery::default() };
    let told = catalog.audit(&shop.actor, told).await.unwrap().items;
    let details: Vec<&str> = told.iter().map(|entry| entry.detail.as_str()).collect();
    assert!(details[0].contains("destroyed") && details[1].contains("takes over"), "{details:?}");
    assert_eq!((told[1].actor.as_str(), told[0].actor.as_str()), ("operator", "system"));
}

#[tokio::test]
async fn a_second_request_gets_the_rotation_that_runs_and_a_later_one_a_new_one() {
    let world = World::new().await;
    let shop = Shop::new(&world, 1, 1).await;
    let rotate = async |actor| world.catalog.rotate_data_key(actor, shop.project.id).await.unwrap();
    let keyed = with_key(&shop.actor, "k", 1);
    let first = rotate(&keyed).await;
    assert_eq!(rotate(&shop.actor).await.id, first.id);
    assert_eq!(shop.keys(&world.catalog).await.keys.len(), 2, "no third key was made");
    finish(&world.catalog, shop.kind()).await;
    assert_eq!(rotate(&keyed).await.id, first.id, "the same request is not carried out twice");
    assert_ne!(rotate(&shop.actor).await.id, first.id);
    finish(&world.catalog, shop.kind()).await;
    shop.assert_intact(&world.catalog).await;
}

#[tokio::test]
async fn keys_are_the_operators_alone() {
    let world = World::new().await;
    let shop = Shop::new(&world, 1, 1).await;
    let mut owner = shop.actor.clone();
    owner.subject = Subject::System;
    assert_eq!(owner.role, Role::Owner);
    let (catalog, project) = (&world.catalog, shop.project.id);
    assert_error!(catalog.rotate_data_key(&owner, project).await, CatalogError::OperatorOnly);
    assert_error!(catalog.rotate_master_key(&owner, &super::next_master()).await, CatalogError::OperatorOnly);
    assert_error!(catalog.data_keys_of(&owner, project).await, CatalogError::OperatorOnly);
    assert_error!(catalog.data_keys_by_project(&owner, Page::default()).await, CatalogError::OperatorOnly);
    assert_error!(catalog.master_key(&owner).await, CatalogError::OperatorOnly);
    let nowhere = outrigger_protocol::id::ProjectId::generate();
    assert_error!(catalog.rotate_data_key(&shop.actor, nowhere).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn what_is_deleted_while_its_key_is_replaced_stays_deleted() {
    let world = World::new().await;
    let catalog = &world.catalog;
    let mut shop = Shop::new(&world, 3, 2).await;
    catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    for _ in 0..2 {
        catalog.advance_rotation(shop.kind()).await.unwrap();
    }
    let gone = shop.environments.remove(0);
    shop.history.remove(0);
    catalog.delete_environment(&shop.actor, gone.id).await.unwrap();
    finish(catalog, shop.kind()).await;
    shop.assert_intact(catalog).await;
    assert_eq!(shop.keys(catalog).await.keys[0].rows, 8);

    catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    catalog.advance_rotation(shop.kind()).await.unwrap();
    catalog.delete_project(&shop.actor, shop.project.id).await.unwrap();
    assert_eq!(catalog.advance_rotation(shop.kind()).await.unwrap(), RotationStep::Done);
    assert!(catalog.running_rotations().await.unwrap().is_empty());
    let page = world.store.range(outrigger_store::KeyRange::all(), Default::default()).await.unwrap();
    let project = shop.project.id.to_bytes();
    let left = page.entries.iter().filter(|entry| entry.key.as_bytes().windows(16).any(|part| part == project));
    assert_eq!(left.count(), 0, "nothing of the project is left, not even of its keys");
}

#[tokio::test]
async fn a_damaged_value_keeps_its_key_and_does_not_hold_up_the_rest() {
    let world = World::new().await;
    let catalog = &world.catalog;
    let shop = Shop::new(&world, 1, 2).await;
    let old = shop.keys(catalog).await.keys[0].id;
    let (key, value) = row_of(&world.store, "variable").await;
    let (key, value) = sealed_row(&world, key, value).await;
    let text = String::from_utf8(value).unwrap();
    let at = text.find("\"ciphertext\":\"").unwrap() + "\"ciphertext\":\"".len() + 40;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    world.store.commit(Transaction::new().put(key, damaged.into_bytes())).await.unwrap();

    let rotation = catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    finish(catalog, shop.kind()).await;
    let over = catalog.rotation(&shop.actor, rotation.id).await.unwrap();
    assert_eq!((over.done, over.unreadable, over.is_running()), (3, 1, false));
    let keys = shop.keys(catalog).await.keys;
    assert_eq!((keys[0].id, keys[0].rows, keys[0].is_active), (old, 1, false));
    assert_eq!((keys[1].id, keys[1].rows, keys[1].is_active), (rotation.id, 3, true));
}

/// The first of the rows beside one that holds a sealed value.
async fn sealed_row(world: &World, key: Key, value: Vec<u8>) -> (Key, Vec<u8>) {
    let page = world.store.range(outrigger_store::KeyRange::all(), Default::default()).await.unwrap();
    let mut rows =
        page.entries.into_iter().skip_while(|entry| entry.key != key).map(|row| (row.key, row.value.to_vec()));
    rows.find(|(_, value)| value.windows(12).any(|part| part == b"\"ciphertext\"")).unwrap_or((key, value))
}

#[tokio::test]
async fn a_key_is_due_long_before_it_is_used_up_and_another_one_helps() {
    let world = World::new().await;
    let catalog = &world.catalog;
    let shop = Shop::new(&world, 1, 1).await;
    assert!(catalog.due_keys().await.unwrap().is_empty());
    let set_uses = async |uses: u64| {
        let (key, _) = row_of(&world.store, "data-key-use").await;
        let row = format!("\x01{{\"encryptions\":{uses}}}");
        world.store.commit(Transaction::new().put(key, row.into_bytes())).await.unwrap();
    };
    set_uses(ROTATION_DUE - 1).await;
    assert!(!shop.keys(catalog).await.keys[0].is_due);
    set_uses(ROTATION_DUE).await;
    assert!(shop.keys(catalog).await.keys[0].is_due);
    let due = catalog.due_keys().await.unwrap();
    assert_eq!((due.len(), due[0].project, due[0].encryptions), (1, shop.project.id, ROTATION_DUE));
    assert_eq!(catalog.key_uses(1).await.unwrap(), due, "the most used comes first");

    set_uses(ENCRYPTIONS_PER_KEY).await;
    let environment = &shop.environments[0];
    let change = |value: &str| vec![secret("S0", value)];
    let refused = catalog.change_variables(&shop.actor, environment.id, change("refused"), None, String::new()).await;
    assert_error!(refused, CatalogError::KeyExhausted { .. });
    catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    world.change(&shop.actor, environment, change("taken")).await;
    assert_eq!(content_at(catalog, &shop.actor, environment, At::Now).await["S0"], "taken");
    finish(catalog, shop.kind()).await;
    assert!(catalog.due_keys().await.unwrap().is_empty());
    let uses = catalog.key_uses(8).await.unwrap();
    assert!(uses.len() == 1 && uses[0].is_active && uses[0].key != due[0].key, "the old key is gone: {uses:?}");
    shop.assert_older_intact(catalog).await;
}

impl Shop {
    /// As [`Shop::assert_intact`], when something was published since.
    async fn assert_older_intact(&self, catalog: &outrigger_catalog::Catalog) {
        for (environment, history) in self.environments.iter().zip(&self.history) {
            for (number, expected) in history {
                let found = content_at(catalog, &self.actor, environment, At::Generation(*number)).await;
                assert_eq!(found, *expected);
            }
        }
    }
}

#[tokio::test]
async fn projects_of_all_organisations_are_listed_in_pages() {
    let world = World::new().await;
    let catalog = &world.catalog;
    let actor = operator(catalog).await;
    for name in ["a", "b", "c"] {
        let new = NewProject { name: name.to_owned(), description: String::new() };
        catalog.create_project(&actor, new).await.unwrap();
    }
    world.pass(Duration::from_secs(1));
    let new = outrigger_catalog::NewAccount {
        email: "ada@example.org".to_owned(),
        password: "correct horse battery".into(),
        name: String::new(),
    };
    let (_, token) = catalog.register(new, Default::default()).await.unwrap();
    let other = catalog.authenticate(token.expose()).await.unwrap();
    let foreign = world.project(&other).await;
    let mut page = Page { limit: Some(2), cursor: None };
    let mut names = Vec::new();
    loop {
        let listing = catalog.data_keys_by_project(&actor, page.clone()).await.unwrap();
        assert!(listing.items.len() <= 2);
        names.extend(listing.items.iter().map(|project| project.name.clone()));
        match listing.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c", "shop"]);
    // What is done to a tenant's key stands in the tenant's log.
    catalog.rotate_data_key(&actor, foreign.id).await.unwrap();
    let told = catalog.audit(&other, Page::default()).await.unwrap().items;
    assert_eq!((told[0].action, told[0].actor.as_str()), (AuditAction::Rotate, "operator"));
}
