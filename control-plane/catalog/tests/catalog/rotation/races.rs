//! Changes and rotations get into each other's way at every point where they can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_catalog::model::{Actor, Environment, KeyKind, VariableChange};
use outrigger_catalog::{At, Catalog, CatalogError};
use outrigger_secrets::MasterKey;
use outrigger_store::SharedStore;
use outrigger_store::faults::Disk;
use proptest::prelude::*;

use super::interposed::Interposed;
use super::{Content, Shop, content_at, finish, next_master, operator};
use crate::world::{World, clock, delete, environment_of, plain, secret, store_on};

#[tokio::test]
async fn a_change_that_was_under_way_for_a_whole_rotation_seals_nothing_under_the_old_key() {
    for kind_is_master in [false, true] {
        let disk = Disk::new();
        let store = Arc::new(Interposed::over(store_on(&disk)));
        let shared: SharedStore = store.clone();
        let (master, next) = (MasterKey::generate(), next_master());
        let catalog = Catalog::open(shared, master, clock().0).await.unwrap();
        let actor = operator(&catalog).await;
        let new = outrigger_catalog::NewProject { name: "shop".to_owned(), description: String::new() };
        let project = catalog.create_project(&actor, new).await.unwrap();
        let environment = catalog.create_environment(&actor, environment_of(&project, "main")).await.unwrap();
        let change = async |value: &str| {
            let keyed = crate::world::with_key(&actor, value, 1);
            let changes = vec![secret("A", value)];
            catalog.change_variables(&keyed, environment.id, changes, None, String::new()).await.unwrap()
        };
        change("first").await;
        let data = KeyKind::Data { organization: project.organization, project: project.id };
        let kind = if kind_is_master { KeyKind::Master } else { data };
        let (inner, operator, id) = (catalog.clone(), actor.clone(), project.id);
        store.before_the_next_commit(async move {
            match kind {
                KeyKind::Master => inner.rotate_master_key(&operator, &next).await.unwrap(),
                KeyKind::Data { .. } => inner.rotate_data_key(&operator, id).await.unwrap(),
            };
            finish(&inner, kind).await;
        });
        change("second").await;
        let keys = catalog.data_keys_of(&actor, project.id).await.unwrap();
        assert_eq!((keys.keys.len(), keys.keys[0].rows), (1, 2), "both versions are under the only key that there is");
        for (number, value) in [(1, "first"), (2, "second")] {
            let found = content_at(&catalog, &actor, &environment, At::Generation(number)).await;
            assert_eq!(found["A"], value);
        }
        assert_eq!(change("second").await.number, 2, "its result was kept, sealed with the key of now");
        assert_eq!(catalog.verify_audit(&actor).await.unwrap().fault, None);
    }
}

#[tokio::test]
async fn whoever_has_read_a_row_gets_its_key_however_late_it_is_fetched() {
    let disk = Disk::new();
    let store = Arc::new(Interposed::over(store_on(&disk)));
    let shared: SharedStore = store.clone();
    let catalog = Catalog::open(shared, MasterKey::generate(), clock().0).await.unwrap();
    let actor = operator(&catalog).await;
    let new = outrigger_catalog::NewProject { name: "shop".to_owned(), description: String::new() };
    let project = catalog.create_project(&actor, new).await.unwrap();
    let environment = catalog.create_environment(&actor, environment_of(&project, "main")).await.unwrap();
    for value in ["first", "second"] {
        let changes = vec![secret("A", value)];
        catalog.change_variables(&actor, environment.id, changes, None, String::new()).await.unwrap();
    }
    let data = KeyKind::Data { organization: project.organization, project: project.id };
    let interpose = || {
        let (inner, operator, id) = (catalog.clone(), actor.clone(), project.id);
        store.before_the_next_data_key(async move {
            inner.rotate_data_key(&operator, id).await.unwrap();
            finish(&inner, data).await;
        });
    };
    interpose();
    let (_, effective) = catalog.effective(project.organization, environment.id).await.unwrap();
    assert_eq!(effective.entries[0].value.as_ref().unwrap().as_str(), "second");
    interpose();
    assert_eq!(catalog.reveal(&actor, environment.id, "A").await.unwrap().expose(), "second");
    interpose();
    assert_eq!(content_at(&catalog, &actor, &environment, At::Generation(1)).await["A"], "first");
    assert!(store.take().is_none(), "each of them came to fetch a key");
    assert_eq!(catalog.data_keys_of(&actor, project.id).await.unwrap().keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_rotation_while_everybody_reads_and_writes() {
    let world = World::new().await;
    let shop = Arc::new(Shop::new(&world, 2, 20).await);
    let next = next_master();
    let catalog = &world.catalog;
    let writers = (0..2).map(|at| {
        let (catalog, shop) = (catalog.clone(), Arc::clone(&shop));
        tokio::spawn(async move {
            for round in 0..40 {
                let changes = vec![secret(&format!("S{}", round % 20), &format!("w{round}"))];
                let environment = shop.environments[at].id;
                catalog.change_variables(&shop.actor, environment, changes, None, String::new()).await.unwrap();
            }
        })
    });
    let readers = (0..2).map(|at| {
        let (catalog, shop) = (catalog.clone(), Arc::clone(&shop));
        tokio::spawn(async move {
            for _ in 0..200 {
                let (organization, environment) = (shop.actor.organization, shop.environments[at].id);
                let (_, effective) = catalog.effective(organization, environment).await.unwrap();
                assert_eq!(effective.entries.len(), 21);
            }
        })
    });
    let tasks: Vec<_> = writers.chain(readers).collect();
    for round in 0..4 {
        catalog.rotate_data_key(&shop.actor, shop.project.id).await.unwrap();
        finish(catalog, shop.kind()).await;
        if round == 1 {
            catalog.rotate_master_key(&shop.actor, &next).await.unwrap();
            finish(catalog, KeyKind::Master).await;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    for (environment, history) in shop.environments.iter().zip(&shop.history) {
        let newest = content_at(catalog, &shop.actor, environment, At::Now).await;
        for name in 0..20 {
            assert_eq!(newest[&format!("S{name}")], format!("w{}", 20 + name));
        }
        for (number, expected) in history {
            assert_eq!(content_at(catalog, &shop.actor, environment, At::Generation(*number)).await, *expected);
        }
    }
    let keys = shop.keys(catalog).await.keys;
    assert_eq!(keys.len(), 1);
    assert_eq!(catalog.verify_audit(&shop.actor).await.unwrap().fault, None);
}

/// Something that somebody does.
#[derive(Debug, Clone)]
enum Act {
    Change { environment: usize, name: u8, value: Option<u8>, is_secret: bool },
    GoBack { environment: usize, steps: usize },
    BeginData,
    BeginMaster,
    StepData,
    StepMaster,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (0..2_usize, 0..4_u8, proptest::option::weighted(0.8, 0..3_u8), proptest::bool::weighted(0.8))
            .prop_map(|(environment, name, value, is_secret)| Act::Change { environment, name, value, is_secret }),
        2 => (0..2_usize, 0..4_usize).prop_map(|(environment, steps)| Act::GoBack { environment, steps }),
        1 => Just(Act::BeginData),
        1 => Just(Act::BeginMaster),
        5 => Just(Act::StepData),
        3 => Just(Act::StepMaster),
    ]
}

/// What each environment is to say, in each of its generations.
type Expected = [BTreeMap<u64, Content>; 2];

#[derive(Clone)]
struct Scene {
    catalog: Catalog,
    actor: Actor,
    environments: [Environment; 2],
    /// Each rotation of the master key has a key of its own.
    masters: Arc<Mutex<Vec<MasterKey>>>,
    expected: Arc<Mutex<Expected>>,
}

impl Scene {
    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> KeyKind {
        let Environment { project, .. } = self.environments[0];
        KeyKind::Data { organization: self.actor.organization, project }
    }

    /// Does one thing, and notes what it comes to. What was decided is noted when it has happened, so that things that
    /// happen in between are noted before.
    async fn act(&self, act: &Act) {
        match act {
            Act::Change { environment, name, value, is_secret } => {
                let name = format!("V{name}");
                let change = match (value, is_secret) {
                    (None, _) => delete(&name),
                    (Some(value), true) => secret(&name, &value.to_string()),
                    (Some(value), false) => plain(&name, &value.to_string()),
                };
                self.change(*environment, change, &name, *value).await;
            }
            Act::GoBack { environment, steps } => {
                let (number, then) = {
                    let expected = self.expected();
                    let mut generations = expected[*environment].iter().rev();
                    let (number, content) = generations
                        .nth(*steps)
                        .unwrap_or_else(|| expected[*environment].iter().next().expect("there is always a first"));
                    (*number, content.clone())
                };
                let id = self.environments[*environment].id;
                let done = self.catalog.rollback(&self.actor, id, number, None, String::new()).await.unwrap();
                self.expected()[*environment].insert(done.number, then);
            }
            Act::BeginData => {
                let project = self.environments[0].project;
                self.catalog.rotate_data_key(&self.actor, project).await.unwrap();
            }
            Act::BeginMaster => {
                let next = next_master();
                let before = self.catalog.master_key_name();
                self.catalog.rotate_master_key(&self.actor, &next).await.unwrap();
                if self.catalog.master_key_name() != before {
                    self.masters.lock().unwrap_or_else(PoisonError::into_inner).push(next);
                }
            }
            Act::StepData => drop(self.catalog.advance_rotation(self.data()).await.unwrap()),
            Act::StepMaster => drop(self.catalog.advance_rotation(KeyKind::Master).await.unwrap()),
        }
    }

    async fn change(&self, environment: usize, change: VariableChange, name: &str, value: Option<u8>) {
        let id = self.environments[environment].id;
        match self.catalog.change_variables(&self.actor, id, vec![change], None, String::new()).await {
            Ok(generation) => {
                let mut expected = self.expected();
                let (_, newest) = expected[environment].last_key_value().expect("there is always a first");
                let mut content = newest.clone();
                match value {
                    Some(value) => drop(content.insert(name.to_owned(), value.to_string())),
                    None => drop(content.remove(name)),
                }
                expected[environment].insert(generation.number, content);
            }
            Err(CatalogError::NotFound { .. }) => assert_eq!(value, None, "only what is not there cannot be deleted"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn assert_as_expected(&self) {
        let expected = self.expected().clone();
        for (environment, history) in self.environments.iter().zip(&expected) {
            for (number, content) in history {
                let found = content_at(&self.catalog, &self.actor, environment, At::Generation(*number)).await;
                assert_eq!(found, *content, "generation {number}");
            }
            let newest = history.last_key_value().expect("there is always a first").1;
            assert_eq!(content_at(&self.catalog, &self.actor, environment, At::Now).await, *newest);
        }
    }
}

async fn play(script: Vec<(Act, Vec<Act>)>) {
    let disk = Disk::new();
    let store = Arc::new(Interposed::over(store_on(&disk)));
    let shared: SharedStore = store.clone();
    let master = MasterKey::generate();
    let catalog = Catalog::open(shared, master.clone(), clock().0).await.unwrap();
    let actor = operator(&catalog).await;
    let new = outrigger_catalog::NewProject { name: "shop".to_owned(), description: String::new() };
    let project = catalog.create_project(&actor, new).await.unwrap();
    let one = catalog.create_environment(&actor, environment_of(&project, "one")).await.unwrap();
    let two = catalog.create_environment(&actor, environment_of(&project, "two")).await.unwrap();
    let expected = std::array::from_fn(|_| BTreeMap::from([(0, Content::new())]));
    let scene = Scene {
        catalog,
        actor,
        environments: [one, two],
        masters: Arc::new(Mutex::new(vec![master])),
        expected: Arc::new(Mutex::new(expected)),
    };
    for (act, meanwhile) in script {
        let inner = scene.clone();
        // Two that would begin to replace the master key wait for each other, in one process as in this.
        let waits = |one: &Act| matches!(one, Act::BeginMaster | Act::StepMaster);
        let meanwhile: Vec<Act> = meanwhile.into_iter().filter(|one| !(waits(&act) && waits(one))).collect();
        store.before_the_next_commit(async move {
            for act in &meanwhile {
                inner.act(act).await;
            }
        });
        scene.act(&act).await;
        if let Some(late) = store.take() {
            late.await;
        }
        scene.assert_as_expected().await;
    }
    finish(&scene.catalog, scene.data()).await;
    finish(&scene.catalog, KeyKind::Master).await;
    scene.assert_as_expected().await;
    let keys = scene.catalog.data_keys_of(&scene.actor, project.id).await.unwrap().keys;
    assert_eq!(keys.len(), 1);
    assert_eq!(scene.catalog.verify_audit(&scene.actor).await.unwrap().fault, None);
    // And the last master key alone opens all of it.
    let last = scene.masters.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().expect("the first");
    let Scene { catalog, actor, environments, masters, expected } = scene;
    drop(catalog);
    outrigger_store::Store::close(&*store).await.unwrap();
    let catalog = Catalog::open(store_on(&disk), last, clock().0).await.unwrap();
    Scene { catalog, actor, environments, masters, expected }.assert_as_expected().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_while_something_is_decided_nothing_is_lost(
        script in proptest::collection::vec((acts(), proptest::collection::vec(acts(), 0..4)), 1..16)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(script));
    }
}
