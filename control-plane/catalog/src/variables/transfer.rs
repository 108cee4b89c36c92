//! Variables from files and into files. What a file looks like is [`outrigger_configuration::format`]'s.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::diff::{Difference, diff};
use outrigger_configuration::format::{ExportedVariable, ParsedVariable};
use outrigger_configuration::resolve::{Variable, secret_names};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;
use outrigger_secrets::SecretString;

use super::change::check_shape;
use super::composition::Composition;
use super::history::{At, Side};
use super::publish::{Publication, Published};
use super::unresolvable;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::model::{Actor, AuditAction, ChangeKind, Generation, Role, VariableChange};
use crate::mutation::Decided;
use crate::record::Outcome;

/// What becomes of the variables that a file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// They stay.
    Merge,
    /// They go. What the environment removes of what it inherits stays removed.
    Replace,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The newest generation: the one that the import made, unless nothing was different.
    pub generation: Generation,
    pub is_changed: bool,
}

/// Variables to take over.
#[derive(Debug)]
pub struct Import {
    pub variables: Vec<ParsedVariable>,
    pub mode: ImportMode,
    pub if_match: Option<u64>,
    pub message: String,
}

impl Catalog {
    /// Takes over the variables of a file, all of them or none, in one new generation. What the file does not say of a
    /// variable stays as it is, and so does the value of one that the file names without a value: a file that was
    /// exported without its secrets can be taken back. Developer.
    ///
    /// # Errors
    /// As [`change_variables`](Self::change_variables).
    pub async fn import(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        import: Import,
    ) -> Result<Imported, CatalogError> {
        let (import, organization) = (&import, actor.organization);
        let outcome = self.mutate(actor, Role::Developer, "import variables", async |mut draft| {
            let mut composition = self.present(organization, environment, import.if_match).await?;
            self.take_over(&mut composition, environment, import).await?;
            let publication = Publication::of(actor, environment, &import.message, import.mode.kind());
            match self.publish(&mut draft, &mut composition, &publication).await? {
                Published::Held(id) => draft.then(Outcome::Held(id)),
                Published::Generation(generation) => {
                    let detail = format!("{} variables, as generation {}", import.variables.len(), generation.number);
                    draft.audit(AuditAction::Import, environment, &detail);
                    draft.then(Outcome::Done(Imported { generation, is_changed: true }))
                }
                Published::Nothing => {
                    let generation = self.present_of(&composition, environment).await?;
                    Ok(Decided::Already(Outcome::Done(Imported { generation, is_changed: false })))
                }
            }
        });
        let outcome = outcome.await?;
        self.settle(actor, outcome).await
    }

    /// What [`import`](Self::import) would change, without changing it. It fails where that would. Developer.
    ///
    /// # Errors
    /// Those of [`import`](Self::import).
    pub async fn preview_import(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        import: &Import,
    ) -> Result<(Generation, Vec<Difference>), CatalogError> {
        actor.require(Role::Developer)?;
        let mut composition = self.present(actor.organization, environment, import.if_match).await?;
        self.take_over(&mut composition, environment, import).await?;
        let publication = Publication::of(actor, environment, "", import.mode.kind());
        // Decided like the real one, and not committed.
        self.publish(&mut self.draft(actor), &mut composition, &publication).await?;
        let generation = self.present_of(&composition, environment).await?;
        let secrets: BTreeSet<&str> = secret_names(&composition, environment);
        let before = composition.written.get(&environment).into_iter().flat_map(|layer| layer.views(&secrets));
        let after = composition.layers.get(&environment).into_iter().flat_map(|layer| layer.views(&secrets));
        Ok((generation, diff(before, after)))
    }

    /// The variables of an environment for a file: as written, or as programs get them, each with its origin. Values of
    /// secrets only if they are asked for, which needs the role admin and is written to the audit log before the caller
    /// has them.
    ///
    /// # Errors
    /// As [`effective_variables`](Self::effective_variables); [`CatalogError::Forbidden`].
    pub async fn export_variables(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        at: At,
        effective: bool,
        secrets: bool,
    ) -> Result<(Generation, Vec<ExportedVariable>), CatalogError> {
        actor.require(if secrets { Role::Admin } else { Role::Viewer })?;
        let (generation, composition) = self.composed_on(actor.organization, Side { environment, at }).await?;
        let mut exported = if effective {
            effective_for_export(&composition, environment)?
        } else {
            written_for_export(&composition, environment)
        };
        if secrets {
            let mut draft = self.draft(actor);
            draft.concerns(composition.project);
            let what = if effective { "effective variables" } else { "variables as written" };
            let detail = format!("generation {}, {what}, with secrets, to a file", generation.number);
            draft.concerns(self.environment_row(actor.organization, environment).await?.value.project);
            draft.audit(AuditAction::Export, environment, &detail);
            self.commit(draft).await?;
        } else {
            exported.iter_mut().filter(|variable| variable.secret).for_each(|variable| variable.value = None);
        }
        Ok((generation, exported))
    }

    /// Has an environment write what the file says.
    async fn take_over(
        &self,
        composition: &mut Composition,
        environment: EnvironmentId,
        import: &Import,
    ) -> Result<(), CatalogError> {
        let changes = changes(&composition.written_by(environment)?.variables, import);
        check_shape(&changes, &import.message)?;
        self.change(composition, environment, &changes).await
    }
}

impl ImportMode {
    const fn kind(self) -> ChangeKind {
        match self {
            Self::Merge => ChangeKind::Import,
            Self::Replace => ChangeKind::Replacement,
        }
    }
}

fn changes(present: &[Variable], import: &Import) -> Vec<VariableChange> {
    let by_name: BTreeMap<&str, &Variable> =
        present.iter().map(|variable| (variable.name.as_str(), variable)).collect();
    let put = |parsed: &ParsedVariable| {
        if parsed.removed {
            return VariableChange::Remove { key: parsed.name.clone() };
        }
        let present = by_name.get(parsed.name.as_str());
        let kind = parsed.kind.or(present.map(|one| one.kind)).unwrap_or(VariableKind::String);
        let refers = parsed.value.as_ref().is_some_and(|value| value.contains("${"));
        VariableChange::Put {
            key: parsed.name.clone(),
            value: parsed.value.as_ref().map(|value| SecretString::from(value.clone())),
            is_secret: parsed.secret.unwrap_or_else(|| present.is_some_and(|one| one.is_secret())),
            is_required: parsed.required.unwrap_or_else(|| present.is_some_and(|one| one.required)),
            kind,
            description: parsed
                .description
                .clone()
                .unwrap_or_else(|| present.map(|one| one.description.clone()).unwrap_or_default()),
            // Where there is nothing to expand, it makes no difference and is to be none.
            expand: if refers { !parsed.literal } else { present.is_none_or(|one| one.expand) },
        }
    };
    let mut changes: Vec<VariableChange> = import.variables.iter().map(put).collect();
    if import.mode == ImportMode::Replace {
        let kept: BTreeSet<&str> = import.variables.iter().map(|parsed| parsed.name.as_str()).collect();
        let gone = present.iter().filter(|variable| !kept.contains(variable.name.as_str()));
        changes.extend(gone.map(|variable| VariableChange::Delete { key: variable.name.clone() }));
    }
    changes
}

fn written_for_export(composition: &Composition, environment: EnvironmentId) -> Vec<ExportedVariable> {
    let secrets = secret_names(composition, environment);
    let layer = composition.layers.get(&environment);
    let exported = |variable: &Variable| ExportedVariable {
        name: variable.name.clone(),
        value: variable.value.clone(),
        literal: !variable.expand,
        kind: variable.kind,
        secret: secrets.contains(variable.name.as_str()),
        required: variable.required,
        description: variable.description.clone(),
        origin: None,
        removed: false,
    };
    let removed = |name: &String| ExportedVariable {
        name: name.clone(),
        value: None,
        literal: false,
        kind: VariableKind::String,
        secret: false,
        required: false,
        description: String::new(),
        origin: None,
        removed: true,
    };
    let variables = layer.into_iter().flat_map(|layer| &layer.variables).map(exported);
    let mut all: Vec<_> = variables.chain(layer.into_iter().flat_map(|layer| &layer.tombstones).map(removed)).collect();
    all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    all
}

fn effective_for_export(
    composition: &Composition,
    environment: EnvironmentId,
) -> Result<Vec<ExportedVariable>, CatalogError> {
    let effective = composition.resolve(environment).map_err(unresolvable)?;
    let exported = |one: outrigger_configuration::resolve::EffectiveEntry| ExportedVariable {
        secret: one.entry.is_secret(),
        name: one.entry.name,
        value: one.entry.value,
        literal: true,
        kind: one.entry.kind,
        required: one.entry.required,
        description: one.description,
        origin: Some(composition.label(one.origin)),
        removed: false,
    };
    Ok(effective.entries.into_iter().map(exported).collect())
}
