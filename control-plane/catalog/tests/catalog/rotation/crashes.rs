//! The power fails, or the process is killed, at every single operation on the disk in turn.

use outrigger_catalog::model::KeyKind;
use outrigger_catalog::{Catalog, CatalogError, MasterKeys, RotationStep};
use outrigger_secrets::MasterKey;
use outrigger_store::faults::{Disk, Fault};

use super::{Shop, finish, next_master};
use crate::world::{World, clock, store_on, with_key};

/// What is on the disk before a rotation.
struct Before {
    content: Vec<u8>,
    shop: Shop,
    master: MasterKey,
    next: MasterKey,
}

impl Before {
    async fn new() -> Self {
        let world = World::new().await;
        let shop = Shop::new(&world, 2, 2).await;
        world.catalog.get_or_create_blob("ca", || b"private key".to_vec()).await.unwrap();
        world.project(&with_key(&shop.actor, "once", 1)).await;
        world.store.close().await.unwrap();
        Self { content: world.disk.content(), shop, master: world.master, next: next_master() }
    }

    fn keys(&self) -> MasterKeys {
        MasterKeys { current: self.master.clone(), next: Some(self.next.clone()) }
    }

    async fn open(&self, disk: &Disk) -> Catalog {
        Catalog::open(store_on(disk), self.keys(), clock().0).await.expect("both keys open it at any time")
    }

    /// Begins a rotation, unless one is under way or over.
    async fn begin(&self, catalog: &Catalog, kind: KeyKind) -> Result<(), CatalogError> {
        let begun = match kind {
            KeyKind::Data { project, .. } => catalog.data_keys_of(&self.shop.actor, project).await?.rotation,
            KeyKind::Master => catalog.master_key(&self.shop.actor).await?.rotation,
        };
        if begun.is_none() {
            match kind {
                KeyKind::Data { project, .. } => catalog.rotate_data_key(&self.shop.actor, project).await?,
                KeyKind::Master => catalog.rotate_master_key(&self.shop.actor, &self.next).await?,
            };
        }
        Ok(())
    }

    /// A whole rotation, as far as the disk lets it.
    async fn rotate(&self, catalog: &Catalog, kind: KeyKind) -> Result<(), CatalogError> {
        self.begin(catalog, kind).await?;
        while catalog.advance_rotation(kind).await? == RotationStep::More {}
        Ok(())
    }

    /// Fails at one operation after another, until a rotation meets none.
    async fn fail_everywhere(&self, kind: KeyKind, fault: impl Fn(u64) -> Fault) {
        let mut failures = 0;
        for operation in 0.. {
            let disk = Disk::with_content(self.content.clone());
            let catalog = self.open(&disk).await;
            disk.set_fault(disk.operations() + operation, fault(operation));
            let outcome = self.rotate(&catalog, kind).await;
            disk.restart();
            drop(catalog);
            let whole = outcome.is_ok();
            failures += u64::from(!whole);

            let catalog = self.open(&disk).await;
            self.shop.assert_intact(&catalog).await;
            self.begin(&catalog, kind).await.unwrap();
            finish(&catalog, kind).await;
            self.assert_over(&catalog, kind).await;
            if whole {
                assert!(failures > 50, "the fault was met {failures} times");
                return;
            }
        }
    }

    async fn assert_over(&self, catalog: &Catalog, kind: KeyKind) {
        self.shop.assert_intact(catalog).await;
        let blob = catalog.get_or_create_blob("ca", Vec::new).await.unwrap();
        assert_eq!(blob.expose(), b"private key");
        assert_eq!(catalog.verify_audit(&self.shop.actor).await.unwrap().fault, None);
        let keys = self.shop.keys(catalog).await;
        match kind {
            KeyKind::Data { .. } => {
                assert_eq!(keys.keys.len(), 1, "the old key is gone");
                let rotation = keys.rotation.unwrap();
                assert_eq!((keys.keys[0].id, keys.keys[0].rows), (rotation.id, 8));
                assert!(!rotation.is_running() && rotation.done == 8, "each row counts once: {rotation:?}");
                assert_eq!(keys.keys[0].encryptions, 8);
            }
            KeyKind::Master => {
                let shown = catalog.master_key(&self.shop.actor).await.unwrap();
                assert_eq!((shown.name, shown.retiring), (self.next.name(), None));
            }
        }
    }
}

#[tokio::test]
async fn a_data_key_is_replaced_whatever_write_the_power_fails_in() {
    let before = Before::new().await;
    before.fail_everywhere(before.shop.kind(), |seed| Fault::LosePower { seed }).await;
}

#[tokio::test]
async fn a_data_key_is_replaced_whatever_operation_the_disk_stops_at() {
    let before = Before::new().await;
    before.fail_everywhere(before.shop.kind(), |_| Fault::FailOnwards).await;
}

#[tokio::test]
async fn the_master_key_is_replaced_whatever_write_the_power_fails_in() {
    let before = Before::new().await;
    before.fail_everywhere(KeyKind::Master, |seed| Fault::LosePower { seed }).await;
}

#[tokio::test]
async fn the_master_key_is_replaced_whatever_operation_the_disk_stops_at() {
    let before = Before::new().await;
    before.fail_everywhere(KeyKind::Master, |_| Fault::FailOnwards).await;
}
