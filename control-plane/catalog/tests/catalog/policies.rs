use std::time::Duration;

use bytes::Bytes;
use outrigger_catalog::{CatalogError, MAX_COMPONENT_BYTES, NewPolicy};
use outrigger_store::{KeyRange, Transaction};

use crate::world::{World, assert_error, owner, with_key};

fn described() -> NewPolicy {
    NewPolicy { name: "big".to_owned(), version: "1".to_owned(), config_schema: "{}".to_owned() }
}

fn component(bytes: usize) -> Bytes {
    (0..bytes).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

async fn chunks(world: &World) -> usize {
    let rows = world.store.list(KeyRange::all(), 10_000).await.unwrap().entries;
    rows.iter().filter(|row| row.key.to_string().contains("policy-chunk")).count()
}

#[tokio::test]
async fn a_large_component_reads_back_and_goes_whole() {
    let world = World::new().await;
    let actor = owner();
    // More than a transaction takes, and not a whole number of chunks.
    let large = component(9 * 1024 * 1024 + 17);
    let info = world.catalog.put_policy(&actor, large.clone(), described()).await.unwrap();
    assert_eq!(info.size_bytes, large.len() as u64);
    assert_eq!(world.catalog.policy_component(info.id).await.unwrap(), large);
    assert_eq!(chunks(&world).await, 19);
    world.catalog.delete_policy(&actor, info.id).await.unwrap();
    assert_eq!(chunks(&world).await, 0);
    assert_error!(world.catalog.policy_component(info.id).await, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn the_same_content_is_one_policy_per_organisation() {
    let world = World::new().await;
    let (actor, other) = (owner(), owner());
    let first = world.policy(&actor, b"same").await;
    assert_eq!(world.policy(&actor, b"same").await, first);
    assert_ne!(world.policy(&other, b"same").await.id, first.id);
    assert_ne!(world.policy(&actor, b"different").await.id, first.id);
    assert_eq!(world.catalog.policies(&actor).await.unwrap().len(), 2);
    assert_eq!(chunks(&world).await, 3);
}

#[tokio::test]
async fn a_key_stands_for_one_upload_also_when_the_content_is_there_already() {
    let world = World::new().await;
    let actor = owner();
    let first = world.policy(&actor, b"first").await;
    let put = async |request, content: &'static [u8]| {
        world.catalog.put_policy(&with_key(&actor, "k", request), Bytes::from_static(content), described()).await
    };
    assert_eq!(put(1, b"first").await.unwrap(), first);
    assert_eq!(put(1, b"first").await.unwrap(), first);
    for other in [&b"first"[..], b"second"] {
        assert_error!(put(2, other).await, CatalogError::IdempotencyMismatch);
    }
    assert_eq!((world.catalog.policies(&actor).await.unwrap().len(), chunks(&world).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_upload_twice_at_once_leaves_one_and_no_rest() {
    let world = World::new().await;
    let actor = owner();
    let uploads: Vec<_> = (0..4)
        .map(|_| {
            let (catalog, actor) = (world.catalog.clone(), actor.clone());
            tokio::spawn(async move { catalog.put_policy(&actor, component(600 * 1024), described()).await })
        })
        .collect();
    let mut ids = Vec::new();
    for upload in uploads {
        ids.push(upload.await.unwrap().unwrap().id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(chunks(&world).await, 2);
}

#[tokio::test]
async fn what_is_built_in_is_everybodys_and_nobodys_to_delete() {
    let world = World::new().await;
    let actor = owner();
    let bytes = Bytes::from_static(b"built in");
    let first = world.catalog.ensure_builtin("threshold", "1", bytes.clone(), "{}").await.unwrap();
    assert_eq!(world.catalog.ensure_builtin("threshold", "1", bytes.clone(), "{}").await.unwrap(), first);
    world.pass(Duration::from_millis(1));
    let newer = world.catalog.ensure_builtin("threshold", "2", Bytes::from_static(b"newer"), "{}").await.unwrap();
    let own = world.policy(&actor, b"own").await;
    assert_eq!(world.catalog.policies(&actor).await.unwrap(), [first.clone(), newer, own]);
    assert_eq!(world.catalog.policy(&actor, first.id).await.unwrap(), first);
    assert_eq!(world.catalog.policy_component(first.id).await.unwrap(), bytes);
    assert_error!(world.catalog.delete_policy(&actor, first.id).await, CatalogError::Conflict { .. });
}

#[tokio::test]
async fn a_damaged_component_is_noticed() {
    let world = World::new().await;
    let actor = owner();
    let info = world.policy(&actor, b"component").await;
    let rows = world.store.list(KeyRange::all(), 10_000).await.unwrap().entries;
    let chunk = rows.into_iter().find(|row| row.key.to_string().contains("policy-chunk")).unwrap();
    world.store.commit(Transaction::new().put(chunk.key, "changed")).await.unwrap();
    assert_error!(world.catalog.policy_component(info.id).await, CatalogError::DamagedComponent);
}

#[tokio::test]
async fn nothing_and_too_much_are_refused() {
    let world = World::new().await;
    let actor = owner();
    for size in [0, MAX_COMPONENT_BYTES + 1] {
        let refused = world.catalog.put_policy(&actor, Bytes::from(vec![0; size]), described()).await;
        assert_error!(refused, CatalogError::Validation(_));
    }
    assert_eq!(chunks(&world).await, 0);
}

#[tokio::test]
async fn the_rest_of_an_interrupted_upload_is_swept_and_a_running_one_is_not() {
    let world = World::new().await;
    world.catalog.ensure_operator(None).await.unwrap();
    let actor = owner();
    let kept = world.policy(&actor, b"kept").await;
    // An upload that was cut off before its row was written, in the place of the built-in ones.
    let stray = outrigger_protocol::id::PolicyId::new(world.now(), [7; 10]);
    let key = outrigger_store::Key::builder().array(b"i").text("policy-chunk").array(&stray.to_bytes()).u64(0).build();
    world.store.commit(Transaction::new().put(key, "half")).await.unwrap();
    assert_eq!(world.catalog.sweep().await.unwrap().uploads, 0);
    world.pass(Duration::from_secs(2 * 60 * 60));
    assert_eq!(world.catalog.sweep().await.unwrap().uploads, 1);
    assert_eq!(chunks(&world).await, 1);
    assert_eq!(&*world.catalog.policy_component(kept.id).await.unwrap(), b"kept");
}
