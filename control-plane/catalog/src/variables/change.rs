//! From changes to a new generation.
//!
//! What an environment writes is opened, changed, and published with everything that depends on it; only the variables
//! that differ are written. What does not differ makes no generation.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use outrigger_configuration::resolve::{Layer, Variable};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use zeroize::Zeroizing;

use super::VARIABLE;
use super::composition::Composition;
use super::publish::{MAX_WRITES, Publication, Published};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::model::{Actor, ChangeKind, Generation, Role, VariableChange};
use crate::mutation::Decided;
use crate::record::Outcome;
use crate::validate::{MESSAGE_BYTES, Problems, VARIABLE_NAME_BYTES};

/// Of one variable.
const DESCRIPTION_BYTES: usize = 512;

impl Catalog {
    /// Changes variables, all of them or none, in one new generation; every environment that extends this one or refers
    /// to it gets a new generation with it. Changes that change nothing keep the present generation. With `if_match`,
    /// only if that is still the newest. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] with every problem of every variable, among them what a deployment that runs with the
    /// environment could not run with, and what an environment that depends on it could not be put together from;
    /// [`CatalogError::Conflict`] naming the newest generation when it is not `if_match`; [`CatalogError::NotFound`] for
    /// the environment or a variable to delete; [`CatalogError::AwaitsApproval`] when nothing was published yet, because
    /// somebody else has to approve it.
    pub async fn change_variables(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        changes: Vec<VariableChange>,
        if_match: Option<u64>,
        message: String,
    ) -> Result<Generation, CatalogError> {
        let (changes, message, organization) = (&changes, message.as_str(), actor.organization);
        let outcome = self.mutate(actor, Role::Developer, "change variables", async |mut draft| {
            let mut composition = self.present(organization, environment, if_match).await?;
            check_shape(changes, message)?;
            self.change(&mut composition, environment, changes).await?;
            let kind = ChangeKind::Variables;
            let publication = Publication::of(actor, environment, message, kind);
            match self.publish(&mut draft, &mut composition, &publication).await? {
                Published::Generation(generation) => draft.then(Outcome::Done(generation)),
                Published::Held(id) => draft.then(Outcome::Held(id)),
                Published::Nothing => {
                    Ok(Decided::Already(Outcome::Done(self.present_of(&composition, environment).await?)))
                }
            }
        });
        let outcome = outcome.await?;
        self.settle(actor, outcome).await
    }

    /// An environment of now, if it is at the generation that the caller takes it for.
    pub(super) async fn present(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        if_match: Option<u64>,
    ) -> Result<Composition, CatalogError> {
        let row = self.environment_row(organization, environment).await?.value;
        let mut composition = self.composition(organization, row.project);
        self.load(&mut composition, environment).await?;
        let found = composition.environment(environment).ok_or(CatalogError::NotFound { what: "environment" })?;
        if if_match.is_some_and(|expected| expected != found.generation) {
            return Err(CatalogError::conflict(format!("the environment is at generation {}", found.generation)));
        }
        Ok(composition)
    }

    pub(super) async fn present_of(
        &self,
        composition: &Composition,
        id: EnvironmentId,
    ) -> Result<Generation, CatalogError> {
        let environment = composition.environment(id).ok_or(CatalogError::NotFound { what: "environment" })?;
        self.present_generation(composition.organization, environment).await
    }
}

/// What can be said without the present state.
pub(super) fn check_shape(changes: &[VariableChange], message: &str) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.text("message", message, MESSAGE_BYTES);
    problems.require(changes.len() <= MAX_WRITES, "variables", || {
        format!("has {} changes; at most {MAX_WRITES} are taken at once", changes.len())
    });
    let mut names = HashSet::new();
    for change in changes {
        let key = change.key();
        if !names.insert(key) {
            problems.add(shown(key), "is changed twice");
        }
        problems.require(key.len() <= VARIABLE_NAME_BYTES, &shown(key), || {
            format!("has a name of {} bytes; at most {VARIABLE_NAME_BYTES} are allowed", key.len())
        });
        if let VariableChange::Put { description, .. } = change {
            let field = format!("{}.description", shown(key));
            problems.text(&field, description, DESCRIPTION_BYTES);
            let unprintable = |c: char| c.is_control() && c != '\n' && c != '\t';
            problems.require(!description.contains(unprintable), &field, || {
                "must not contain control characters".to_owned()
            });
        }
    }
    problems.into_result()
}

/// A name as it may appear in a message: it is a caller's text and may be anything.
fn shown(name: &str) -> String {
    name.chars().take(VARIABLE_NAME_BYTES).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What an environment says with the changes.
pub(super) fn apply(before: &Layer, changes: &[VariableChange]) -> Result<Layer, CatalogError> {
    let mut after: BTreeMap<&str, Variable> =
        before.variables.iter().map(|variable| (variable.name.as_str(), variable.clone())).collect();
    let mut removed: BTreeSet<&str> = before.tombstones.iter().map(String::as_str).collect();
    let mut problems = Problems::default();
    for change in changes {
        match change {
            VariableChange::Delete { key } => {
                if after.remove(key.as_str()).is_none() && !removed.remove(key.as_str()) {
                    return Err(CatalogError::NotFound { what: VARIABLE });
                }
            }
            VariableChange::Remove { key } => {
                after.remove(key.as_str());
                removed.insert(key);
            }
            VariableChange::Put { key, value, is_secret, is_required, kind, description, expand } => {
                let present = after.get(key.as_str());
                let kept = present.and_then(|variable| variable.value.clone());
                let becomes_plain = !*is_secret && *kind != VariableKind::Secret;
                // Whoever may write a variable may not therefore read it.
                if value.is_none() && kept.is_some() && present.is_some_and(Variable::is_secret) && becomes_plain {
                    problems.add(shown(key), "is secret: a value must be given to make it plain");
                }
                let wanted = Variable {
                    name: key.clone(),
                    value: value.as_ref().map(|text| Zeroizing::new(text.expose().to_owned())).or(kept),
                    kind: *kind,
                    secret: *is_secret,
                    required: *is_required,
                    description: description.clone(),
                    expand: *expand,
                };
                removed.remove(key.as_str());
                after.insert(key, wanted);
            }
        }
    }
    problems.into_result()?;
    let tombstones = removed.into_iter().map(str::to_owned).collect();
    Ok(Layer { variables: after.into_values().collect(), tombstones, ..before.clone() })
}

impl Catalog {
    /// Has an environment say something else, of which what it says it removes has to be inherited.
    pub(super) async fn change(
        &self,
        composition: &mut Composition,
        environment: EnvironmentId,
        changes: &[VariableChange],
    ) -> Result<(), CatalogError> {
        let removes = |change: &&VariableChange| matches!(change, VariableChange::Remove { .. });
        if changes.iter().any(|change| removes(&change)) {
            self.complete(composition, environment).await?;
            let mut problems = Problems::default();
            for change in changes.iter().filter(removes) {
                problems.require(composition.inherits(environment, change.key()), &shown(change.key()), || {
                    "is not inherited, so there is nothing to remove; delete what the environment says itself"
                        .to_owned()
                });
            }
            problems.into_result()?;
        }
        let layer = apply(composition.written_by(environment)?, changes)?;
        composition.rewrite(layer);
        Ok(())
    }
}
