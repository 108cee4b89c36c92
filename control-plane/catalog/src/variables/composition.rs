//! The environments that an effective environment is put together from, as far as they are needed.
//!
//! Which those are, only their values say: one extends another, and a value refers to a third. They are loaded as they
//! are met, all of one moment, or all as an old generation had them.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::resolve::{self, Layer, LookupError, Project, Unresolvable, limits};
use outrigger_protocol::id::{EnvironmentId, OrganizationId, ProjectId};
use outrigger_store::Revision;

use super::directory::Directory;
use super::restore::Restoration;
use super::{Opener, Snapshot};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys;
use crate::model::Environment;
use crate::record::{GenerationRow, VariableRow};

/// Most environments that one call loads: each may hold as much as a kernel takes.
const MAX_LOADED: usize = 256;

/// Environments of one project, with their values in the clear.
pub(super) struct Composition {
    pub(super) organization: OrganizationId,
    pub(super) project: ProjectId,
    /// The moment of everything that is loaded.
    pub(super) at: Revision,
    /// As they are to be.
    pub(super) layers: BTreeMap<EnvironmentId, Layer>,
    /// What those layers are now that are to be different.
    pub(super) written: BTreeMap<EnvironmentId, Layer>,
    /// The rows of those that are loaded as they are now.
    pub(super) snapshots: BTreeMap<EnvironmentId, Snapshot>,
    /// What environments themselves are to be, where that is different.
    pub(super) renewed: BTreeMap<EnvironmentId, Environment>,
    /// One of them goes back as a whole.
    pub(super) restoration: Option<Box<Restoration>>,
    directory: Option<Directory>,
}

impl Project for Composition {
    fn layer(&self, environment: EnvironmentId) -> Option<&Layer> {
        self.layers.get(&environment)
    }

    fn find(&self, name: &str) -> Result<EnvironmentId, LookupError> {
        self.directory.as_ref().map_or(Err(LookupError::Unknown), |directory| directory.find(name))
    }
}

impl Composition {
    pub(super) fn new(organization: OrganizationId, project: ProjectId, at: Revision) -> Self {
        Self {
            organization,
            project,
            at,
            layers: BTreeMap::new(),
            written: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            renewed: BTreeMap::new(),
            restoration: None,
            directory: None,
        }
    }

    /// What people call an environment that is loaded.
    pub(super) fn label(&self, id: EnvironmentId) -> String {
        self.layers.get(&id).map_or_else(|| id.to_string(), |layer| layer.label.clone())
    }

    /// An environment as it is to be, if it is loaded.
    pub(super) fn environment(&self, id: EnvironmentId) -> Option<&Environment> {
        self.renewed.get(&id).or_else(|| self.snapshots.get(&id).map(|snapshot| &snapshot.environment.value))
    }

    pub(super) fn resolve(&self, id: EnvironmentId) -> Result<resolve::Effective, Unresolvable> {
        self.restoration_of(id).map_or_else(|| resolve::resolve(self, id), |back| back.then.resolve(id))
    }

    /// What an environment that is loaded says itself.
    pub(super) fn written_by(&self, id: EnvironmentId) -> Result<&Layer, CatalogError> {
        self.layers.get(&id).ok_or(CatalogError::NotFound { what: "environment" })
    }

    /// Whether a loaded environment would have a variable of this name if it said nothing about it itself.
    pub(super) fn inherits(&self, id: EnvironmentId, name: &str) -> bool {
        let base = |layer: &Layer| self.layers.get(&layer.extends?);
        let bases = std::iter::successors(self.layers.get(&id).and_then(base), |layer| base(layer));
        let says = |layer: &Layer| {
            let has = layer.variables.iter().any(|variable| variable.name == name);
            (has || layer.tombstones.iter().any(|removed| removed == name)).then_some(has)
        };
        bases.take(limits::CHAIN).find_map(says).unwrap_or_default()
    }

    /// Marks as secret what an environment writes under a name that is secret in one that it extends. That it is one
    /// stays so when the other is changed: whoever may write a value may not therefore read another.
    pub(super) fn tighten(&mut self, id: EnvironmentId) {
        let names = resolve::secret_names(self, id);
        let Some(layer) = self.layers.get(&id) else { return };
        let is_loose = |variable: &&resolve::Variable| !variable.is_secret() && names.contains(variable.name.as_str());
        let loose: BTreeSet<String> =
            layer.variables.iter().filter(is_loose).map(|variable| variable.name.clone()).collect();
        if loose.is_empty() {
            return;
        }
        let mut layer = layer.clone();
        layer.variables.iter_mut().for_each(|variable| variable.secret |= loose.contains(&variable.name));
        self.rewrite(layer);
    }

    /// Has an environment say something else than it does.
    pub(super) fn rewrite(&mut self, layer: Layer) {
        if let Some(before) = self.layers.insert(layer.environment, layer) {
            self.written.entry(before.environment).or_insert(before);
        }
    }

    /// What the names stand for that `ids` refer to. A name that stands for nothing is not among them: it may be a part
    /// of a secret.
    pub(super) fn names(&self, ids: impl IntoIterator<Item = EnvironmentId>) -> Vec<(String, EnvironmentId)> {
        let mentions = ids.into_iter().filter_map(|id| self.layers.get(&id)).flat_map(Layer::mentions);
        let names: BTreeSet<&str> = mentions.collect();
        names.into_iter().filter_map(|name| Some((name.to_owned(), self.find(name).ok()?))).collect()
    }
}

impl Catalog {
    /// Nothing yet, of now.
    pub(super) fn composition(&self, organization: OrganizationId, project: ProjectId) -> Composition {
        Composition::new(organization, project, self.store().revision())
    }

    /// An environment of now with everything that it is put together from; if it was restored, as it was then.
    pub(super) async fn composed(
        &self,
        organization: OrganizationId,
        id: EnvironmentId,
    ) -> Result<Composition, CatalogError> {
        let at = self.store().revision();
        let snapshot = self.snapshot_at(organization, id, at).await?;
        let environment = &snapshot.environment.value;
        let newest = self.generation_row_or_beginning(organization, environment, environment.generation).await?;
        if newest.restores.is_some() {
            let mut composition = self.composed_at(organization, id, newest.generation.number).await?;
            composition.snapshots.insert(id, snapshot);
            return Ok(composition);
        }
        let mut composition = Composition::new(organization, snapshot.environment.value.project, at);
        self.add(&mut composition, snapshot).await?;
        self.complete(&mut composition, id).await?;
        Ok(composition)
    }

    async fn add(&self, composition: &mut Composition, snapshot: Snapshot) -> Result<(), CatalogError> {
        let layer = self.layer(composition.organization, &snapshot).await?;
        let id = layer.environment;
        composition.layers.insert(id, layer);
        composition.snapshots.insert(id, snapshot);
        Ok(())
    }

    /// Loads one environment. Says whether the project has it.
    pub(super) async fn load(&self, composition: &mut Composition, id: EnvironmentId) -> Result<bool, CatalogError> {
        if composition.layers.contains_key(&id) {
            return Ok(true);
        }
        if composition.layers.len() == MAX_LOADED {
            let what = format!("more than {MAX_LOADED} environments are concerned; let fewer depend on one another");
            return Err(CatalogError::conflict(what));
        }
        match self.snapshot_at(composition.organization, id, composition.at).await {
            Ok(snapshot) if snapshot.environment.value.project == composition.project => {
                self.add(composition, snapshot).await.map(|()| true)
            }
            // One that is gone, or another project's, is for the resolution to tell.
            Ok(_) | Err(CatalogError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Loads what an environment may need.
    pub(super) async fn complete(
        &self,
        composition: &mut Composition,
        target: EnvironmentId,
    ) -> Result<(), CatalogError> {
        let (mut open, mut seen) = (vec![target], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) || !self.load(composition, id).await? {
                continue;
            }
            if composition.directory.is_none() && composition.layers.get(&id).is_some_and(mentions_any) {
                composition.directory = Some(self.directory(composition).await?);
            }
            let Some(layer) = composition.layers.get(&id) else { continue };
            open.extend(layer.extends);
            open.extend(layer.mentions().into_iter().filter_map(|name| composition.find(name).ok()));
        }
        Ok(())
    }

    async fn directory(&self, composition: &Composition) -> Result<Directory, CatalogError> {
        let mut environments = self.environments_then(composition).await?;
        environments.retain(|one| !composition.renewed.contains_key(&one.id));
        environments.extend(composition.renewed.values().cloned());
        Ok(Directory::of(&environments))
    }

    /// What names stand for before anything is different.
    pub(super) async fn directory_before(&self, composition: &Composition) -> Result<Directory, CatalogError> {
        Ok(Directory::of(&self.environments_then(composition).await?))
    }

    async fn environments_then(&self, composition: &Composition) -> Result<Vec<Environment>, CatalogError> {
        let mut environments = Vec::new();
        for id in self.environments_of_at(composition.organization, composition.project, composition.at).await? {
            let key = keys::environment(composition.organization, id);
            environments.extend(self.row_at::<Environment>(&key, composition.at).await?.map(|row| row.value));
        }
        Ok(environments)
    }

    /// What an environment writes, in the clear.
    pub(super) async fn layer(&self, organization: OrganizationId, snapshot: &Snapshot) -> Result<Layer, CatalogError> {
        let environment = &snapshot.environment.value;
        let mut opener = Opener::new(self, organization, environment).of(snapshot.at);
        let mut layer = empty_layer(environment, environment.extends);
        for (name, row) in &snapshot.variables {
            opener.say(&mut layer, name, &row.value).await?;
        }
        Ok(layer)
    }

    /// An environment as one of its generations had it, with everything that it was put together from.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the generation, or one that it was put together from, is no longer kept.
    pub(super) async fn composed_at(
        &self,
        organization: OrganizationId,
        id: EnvironmentId,
        number: u64,
    ) -> Result<Composition, CatalogError> {
        let at = self.store().revision();
        let environment = self.environment_row(organization, id).await?.value;
        let mut composition = Composition::new(organization, environment.project, at);
        let row = self.generation_row_or_beginning(organization, &environment, number).await?;
        composition.directory = Some(Directory::recorded(&row.names));
        let layer = self.layer_then(organization, &environment, &row).await?;
        composition.layers.insert(id, layer);
        for (input, number) in row.inputs {
            let environment = self.environment_row(organization, input).await?.value;
            let row = self.generation_row_or_beginning(organization, &environment, number).await?;
            let layer = self.layer_then(organization, &environment, &row).await?;
            composition.layers.insert(input, layer);
        }
        Ok(composition)
    }

    /// What an environment wrote in one of its generations, in the clear.
    pub(super) async fn layer_then(
        &self,
        organization: OrganizationId,
        environment: &Environment,
        row: &GenerationRow,
    ) -> Result<Layer, CatalogError> {
        let mut opener = Opener::new(self, organization, environment);
        let mut layer = empty_layer(environment, row.extends);
        for (name, version) in &row.variables {
            let found = self.version(organization, environment.id, name, *version).await?;
            opener.say(&mut layer, name, &found).await?;
        }
        Ok(layer)
    }

    /// One version of a variable: the newest, or one that was moved aside.
    pub(super) async fn version(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        name: &str,
        version: u64,
    ) -> Result<VariableRow, CatalogError> {
        let newest = self.row::<VariableRow>(keys::variable(organization, environment, name)).await?;
        match newest.filter(|row| row.value.generation == version) {
            Some(row) => Ok(row.value),
            None => {
                let key = keys::old_variable(organization, environment, name, version);
                Ok(self.expect_row::<VariableRow>(key, "generation").await?.value)
            }
        }
    }
}

pub(super) fn empty_layer(environment: &Environment, extends: Option<EnvironmentId>) -> Layer {
    let (environment, label) = (environment.id, environment.label());
    Layer { environment, label, extends, variables: Vec::new(), tombstones: Vec::new() }
}

fn mentions_any(layer: &Layer) -> bool {
    !layer.mentions().is_empty()
}
