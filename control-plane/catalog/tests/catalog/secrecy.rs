use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::model::{Origin, Role};
use outrigger_catalog::{Catalog, CatalogError, NewAccount, OpenError, Page};
use outrigger_protocol::environment::VariableKind;
use outrigger_secrets::{MasterKey, SecretString};
use outrigger_store::faults::Disk;
use outrigger_store::{Options, RedbStore, SharedStore, Transaction};

use crate::world::{World, assert_error, clock, owner, put, secret, store_on, with_key, with_role};

const CANARY: &str = "canary-4f1d0b7c9e";

fn holds(content: &[u8], needle: &[u8]) -> bool {
    content.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outrigger.redb");
    let store: SharedStore = Arc::new(RedbStore::open(&path, Options::default()).unwrap());
    let master = MasterKey::generate();
    let catalog = Catalog::open(Arc::clone(&store), master.clone(), clock().0).await.unwrap();
    let new =
        NewAccount { email: "ada@example.org".to_owned(), password: SecretString::from(CANARY), name: String::new() };
    let (_, token) = catalog.register(new, Origin::default()).await.unwrap();
    let actor = with_key(&catalog.authenticate(token.expose()).await.unwrap(), "k", 1);
    let new = outrigger_catalog::NewProject { name: "visible-name".to_owned(), description: String::new() };
    let project = catalog.create_project(&actor, new).await.unwrap();
    let new = crate::world::environment_of(&project, "main");
    let environment = catalog.create_environment(&actor, new).await.unwrap();
    let changes = vec![
        secret("S", CANARY),
        put("K", Some(CANARY), VariableKind::Secret, false),
        put("J", Some(&format!("{{\"a\":\"{CANARY}\"}}")), VariableKind::Json, true),
    ];
    catalog.change_variables(&actor, environment.id, changes, None, String::new()).await.unwrap();
    let changes = vec![secret("S", &format!("{CANARY}-2"))];
    let again = with_key(&actor, "k2", 2);
    catalog.change_variables(&again, environment.id, changes, None, String::new()).await.unwrap();
    catalog.get_or_create_blob("ca", || CANARY.as_bytes().to_vec()).await.unwrap();
    let operator = catalog.ensure_operator(None).await.unwrap().unwrap();
    store.close().await.unwrap();

    let content = std::fs::read(&path).unwrap();
    assert!(holds(&content, b"visible-name"), "the search works");
    for absent in [CANARY, token.expose(), operator.expose(), master.to_text().expose()] {
        assert!(!holds(&content, absent.as_bytes()));
    }
    // Nor in the form that plain values are kept in.
    use base64::Engine;
    for offset in 0..3 {
        let shifted = &CANARY.as_bytes()[offset..];
        let coded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&shifted[..12]);
        assert!(!holds(&content, coded.as_bytes()), "{coded}");
    }
}

#[tokio::test]
async fn a_secret_is_in_no_debug_form_no_error_and_no_audit_entry() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let change = secret("S", CANARY);
    let mut shown = format!("{change:?} {:?}", world.catalog);
    world.change(&actor, &environment, vec![change]).await;
    let (generation, effective) = world.catalog.effective(actor.organization, environment.id).await.unwrap();
    shown += &format!("{generation:?} {effective:?}");
    shown += &format!("{:?}", world.catalog.variables(&actor, environment.id).await);
    shown += &format!("{:?}", world.catalog.reveal(&actor, environment.id, "S").await);
    for bad in [put("N", Some(CANARY), VariableKind::Number, true), put("J", Some(CANARY), VariableKind::Json, true)] {
        let error =
            world.catalog.change_variables(&actor, environment.id, vec![bad], None, String::new()).await.unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    let developer = with_role(&actor, Role::Developer);
    shown += &format!("{:?}", world.catalog.reveal(&developer, environment.id, "S").await);
    shown += &format!("{:?}", world.catalog.audit(&actor, Page::default()).await.unwrap());
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains("NotNumber") || shown.contains("finite number"), "the errors were made: {shown}");
}

#[tokio::test]
async fn another_master_key_is_refused_and_the_database_is_untouched() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![secret("S", CANARY)]).await;
    let (master, disk, revision) = (world.master.clone(), world.disk.clone(), world.store.revision());
    assert_error!(world.reopen(MasterKey::generate()).await.map(drop), OpenError::WrongMasterKey { .. });

    let store = store_on(&disk);
    assert_eq!(store.revision(), revision);
    let catalog = Catalog::open(store, master, clock().0).await.unwrap();
    assert_eq!(catalog.reveal(&actor, environment.id, "S").await.unwrap().expose(), CANARY);
}

#[tokio::test]
async fn a_key_is_never_made_for_a_database_that_has_content() {
    let disk = Disk::new();
    let store = store_on(&disk);
    store.commit(Transaction::new().put("tsomething", "else")).await.unwrap();
    let opened = Catalog::open(Arc::clone(&store), MasterKey::generate(), clock().0).await;
    assert_error!(opened, OpenError::MissingKeyCheck);
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn a_sealed_value_that_was_moved_to_another_variable_does_not_open() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    world.change(&actor, &environment, vec![secret("MINE", CANARY), secret("OTHER", "x")]).await;
    let rows = world.store.list(outrigger_store::KeyRange::all(), 10_000).await.unwrap().entries;
    let row = |name: &str| {
        let named = |row: &&outrigger_store::Entry| {
            let key = row.key.to_string();
            key.contains("variable\\x00\\x01") && key.ends_with(&format!("{name}\\x00\\x01"))
        };
        rows.iter().find(named).unwrap_or_else(|| panic!("the row of {name}")).clone()
    };
    let moved = Transaction::new().put(row("OTHER").key, row("MINE").value);
    world.store.commit(moved).await.unwrap();
    let opened = world.catalog.reveal(&actor, environment.id, "OTHER").await;
    assert_error!(opened, CatalogError::Open { .. });
    assert_error!(world.catalog.effective(actor.organization, environment.id).await, CatalogError::Open { .. });
}

#[tokio::test]
async fn an_installation_secret_is_made_once_and_survives() {
    let world = World::new().await;
    let first = world.catalog.get_or_create_blob("ca", || b"key".to_vec()).await.unwrap();
    let again = world.catalog.get_or_create_blob("ca", || panic!("it is there")).await.unwrap();
    assert_eq!(first, again);
    let master = world.master.clone();
    let world = world.reopen(master).await.unwrap();
    let again = world.catalog.get_or_create_blob("ca", || panic!("it is there")).await.unwrap();
    assert_eq!(again.expose(), b"key");
    let other = world.catalog.get_or_create_blob("endpoint", || b"other".to_vec()).await.unwrap();
    assert_eq!(other.expose(), b"other");
}

#[tokio::test]
async fn erasing_a_project_destroys_its_key_and_its_values() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    world.change(&actor, &environment, vec![secret("S", CANARY), crate::world::plain("PLAIN_ONE", "x")]).await;
    world.pass(Duration::from_secs(1));
    world.catalog.delete_project(&actor, project.id).await.unwrap();
    assert_error!(world.catalog.project(&actor, project.id).await, CatalogError::NotFound { .. });
    assert_error!(world.catalog.environment(&actor, environment.id).await, CatalogError::NotFound { .. });
    let rows = world.store.list(outrigger_store::KeyRange::all(), 10_000).await.unwrap().entries;
    // Neither is the project's: which master key protects the database, and where the audit log of all stands.
    let of_others = |key: &String| key.contains("key-check") || key.contains("audit-head");
    let left: Vec<_> = rows.iter().map(|row| row.key.to_string()).filter(|key| !of_others(key)).collect();
    assert!(left.is_empty(), "{left:?}");
}
