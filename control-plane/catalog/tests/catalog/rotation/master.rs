use outrigger_catalog::model::{AuditAction, KeyKind};
use outrigger_catalog::{AuditQuery, CatalogError, MasterKeys, OpenError, Page, RotationStep};
use outrigger_secrets::MasterKey;

use super::{Shop, finish, next_master};
use crate::world::{World, assert_error, plain, with_key};

fn both(current: &MasterKey, next: &MasterKey) -> MasterKeys {
    MasterKeys { current: current.clone(), next: Some(next.clone()) }
}

#[tokio::test]
async fn everything_moves_to_the_new_master_key_and_the_old_one_is_not_needed_any_more() {
    let world = World::new().await;
    let shop = Shop::new(&world, 2, 3).await;
    let (old, new) = (world.master.clone(), next_master());
    let catalog = &world.catalog;
    let blob = catalog.get_or_create_blob("ca", || b"private key".to_vec()).await.unwrap();
    let keyed = with_key(&shop.actor, "once", 7);
    let made = world.project(&keyed).await;

    let rotation = catalog.rotate_master_key(&shop.actor, &new).await.unwrap();
    assert_eq!(catalog.running_rotations().await.unwrap(), [KeyKind::Master]);
    let shown = catalog.master_key(&shop.actor).await.unwrap();
    assert_eq!((shown.name, shown.retiring), (new.name(), Some(old.name())));
    let mut steps = 0;
    while catalog.advance_rotation(KeyKind::Master).await.unwrap() == RotationStep::More {
        steps += 1;
        shop.assert_intact(catalog).await;
        assert_eq!(catalog.get_or_create_blob("ca", Vec::new).await.unwrap(), blob);
        assert_eq!(world.project(&keyed).await, made, "a kept result is found whatever it is sealed with");
        assert_eq!(catalog.verify_audit(&shop.actor).await.unwrap().fault, None);
    }
    assert!(steps > 3, "{steps}");
    let over = catalog.rotation(&shop.actor, rotation.id).await.unwrap();
    assert_eq!((over.total, over.unreadable), (Some(over.done), 0));
    assert!(over.done >= 4, "head, keys, blob and result: {}", over.done);
    assert_eq!(catalog.master_key(&shop.actor).await.unwrap().retiring, None);
    let told = AuditQuery { action: Some(AuditAction::Rotate), ..AuditQuery::default() };
    assert_eq!(catalog.audit(&shop.actor, told).await.unwrap().items.len(), 2);

    let reopened = world.reopen(new.clone()).await.unwrap();
    shop.assert_intact(&reopened.catalog).await;
    assert_eq!(reopened.catalog.get_or_create_blob("ca", Vec::new).await.unwrap(), blob);
    assert_eq!(reopened.project(&keyed).await, made);
    assert_eq!(reopened.catalog.verify_audit(&shop.actor).await.unwrap().fault, None);
    let refused = reopened.reopen(old.clone()).await.map(drop);
    assert_error!(refused, OpenError::WrongMasterKey { name: Some(name) } if name == new.name());
}

#[tokio::test]
async fn while_it_is_replaced_both_keys_open_the_database_and_each_alone_says_which_is_missing() {
    let mut world = World::new().await;
    let shop = Shop::new(&world, 1, 2).await;
    let (old, new) = (world.master.clone(), next_master());
    world.catalog.rotate_master_key(&shop.actor, &new).await.unwrap();
    let disk = world.disk.clone();
    let opened = async |keys: MasterKeys| {
        // On a copy: a store that was refused is not the world's any more.
        let disk = outrigger_store::faults::Disk::with_content(disk.content());
        let store = crate::world::store_on(&disk);
        outrigger_catalog::Catalog::open(store, keys, crate::world::clock().0).await.map(drop)
    };
    world.store.close().await.unwrap();
    let refused = opened(old.clone().into()).await;
    assert_error!(refused, OpenError::HalfRotated { missing: "new", name } if name == new.name());
    let refused = opened(new.clone().into()).await;
    assert_error!(refused, OpenError::HalfRotated { missing: "old", name } if name == old.name());
    assert_error!(opened(both(&old, &MasterKey::generate())).await, OpenError::HalfRotated { missing: "new", .. });
    assert_error!(opened(both(&next_master(), &next_master())).await, OpenError::WrongMasterKey { .. });
    opened(both(&new, &old)).await.expect("which of them is called the next does not matter");

    world = world.reopen(both(&old, &new)).await.unwrap();
    shop.assert_intact(&world.catalog).await;
    finish(&world.catalog, KeyKind::Master).await;
    // The settings still say what they said when it began.
    world = world.reopen(both(&old, &new)).await.unwrap();
    assert_eq!(world.catalog.master_key_name(), new.name());
    shop.assert_intact(&world.catalog).await;
    let refused = world.catalog.rotate_master_key(&shop.actor, &new).await;
    assert_error!(refused, CatalogError::Conflict { what } if what.contains("already"));
}

#[tokio::test]
async fn a_second_request_gets_the_rotation_that_runs_and_another_key_has_to_wait() {
    let world = World::new().await;
    let shop = Shop::new(&world, 1, 1).await;
    let (new, third) = (next_master(), next_master());
    let first = world.catalog.rotate_master_key(&shop.actor, &new).await.unwrap();
    assert_eq!(world.catalog.rotate_master_key(&shop.actor, &third).await.unwrap().id, first.id);
    finish(&world.catalog, KeyKind::Master).await;
    assert_eq!(world.catalog.master_key_name(), new.name());
    world.catalog.rotate_master_key(&shop.actor, &third).await.unwrap();
    finish(&world.catalog, KeyKind::Master).await;
    let world = world.reopen(third).await.unwrap();
    shop.assert_intact(&world.catalog).await;
}

#[tokio::test]
async fn both_kinds_of_keys_can_be_replaced_at_the_same_time() {
    let world = World::new().await;
    let shop = Shop::new(&world, 2, 2).await;
    let new = next_master();
    world.catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
    world.catalog.rotate_master_key(&shop.actor, &new).await.unwrap();
    for _ in 0..40 {
        world.catalog.advance_rotation(shop.kind()).await.unwrap();
        world.catalog.advance_rotation(KeyKind::Master).await.unwrap();
        shop.assert_intact(&world.catalog).await;
    }
    assert!(world.catalog.running_rotations().await.unwrap().is_empty());
    let world = world.reopen(new).await.unwrap();
    shop.assert_intact(&world.catalog).await;
}

#[tokio::test]
async fn a_process_without_the_new_key_neither_reads_nor_writes_what_it_cannot() {
    let world = World::new().await;
    let shop = Shop::new(&world, 1, 1).await;
    let clock = crate::world::clock().0;
    let behind = outrigger_catalog::Catalog::open(world.store.clone(), world.master.clone(), clock).await.unwrap();
    world.catalog.rotate_master_key(&shop.actor, &next_master()).await.unwrap();
    let environment = shop.environments[0].id;
    let change = behind.change_variables(&shop.actor, environment, vec![plain("A", "1")], None, String::new()).await;
    assert_error!(change, CatalogError::MasterKeyReplaced);
    finish(&world.catalog, KeyKind::Master).await;
    assert_error!(behind.effective(shop.actor.organization, environment).await, CatalogError::MasterKeyReplaced);
    assert_eq!(world.catalog.verify_audit(&shop.actor).await.unwrap().fault, None, "its log was left alone");
    assert!(!world.catalog.audit(&shop.actor, Page::default()).await.unwrap().items.is_empty());
}
