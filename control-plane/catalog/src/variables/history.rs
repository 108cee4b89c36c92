//! States of environments, now and before: read with their origins, compared, and gone back to.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::diff::{Difference, diff};
use outrigger_configuration::resolve::{EffectiveEntry, Layer, Source, secret_names};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use outrigger_protocol::time::UnixMillis;

use super::composition::Composition;
use super::publish::{Publication, Published};
use super::{shown, unresolvable};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::generations::GENERATIONS_KEPT;
use crate::keys;
use crate::model::{Actor, AuditAction, ChangeKind, Environment, Generation, Role, Variable};
use crate::mutation::Decided;
use crate::record::Outcome;
use crate::validate::{MESSAGE_BYTES, Problems};

/// Which state of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    #[default]
    Now,
    /// That of a generation that is kept, or 0: before the first.
    Generation(u64),
    /// That of the generation which was the newest then.
    Time(UnixMillis),
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    pub environment: EnvironmentId,
    pub at: At,
}

/// A variable as a program gets it and as a reader may see it, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveVariable {
    pub key: String,
    /// Absent for a secret, and for what a value with a secret in it comes to.
    pub value: Option<String>,
    /// It has a value, which may be one that is not told here.
    pub is_set: bool,
    pub is_secret: bool,
    pub is_required: bool,
    pub kind: VariableKind,
    pub description: String,
    /// The environment that gives the value; for a variable that is not set, the last one that declares it.
    pub origin: EnvironmentId,
    /// The environments whose values this one overrides, base first.
    pub overrides: Vec<EnvironmentId>,
    /// What the value refers to.
    pub references: Vec<Reference>,
}

/// A variable that a value is put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub environment: EnvironmentId,
    pub key: String,
    /// The environment that gives that variable its value.
    pub origin: EnvironmentId,
}

impl Catalog {
    /// The variables that an environment wrote itself, and the generation of that state. As
    /// [`variables`](Self::variables).
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, or a generation that never was or is no longer kept.
    pub async fn variables_at(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        at: At,
    ) -> Result<(Generation, Vec<Variable>), CatalogError> {
        actor.require(Role::Viewer)?;
        let organization = actor.organization;
        let row = self.environment_row(organization, environment).await?.value;
        let number = self.number_at(organization, &row, at).await?;
        let row = self.generation_row_or_beginning(organization, &row, number).await?;
        let mut variables = Vec::with_capacity(row.variables.len());
        for (key, version) in row.variables {
            let found = self.version(organization, environment, &key, version).await?;
            variables.push(shown(key, found));
        }
        Ok((row.generation, variables))
    }

    /// The variables of an environment as a program gets them, inherited and expanded, each with its origin; and the
    /// generation of that state.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, or a generation that is no longer kept, be it of another
    /// environment that it was put together from.
    pub async fn effective_variables(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        at: At,
    ) -> Result<(Generation, Vec<EffectiveVariable>), CatalogError> {
        actor.require(Role::Viewer)?;
        let (generation, composition) = self.composed_on(actor.organization, Side { environment, at }).await?;
        let effective = composition.resolve(environment).map_err(unresolvable)?;
        Ok((generation, effective.entries.into_iter().map(EffectiveVariable::from).collect()))
    }

    /// What environments are called, of those that there are.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn labels(
        &self,
        actor: &Actor,
        environments: impl IntoIterator<Item = EnvironmentId> + Send,
    ) -> Result<BTreeMap<EnvironmentId, String>, CatalogError> {
        actor.require(Role::Viewer)?;
        let ids: BTreeSet<EnvironmentId> = environments.into_iter().collect();
        let mut labels = BTreeMap::new();
        for id in ids {
            let row = self.row::<Environment>(keys::environment(actor.organization, id)).await?;
            labels.extend(row.map(|row| (id, row.value.label())));
        }
        Ok(labels)
    }

    /// What has to change in one state to have the other, by name; secrets as changed or equal, never as text. Of two
    /// effective states what programs get is compared, of two that are not what the environments themselves write.
    ///
    /// # Errors
    /// As [`effective_variables`](Self::effective_variables).
    pub async fn diff(
        &self,
        actor: &Actor,
        from: Side,
        to: Side,
        effective: bool,
    ) -> Result<Vec<Difference>, CatalogError> {
        actor.require(Role::Viewer)?;
        let (_, before) = self.composed_on(actor.organization, from).await?;
        let (_, after) = self.composed_on(actor.organization, to).await?;
        if effective {
            let before = before.resolve(from.environment).map_err(unresolvable)?;
            let after = after.resolve(to.environment).map_err(unresolvable)?;
            return Ok(diff(before.views(), after.views()));
        }
        let secrets = (secret_names(&before, from.environment), secret_names(&after, to.environment));
        let before = before.layers.get(&from.environment).into_iter().flat_map(|layer| layer.views(&secrets.0));
        let after = after.layers.get(&to.environment).into_iter().flat_map(|layer| layer.views(&secrets.1));
        Ok(diff(before, after))
    }

    /// Goes back: a new generation with the variables that an old one wrote. What the environment extends stays as it is,
    /// and so may what it inherits be other than it was. With `if_match`, only if that is still the newest. Developer.
    ///
    /// # Errors
    /// As [`change_variables`](Self::change_variables); [`CatalogError::NotFound`] for a generation that never was or is no
    /// longer kept.
    pub async fn rollback(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        number: u64,
        if_match: Option<u64>,
        message: String,
    ) -> Result<Generation, CatalogError> {
        let organization = actor.organization;
        let mut problems = Problems::default();
        problems.text("message", &message, MESSAGE_BYTES);
        problems.into_result()?;
        let message = if message.is_empty() { format!("rollback to generation {number}") } else { message };
        let message = message.as_str();
        let outcome = self.mutate(actor, Role::Developer, "roll back", async |mut draft| {
            let mut composition = self.present(organization, environment, if_match).await?;
            let row = self.environment_row(organization, environment).await?.value;
            let then = self.generation_row_or_beginning(organization, &row, number).await?;
            let then = self.layer_then(organization, &row, &then).await?;
            let publication = Publication::of(actor, environment, message, ChangeKind::Rollback);
            let extends = composition.written_by(environment)?.extends;
            composition.rewrite(Layer { extends, ..then });
            match self.publish(&mut draft, &mut composition, &publication).await? {
                Published::Held(id) => draft.then(Outcome::Held(id)),
                Published::Generation(generation) => {
                    let detail =
                        format!("to the variables of generation {number}, as generation {}", generation.number);
                    draft.audit(AuditAction::Rollback, environment, &detail);
                    draft.then(Outcome::Done(generation))
                }
                Published::Nothing => {
                    Ok(Decided::Already(Outcome::Done(self.present_of(&composition, environment).await?)))
                }
            }
        });
        let outcome = outcome.await?;
        self.settle(actor, outcome).await
    }

    /// One side of a comparison with everything that it is put together from.
    pub(super) async fn composed_on(
        &self,
        organization: OrganizationId,
        side: Side,
    ) -> Result<(Generation, Composition), CatalogError> {
        let Side { environment, at } = side;
        if at == At::Now {
            let composition = self.composed(organization, environment).await?;
            return Ok((self.present_of(&composition, environment).await?, composition));
        }
        let row = self.environment_row(organization, environment).await?.value;
        let number = self.number_at(organization, &row, at).await?;
        let generation = self.generation_row_or_beginning(organization, &row, number).await?.generation;
        // The newest is at hand even when something that it was once put together from is no longer kept.
        let composition = if number == row.generation {
            self.composed(organization, environment).await?
        } else {
            self.composed_at(organization, environment, number).await?
        };
        Ok((generation, composition))
    }

    async fn number_at(
        &self,
        organization: OrganizationId,
        environment: &Environment,
        at: At,
    ) -> Result<u64, CatalogError> {
        let newest = environment.generation;
        let not_kept = CatalogError::NotFound { what: "generation" };
        match at {
            At::Now => Ok(newest),
            At::Generation(number) => Ok(number),
            At::Time(then) if then < environment.created_at => Err(not_kept),
            At::Time(then) => {
                let oldest = newest.saturating_sub(GENERATIONS_KEPT - 1).max(1);
                // The first in `low..=newest` that was made later; all before it were made by then.
                let (mut low, mut high) = (oldest, newest + 1);
                while low < high {
                    let middle = low + (high - low) / 2;
                    let made = self.generation_row(organization, environment.id, middle).await?.generation.created_at;
                    if made <= then { low = middle + 1 } else { high = middle }
                }
                if low == oldest && oldest > 1 { Err(not_kept) } else { Ok(low - 1) }
            }
        }
    }
}

impl From<EffectiveEntry> for EffectiveVariable {
    fn from(effective: EffectiveEntry) -> Self {
        let EffectiveEntry { entry, description, origin, shadows, references } = effective;
        let is_secret = entry.is_secret();
        let value = entry.value.as_ref().filter(|_| !is_secret).map(|value| value.as_str().to_owned());
        let reference = |Source { environment, key, origin }| Reference { environment, key, origin };
        Self {
            key: entry.name,
            value,
            is_set: entry.value.is_some(),
            is_secret,
            is_required: entry.required,
            kind: entry.kind,
            description,
            origin,
            overrides: shadows,
            references: references.into_iter().map(reference).collect(),
        }
    }
}
