//! Whatever somebody with the database file does to the audit log is found.

use std::collections::BTreeMap;

use bytes::Bytes;
use outrigger_catalog::model::{Actor, AuditAction, Role};
use outrigger_catalog::{AuditFault, AuditQuery, AuditVerification, Page};
use outrigger_protocol::id::OrganizationId;
use outrigger_store::{ChangeKind, Key, KeyRange, LogName, LogPosition, Transaction, tampering};

use crate::world::{World, assert_error, delete, environment_of, owner, secret, with_role};

type Entries = BTreeMap<LogPosition, Bytes>;

fn tenant_key(organization: OrganizationId, table: &str) -> Key {
    Key::builder().array(b"t").array(&organization.to_bytes()).text(table).build()
}

fn log_of(actor: &Actor) -> LogName {
    LogName::from(tenant_key(actor.organization, "audit"))
}

fn head_of(actor: &Actor) -> Key {
    tenant_key(actor.organization, "audit-head")
}

/// A log of ten entries.
async fn world_of_ten(actor: &Actor) -> World {
    let world = World::new().await;
    for _ in 0..10 {
        world.project(actor).await;
    }
    world
}

async fn verify(world: &World, actor: &Actor) -> AuditVerification {
    world.catalog.verify_audit(actor).await.unwrap()
}

/// The same world, after somebody has rewritten the log in its file.
async fn tampered(world: World, actor: &Actor, change: impl FnOnce(&mut Entries)) -> World {
    world.store.close().await.unwrap();
    tampering::rewrite_log(world.disk.backend(), &log_of(actor), change);
    let master = world.master.clone();
    world.reopen(master).await.unwrap()
}

#[tokio::test]
async fn an_untouched_log_verifies_and_its_head_changes_with_every_entry() {
    let actor = owner();
    let world = World::new().await;
    let nothing = AuditVerification { entries: 0, before_chain: 0, head: None, fault: None };
    assert_eq!(verify(&world, &actor).await, nothing);
    let mut heads = Vec::new();
    for entries in 1..=3 {
        world.project(&actor).await;
        let found = verify(&world, &actor).await;
        assert_eq!((found.entries, found.before_chain, found.fault), (entries, 0, None));
        assert!(!heads.contains(&found.head));
        heads.push(found.head);
    }
    let other = owner();
    world.project(&other).await;
    assert_eq!(verify(&world, &actor).await.head, heads[2], "every tenant has a chain of its own");
    assert_error!(
        world.catalog.verify_audit(&with_role(&actor, Role::Developer)).await,
        outrigger_catalog::CatalogError::Forbidden { .. }
    );
}

#[tokio::test]
async fn every_kind_of_tampering_with_the_log_is_found_at_its_place() {
    fn edit(entries: &mut Entries, position: u64) {
        let text = String::from_utf8_lossy(&entries[&position][33..]).replace("project", "prodigy");
        let edited = [&entries[&position][..33], text.as_bytes()].concat();
        assert_ne!(edited, entries[&position]);
        entries.insert(position, edited.into());
    }
    type Tampering = fn(&mut Entries);
    let cases: [(&str, Tampering, AuditFault); 10] = [
        ("edit", |log| edit(log, 4), AuditFault::Changed { position: 4 }),
        ("edit of the first", |log| edit(log, 0), AuditFault::Changed { position: 0 }),
        ("edit of the last", |log| edit(log, 9), AuditFault::Changed { position: 9 }),
        ("removal", |log| drop(log.remove(&4)), AuditFault::Removed { position: 4 }),
        ("removal of the first", |log| drop(log.remove(&0)), AuditFault::Removed { position: 0 }),
        ("truncation", |log| drop(log.split_off(&7)), AuditFault::Removed { position: 7 }),
        ("removal of all", |log| log.clear(), AuditFault::Removed { position: 0 }),
        (
            "reorder",
            |log| {
                let (third, sixth) = (log[&3].clone(), log[&6].clone());
                log.insert(3, sixth);
                log.insert(6, third);
            },
            AuditFault::Changed { position: 2 },
        ),
        (
            "removal with all behind it moved up",
            |log| {
                let rest = log.split_off(&5);
                log.extend(rest.into_iter().skip(1).map(|(position, entry)| (position - 1, entry)));
            },
            AuditFault::Changed { position: 4 },
        ),
        (
            "an entry of before the chain in place of a chained one",
            |log| {
                let row = log[&5].slice(33..);
                log.insert(5, row);
            },
            AuditFault::Added { position: 5 },
        ),
    ];
    for (what, tampering, fault) in cases {
        let actor = owner();
        let world = tampered(world_of_ten(&actor).await, &actor, tampering).await;
        assert_eq!(verify(&world, &actor).await.fault, Some(fault), "{what}");
        // Going on does not make up for it.
        world.project(&actor).await;
        assert!(verify(&world, &actor).await.fault.is_some(), "{what}, with another entry");
    }
}

#[tokio::test]
async fn an_entry_that_the_head_does_not_know_is_found() {
    let actor = owner();
    let world = tampered(world_of_ten(&actor).await, &actor, |log| {
        let last = log[&9].clone();
        log.insert(10, last);
    });
    let found = verify(&world.await, &actor).await;
    assert_eq!(found.fault, Some(AuditFault::Added { position: 10 }));
}

#[tokio::test]
async fn a_head_that_was_removed_replaced_or_brought_from_elsewhere_is_found() {
    let (actor, other) = (owner(), owner());
    let world = world_of_ten(&actor).await;
    world.project(&other).await;
    let genuine = world.store.get(&head_of(&actor)).await.unwrap().unwrap().value;
    let foreign = world.store.get(&head_of(&other)).await.unwrap().unwrap().value;
    let put = async |value: Bytes| {
        world.store.commit(Transaction::new().put(head_of(&actor), value)).await.unwrap();
        verify(&world, &actor).await.fault
    };
    assert_eq!(put(genuine.clone()).await, None);
    assert_eq!(put(foreign).await, Some(AuditFault::HeadForged));
    assert_eq!(put(Bytes::from_static(b"nonsense")).await, Some(AuditFault::HeadForged));
    world.project(&actor).await;
    assert_eq!(verify(&world, &actor).await.fault, Some(AuditFault::HeadForged), "it is never signed again");
    assert_eq!(put(genuine).await, Some(AuditFault::Added { position: 10 }), "an old head does not know the newest");
    world.store.commit(Transaction::new().delete(head_of(&actor))).await.unwrap();
    assert_eq!(verify(&world, &actor).await.fault, Some(AuditFault::HeadMissing));
    world.project(&actor).await;
    assert!(verify(&world, &actor).await.fault.is_some());
}

#[tokio::test]
async fn entries_of_before_the_chain_are_counted_and_read_and_the_chain_begins_behind_them() {
    let actor = owner();
    let world = world_of_ten(&actor).await;
    world.store.commit(Transaction::new().delete(head_of(&actor))).await.unwrap();
    let world = tampered(world, &actor, |log| {
        for entry in log.values_mut() {
            *entry = entry.slice(33..);
        }
    })
    .await;
    let found = verify(&world, &actor).await;
    assert_eq!((found.entries, found.before_chain, found.head, found.fault), (10, 10, None, None));
    world.project(&actor).await;
    let found = verify(&world, &actor).await;
    assert_eq!((found.entries, found.before_chain, found.fault), (11, 10, None));
    assert_eq!(world.catalog.audit(&actor, Page::default()).await.unwrap().items.len(), 11);
    let world = tampered(world, &actor, |log| drop(log.remove(&3))).await;
    assert_eq!(verify(&world, &actor).await.fault, Some(AuditFault::Removed { position: 3 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_organisation_all_get_through_and_into_one_chain() {
    let world = World::new().await;
    let actor = owner();
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let (catalog, actor) = (world.catalog.clone(), actor.clone());
            let new = outrigger_catalog::NewProject { name: format!("p{writer}"), description: String::new() };
            tokio::spawn(async move { catalog.create_project(&actor, new).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let found = verify(&world, &actor).await;
    assert_eq!((found.entries, found.fault), (64, None));
    assert_eq!(world.store.stats().conflicts, 0, "nobody stood in anybody's way");
}

#[tokio::test]
async fn nothing_of_a_tenant_is_committed_without_its_entry() {
    let world = World::new().await;
    let actor = owner();
    let first = world.store.revision() + 1;
    let deployment = world.deployment(&actor).await;
    let environment = deployment.spec.environment;
    let change = |changes| world.catalog.change_variables(&actor, environment, changes, None, String::new());
    change(vec![secret("A", "1")]).await.unwrap();
    world.catalog.reveal(&actor, environment, "A").await.unwrap();
    change(vec![delete("A")]).await.unwrap();
    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
    let last = world.store.revision();
    let mut watch = world.store.watch(KeyRange::all(), first);
    for revision in first..=last {
        let event = watch.next().await.unwrap();
        assert_eq!(event.revision, revision);
        let told = |change: &outrigger_store::Change| {
            change.key == head_of(&actor) && matches!(change.kind, ChangeKind::Put(_))
        };
        assert!(event.changes.iter().any(told), "revision {revision} says nothing of itself: {event:?}");
    }
}

#[tokio::test]
async fn fingerprints_show_a_value_that_was_changed_back_and_nothing_else() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    for changes in [
        vec![secret("A", "one"), secret("B", "one")],
        vec![secret("A", "two")],
        vec![secret("A", "one")],
        vec![delete("A")],
    ] {
        world.catalog.change_variables(&actor, environment.id, changes, None, String::new()).await.unwrap();
    }
    let entries = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let of = |name: &str| {
        let target = format!("{}/{name}", environment.id);
        let prints = entries.iter().rev().filter(|entry| entry.target == target);
        prints.map(|entry| (entry.before, entry.after)).collect::<Vec<_>>()
    };
    let (a, b) = (of("A"), of("B"));
    let (one, two) = (a[0].1, a[1].1);
    assert!(one.is_some() && two.is_some() && one != two);
    assert_eq!(a, [(None, one), (one, two), (two, one), (one, None)]);
    assert_ne!(b[0].1, one, "that two variables are equal is nobody's business");
}

#[tokio::test]
async fn a_filter_finds_what_it_names_in_pages() {
    let world = World::new().await;
    let actor = owner();
    let (wanted, other) = (world.project(&actor).await, world.project(&actor).await);
    for (name, project) in [("a", &wanted), ("b", &other), ("c", &wanted)] {
        world.catalog.create_environment(&actor, environment_of(project, name)).await.unwrap();
    }
    let find = async |query: AuditQuery| {
        let mut found = Vec::new();
        let mut page = Page { limit: Some(1), cursor: None };
        loop {
            let listing = world.catalog.audit(&actor, AuditQuery { page, ..query.clone() }).await.unwrap();
            assert!(listing.items.len() <= 1);
            found.extend(listing.items);
            match listing.next {
                None => return found,
                next => page = Page { limit: Some(1), cursor: next },
            }
        }
    };
    let all = AuditQuery::default();
    assert_eq!(find(all.clone()).await.len(), 5);
    let of_project = find(AuditQuery { project: Some(wanted.id), ..all.clone() }).await;
    assert_eq!(of_project.len(), 3);
    assert!(of_project.iter().all(|entry| entry.project == Some(wanted.id)));
    let of_actor = AuditQuery { actor: Some(actor.subject.to_string()), ..all.clone() };
    assert_eq!(find(of_actor).await.len(), 5);
    assert_eq!(find(AuditQuery { actor: Some("nobody".to_owned()), ..all.clone() }).await.len(), 0);
    assert_eq!(find(AuditQuery { action: Some(AuditAction::Create), ..all.clone() }).await.len(), 5);
    assert_eq!(find(AuditQuery { action: Some(AuditAction::Login), ..all.clone() }).await.len(), 0);
    assert_eq!(find(AuditQuery { from: Some(world.now()), ..all.clone() }).await.len(), 5);
    assert_eq!(find(AuditQuery { to: Some(world.now()), ..all }).await.len(), 0);
}

#[tokio::test]
async fn a_head_that_was_noted_down_has_to_be_in_the_log() {
    let actor = owner();
    let world = world_of_ten(&actor).await;
    let then = verify(&world, &actor).await.head;
    let older = world.disk.content();
    world.project(&actor).await;
    let later = verify(&world, &actor).await.head;
    for expected in [then, later] {
        assert_eq!(world.catalog.verify_audit_against(&actor, expected).await.unwrap().fault, None);
    }
    let unexpected = world.catalog.verify_audit_against(&actor, Some([7; 32])).await.unwrap();
    assert_eq!((unexpected.entries, unexpected.fault), (11, Some(AuditFault::Unexpected)));

    // An older copy of the whole database is a chain without a fault, but not the one that is known of.
    let (disk, master) = (outrigger_store::faults::Disk::with_content(older), world.master.clone());
    let older = World { disk, ..world }.reopen(master).await.unwrap();
    assert_eq!(verify(&older, &actor).await.fault, None);
    let found = older.catalog.verify_audit_against(&actor, later).await.unwrap();
    assert_eq!(found.fault, Some(AuditFault::Unexpected));
    assert!(found.fault.unwrap().to_string().contains("older copy"));
}
