//! Keys are replaced under everything that goes on.

mod crashes;
mod data;
mod interposed;
mod master;
mod races;

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_catalog::model::{Actor, Environment, KeyKind, Project, ProjectKeys};
use outrigger_catalog::{At, Catalog, RotationStep};
use outrigger_secrets::{MasterKey, SecretString};
use outrigger_store::SharedStore;

use crate::world::{World, environment_of, plain, secret};

/// What an environment says: name and value.
pub(crate) type Content = BTreeMap<String, String>;

/// The operator of an installation.
pub(crate) async fn operator(catalog: &Catalog) -> Actor {
    let token = SecretString::from("ogr_operator_for_tests_of_rotation_0000");
    catalog.ensure_operator(Some(token.clone())).await.expect("an operator");
    catalog.authenticate(token.expose()).await.expect("the operator's token")
}

/// Steps until a rotation is over. Returns how many steps that took.
pub(crate) async fn finish(catalog: &Catalog, kind: KeyKind) -> usize {
    for step in 1..10_000 {
        if catalog.advance_rotation(kind).await.expect("a step") == RotationStep::Done {
            return step;
        }
    }
    panic!("the rotation does not end");
}

/// What an environment said in a generation, secrets included.
pub(crate) async fn content_at(catalog: &Catalog, actor: &Actor, environment: &Environment, at: At) -> Content {
    let (_, variables) =
        catalog.export_variables(actor, environment.id, at, false, true).await.expect("every value opens");
    let value = |value: Option<zeroize::Zeroizing<String>>| value.expect("it is set").to_string();
    variables.into_iter().map(|variable| (variable.name, value(variable.value))).collect()
}

/// A project with secrets, newest and replaced, in several environments.
pub(crate) struct Shop {
    pub(crate) actor: Actor,
    pub(crate) project: Project,
    pub(crate) environments: Vec<Environment>,
    /// What each of the environments said in each generation.
    pub(crate) history: Vec<BTreeMap<u64, Content>>,
}

impl Shop {
    pub(crate) async fn new(world: &World, environments: usize, secrets: usize) -> Self {
        let actor = operator(&world.catalog).await;
        let project = world.project(&actor).await;
        let mut shop = Self { actor, project, environments: Vec::new(), history: Vec::new() };
        for at in 0..environments {
            let new = environment_of(&shop.project, &format!("e{at}"));
            let environment = world.catalog.create_environment(&shop.actor, new).await.expect("a new environment");
            let mut history = BTreeMap::new();
            let mut content = Content::new();
            for round in 0..2 {
                let value = |name: usize| format!("{at}/{name}/{round}/canary");
                let mut changes: Vec<_> = (0..secrets).map(|name| secret(&format!("S{name}"), &value(name))).collect();
                changes.push(plain("PLAIN", &value(secrets)));
                content.extend((0..secrets).map(|name| (format!("S{name}"), value(name))));
                content.insert("PLAIN".to_owned(), value(secrets));
                let number = world.change(&shop.actor, &environment, changes).await;
                history.insert(number, content.clone());
            }
            shop.environments.push(environment);
            shop.history.push(history);
        }
        // Keys are listed in the order of their times.
        world.pass(Duration::from_secs(1));
        shop
    }

    pub(crate) const fn kind(&self) -> KeyKind {
        KeyKind::Data { organization: self.project.organization, project: self.project.id }
    }

    /// Every generation of every environment reads as it was written.
    pub(crate) async fn assert_intact(&self, catalog: &Catalog) {
        for (environment, history) in self.environments.iter().zip(&self.history) {
            for (number, expected) in history {
                let found = content_at(catalog, &self.actor, environment, At::Generation(*number)).await;
                assert_eq!(found, *expected, "generation {number}");
            }
            let newest = history.last_key_value().expect("something was written").1;
            let (_, effective) =
                catalog.effective(self.actor.organization, environment.id).await.expect("it can be put together");
            for entry in &effective.entries {
                assert_eq!(
                    entry.value.as_ref().map(|value| value.as_str()),
                    newest.get(&entry.name).map(String::as_str)
                );
            }
        }
    }

    pub(crate) async fn keys(&self, catalog: &Catalog) -> ProjectKeys {
        catalog.data_keys_of(&self.actor, self.project.id).await.expect("keys")
    }
}

/// The bytes of a row whose key holds a table's name, with its key.
pub(crate) async fn row_of(store: &SharedStore, table: &str) -> (outrigger_store::Key, Vec<u8>) {
    let page = store.range(outrigger_store::KeyRange::all(), outrigger_store::RangeOptions::default()).await;
    let named = [table.as_bytes(), &[0, 1]].concat();
    let found = page
        .expect("a page")
        .entries
        .into_iter()
        .find(|entry| entry.key.as_bytes().windows(named.len()).any(|window| window == named));
    let entry = found.expect("a row of the table");
    (entry.key, entry.value.to_vec())
}

/// A new key that is to take over.
pub(crate) fn next_master() -> MasterKey {
    MasterKey::generate()
}
