//! Variables: read, changed, revealed, and put together for delivery.

mod application;
mod approval;
mod change;
mod composition;
mod demands;
mod directory;
mod graph;
mod history;
mod publish;
mod restore;
mod reveal;
mod transfer;
mod version;

use std::collections::BTreeMap;

use outrigger_configuration::resolve::{self, Layer, Unresolvable};
use outrigger_protocol::environment::{Environment as Plaintext, VariableKind};
use outrigger_protocol::id::{EnvironmentId, KeyId, OrganizationId};
use outrigger_secrets::{Aad, DataKey, open};
use outrigger_store::Revision;
use zeroize::Zeroizing;

use crate::catalog::{Catalog, Row};
use crate::environments::ENVIRONMENT;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Environment, Generation, Role, SealedValue, Variable};
use crate::record::{Content, Record, VariableRow};

pub use application::TemplateApplication;
pub(crate) use approval::keys_of_values;
pub use approval::{Approval, CHANGE_TTL, MAX_OPEN_CHANGES};
pub use history::{At, EffectiveVariable, Reference, Side};
pub(crate) use publish::{Cause, Publication, Published};
pub use restore::Restored;
pub use transfer::{Import, ImportMode, Imported};

const VARIABLE: &str = "variable";

/// An environment with the newest version of each of its variables, all of one moment.
struct Snapshot {
    at: Revision,
    environment: Row<Environment>,
    variables: BTreeMap<String, Row<VariableRow>>,
}

impl Catalog {
    /// The variables of an environment, by name. A secret's value is absent, and so is one that is not set.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment.
    pub async fn variables(&self, actor: &Actor, environment: EnvironmentId) -> Result<Vec<Variable>, CatalogError> {
        actor.require(Role::Viewer)?;
        let snapshot = self.snapshot_at(actor.organization, environment, self.store().revision()).await?;
        Ok(snapshot.variables.into_iter().map(|(key, row)| shown(key, row.value)).collect())
    }

    /// The newest generation of an environment with everything in it, inherited and expanded, for delivery to its deployments. A variable that
    /// is required and has no value is among the entries; [`Plaintext::validate`] names all of them, and a program is
    /// not to be started then. For the control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn effective(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
    ) -> Result<(Generation, Plaintext), CatalogError> {
        let composition = self.composed(organization, environment).await?;
        let generation = self.present_of(&composition, environment).await?;
        let effective = composition.resolve(environment).map_err(unresolvable)?;
        Ok((generation, effective.to_environment()))
    }

    async fn snapshot_at(
        &self,
        organization: OrganizationId,
        id: EnvironmentId,
        revision: Revision,
    ) -> Result<Snapshot, CatalogError> {
        let environment = self
            .row_at::<Environment>(&keys::environment(organization, id), revision)
            .await?
            .ok_or(CatalogError::NotFound { what: ENVIRONMENT })?;
        let prefix = keys::variables(organization, id);
        let mut variables = BTreeMap::new();
        for row in self.rows::<VariableRow>(&prefix, Some(revision)).await? {
            let name =
                row.key.reader_after(&prefix).and_then(|mut reader| reader.text().ok().map(|name| name.into_owned()));
            let source = crate::record::RecordError::Unknown { field: "name" };
            variables.insert(name.ok_or(CatalogError::Record { row: VariableRow::ROW, source })?, row);
        }
        Ok(Snapshot { at: revision, environment, variables })
    }
}

/// A variable as a reader may see it.
fn shown(key: String, row: VariableRow) -> Variable {
    let VariableRow { changed_in, content, is_secret, is_required, kind, description, expand, .. } = row;
    let is_removed = content == Content::Removed;
    let (value, is_set) = match content {
        Content::Plain(text) => (Some(text), true),
        Content::Sealed(_) => (None, true),
        Content::Unset | Content::Removed => (None, false),
    };
    let is_secret = is_secret || kind == VariableKind::Secret;
    Variable { key, value, is_set, is_removed, is_secret, is_required, kind, description, expand, changed_in }
}

/// What was published could be resolved. That it cannot be now says that it was not written by this release.
fn unresolvable(found: Unresolvable) -> CatalogError {
    CatalogError::conflict(format!("the environment cannot be put together: {found}"))
}

/// Opens the values of one environment, unwrapping each data key once.
struct Opener<'a> {
    catalog: &'a Catalog,
    organization: OrganizationId,
    environment: &'a Environment,
    /// When what it opens was read, or a moment before.
    read_at: Revision,
    keys: Vec<DataKey>,
}

impl<'a> Opener<'a> {
    fn new(catalog: &'a Catalog, organization: OrganizationId, environment: &'a Environment) -> Self {
        let read_at = catalog.store().revision();
        Self { catalog, organization, environment, read_at, keys: Vec::new() }
    }

    /// Of what was read before.
    fn of(self, read_at: Revision) -> Self {
        Self { read_at, ..self }
    }

    /// Has a layer say what a version says.
    async fn say(&mut self, layer: &mut Layer, name: &str, row: &VariableRow) -> Result<(), CatalogError> {
        if row.content == Content::Removed {
            layer.tombstones.push(name.to_owned());
        } else {
            layer.variables.push(self.variable(name, row).await?);
        }
        Ok(())
    }

    /// A variable as the environment writes it, in the clear.
    async fn variable(&mut self, name: &str, row: &VariableRow) -> Result<resolve::Variable, CatalogError> {
        Ok(resolve::Variable {
            name: name.to_owned(),
            value: self.open(name, row).await?,
            kind: row.kind,
            secret: row.is_secret,
            required: row.is_required,
            description: row.description.clone(),
            expand: row.expand,
        })
    }

    async fn open(&mut self, name: &str, row: &VariableRow) -> Result<Option<Zeroizing<String>>, CatalogError> {
        match &row.content {
            Content::Unset | Content::Removed => Ok(None),
            Content::Plain(text) => Ok(Some(Zeroizing::new(text.clone()))),
            Content::Sealed(sealed) => self.open_sealed(name, sealed).await.map(Some),
        }
    }

    async fn open_sealed(&mut self, name: &str, sealed: &SealedValue) -> Result<Zeroizing<String>, CatalogError> {
        let place = place(self.organization, self.environment, name, sealed.generation, sealed.key);
        let key = self.key(sealed.key).await?;
        let failed = |source| CatalogError::Open { row: VariableRow::ROW, source };
        let mut bytes = open(key, &place, &sealed.ciphertext).map_err(failed)?;
        // The bytes move into the text: no copy is left behind. They are UTF-8, because a text was sealed.
        String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            failed(outrigger_secrets::OpenSealedError::Unauthentic)
        })
    }

    async fn key(&mut self, id: KeyId) -> Result<&DataKey, CatalogError> {
        if let Some(at) = self.keys.iter().position(|key| key.id() == id) {
            return Ok(&self.keys[at]);
        }
        let project = self.environment.project;
        let key = self.catalog.data_key_since(self.organization, project, id, self.read_at).await?;
        Ok(self.keys.push_mut(key))
    }
}

fn place<'a>(
    organization: OrganizationId,
    environment: &Environment,
    name: &'a str,
    generation: u64,
    key: KeyId,
) -> Aad<'a> {
    Aad { organization, project: environment.project, environment: environment.id, name, generation, key }
}
