//! From changes to a new generation.
//!
//! The whole environment is opened, changed, checked as the agent will check it, and hashed; then only the variables
//! that differ are written. What does not differ makes no generation.

use std::collections::{BTreeMap, HashSet};

use outrigger_protocol::environment::{Entry, Environment as Plaintext, ProblemKind, VariableKind};
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use outrigger_secrets::{DataKey, seal};
use zeroize::Zeroizing;

use super::{Snapshot, VARIABLE, place};
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Environment, Generation, Role, SealedValue, VariableChange};
use crate::mutation::{Decided, Draft};
use crate::projects::PROJECT;
use crate::record::{Content, DataKeyRow, GenerationRow, ProjectRow, Record, Uses, VariableRow};
use crate::validate::{MESSAGE_BYTES, Problems, VARIABLE_NAME_BYTES};

/// Changes in one call: with their audit entries, they fit one transaction.
const MAX_CHANGES: usize = 1_000;
/// Of one variable.
const DESCRIPTION_BYTES: usize = 512;

/// A variable as it is to be, in the clear.
#[derive(Clone)]
struct Wanted {
    entry: Entry,
    description: String,
}

/// One variable that is different now.
enum Difference<'a> {
    Put { name: &'a str, wanted: &'a Wanted, value_changed: bool },
    Delete { name: &'a str },
}

impl Catalog {
    /// Changes variables, all of them or none, in one new generation. Changes that change nothing keep the present
    /// generation. With `if_match`, only if that is still the newest. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] with every problem of every variable; [`CatalogError::Conflict`] naming the newest
    /// generation when it is not `if_match`; [`CatalogError::NotFound`] for the environment or a variable to delete.
    pub async fn change_variables(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        changes: Vec<VariableChange>,
        if_match: Option<u64>,
        message: String,
    ) -> Result<Generation, CatalogError> {
        let (changes, message, organization) = (&changes, &message, actor.organization);
        self.mutate(actor, Role::Developer, "change variables", async |mut draft| {
            let snapshot = self.snapshot(organization, environment).await?;
            let present = snapshot.environment.value.generation;
            if if_match.is_some_and(|expected| expected != present) {
                return Err(CatalogError::conflict(format!("the environment is at generation {present}")));
            }
            check_shape(changes, message)?;
            let before = self.wanted_now(organization, &snapshot).await?;
            let after = apply(&before, changes)?;
            let differences = differences(&before, &after);
            if differences.is_empty() {
                let generation = self.present_generation(organization, &snapshot.environment.value).await?;
                return Ok(Decided::Already(generation));
            }
            let content_hash = checked_hash(&after)?;
            let number = present + 1;
            self.write_versions(&mut draft, organization, &snapshot, &differences, number).await?;
            self.retire_generation(&mut draft, organization, environment, number).await?;

            let generation = Generation {
                environment,
                number,
                author: actor.subject.to_string(),
                message: message.clone(),
                created_at: draft.now,
                content_hash,
            };
            let variables = versions(&snapshot, &after, &differences, number);
            let row = GenerationRow { generation: generation.clone(), variables };
            draft.put(keys::generation(organization, environment, number), &row);
            let newer = Environment { generation: number, updated_at: draft.now, ..snapshot.environment.value.clone() };
            draft.replace(&snapshot.environment, &newer);
            draft.then(generation)
        })
        .await
    }

    async fn wanted_now(
        &self,
        organization: OrganizationId,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<String, Wanted>, CatalogError> {
        let entries = self.open_all(organization, snapshot).await?;
        let descriptions = snapshot.variables.values().map(|row| row.value.description.clone());
        let wanted = entries.into_iter().zip(descriptions);
        Ok(wanted.map(|(entry, description)| (entry.name.clone(), Wanted { entry, description })).collect())
    }

    /// Puts the versions that are different, and moves aside what they replace.
    async fn write_versions(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        snapshot: &Snapshot,
        differences: &[Difference<'_>],
        number: u64,
    ) -> Result<(), CatalogError> {
        let environment = &snapshot.environment.value;
        let sealer = self.sealer(draft, organization, environment, differences).await?;
        for difference in differences {
            let name = difference.name();
            let key = keys::variable(organization, environment.id, name);
            let replaced = snapshot.variables.get(name);
            if let Some(Row { value: old, .. }) = replaced {
                draft.put(keys::old_variable(organization, environment.id, name, old.generation), old);
            }
            let action = match difference {
                Difference::Delete { .. } => {
                    draft.delete(key);
                    AuditAction::Delete
                }
                Difference::Put { wanted, value_changed, .. } => {
                    let changed_in = replaced.filter(|_| !value_changed).map_or(number, |old| old.value.changed_in);
                    let content = content(wanted, sealer.as_ref(), organization, environment, number)?;
                    draft.put(key, &version(wanted, content, number, changed_in));
                    if replaced.is_some() { AuditAction::Update } else { AuditAction::Create }
                }
            };
            let target = format!("{}/{name}", environment.id);
            draft.audit(action, target, &format!("variable, in generation {number}"));
        }
        Ok(())
    }

    /// The key for what is to be sealed, its use counted; nothing when all is plain.
    async fn sealer(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        environment: &Environment,
        differences: &[Difference<'_>],
    ) -> Result<Option<DataKey>, CatalogError> {
        let sealed = differences.iter().filter(|difference| difference.is_sealed()).count() as u64;
        if sealed == 0 {
            return Ok(None);
        }
        let parent = keys::project(organization, environment.project);
        let project = self.expect_row::<ProjectRow>(parent, PROJECT).await?.value;
        let key = self.data_key_for(organization, &project, sealed).await?;
        // Written only together with the environment's row, whose compare guards this count too.
        let uses = keys::data_key_use(organization, environment.project, key.id(), environment.id);
        let before = self.row::<Uses>(uses.clone()).await?.map_or(0, |row| row.value.0);
        draft.put(uses, &Uses(before.saturating_add(sealed)));
        Ok(Some(key))
    }
}

impl<'a> Difference<'a> {
    fn name(&self) -> &'a str {
        match self {
            Self::Put { name, .. } | Self::Delete { name } => name,
        }
    }

    fn is_sealed(&self) -> bool {
        matches!(self, Self::Put { wanted, .. } if wanted.entry.is_secret() && wanted.entry.value.is_some())
    }
}

/// What can be said without the present state.
fn check_shape(changes: &[VariableChange], message: &str) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.text("message", message, MESSAGE_BYTES);
    problems.require(changes.len() <= MAX_CHANGES, "variables", || {
        format!("has {} changes; at most {MAX_CHANGES} are taken at once", changes.len())
    });
    let mut names = HashSet::new();
    for change in changes {
        let (VariableChange::Put { key, .. } | VariableChange::Delete { key }) = change;
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

fn apply(
    before: &BTreeMap<String, Wanted>,
    changes: &[VariableChange],
) -> Result<BTreeMap<String, Wanted>, CatalogError> {
    let mut after = before.clone();
    let mut problems = Problems::default();
    for change in changes {
        match change {
            VariableChange::Delete { key } => {
                after.remove(key).ok_or(CatalogError::NotFound { what: VARIABLE })?;
            }
            VariableChange::Put { key, value, is_secret, is_required, kind, description } => {
                let present = before.get(key).map(|one| &one.entry);
                let kept = present.and_then(|entry| entry.value.clone());
                let becomes_plain = !*is_secret && *kind != VariableKind::Secret;
                // Whoever may write a variable may not therefore read it.
                if value.is_none() && kept.is_some() && present.is_some_and(Entry::is_secret) && becomes_plain {
                    problems.add(shown(key), "is secret: a value must be given to make it plain");
                }
                let value = value.as_ref().map(|text| Zeroizing::new(text.expose().to_owned())).or(kept);
                let entry = Entry { name: key.clone(), value, kind: *kind, secret: *is_secret, required: *is_required };
                after.insert(key.clone(), Wanted { entry, description: description.clone() });
            }
        }
    }
    problems.into_result()?;
    Ok(after)
}

fn differences<'a>(before: &'a BTreeMap<String, Wanted>, after: &'a BTreeMap<String, Wanted>) -> Vec<Difference<'a>> {
    let deleted = before.keys().filter(|name| !after.contains_key(*name)).map(|name| Difference::Delete { name });
    let put = after.iter().filter_map(|(name, wanted)| {
        let old = before.get(name);
        let same = old.is_some_and(|old| old.entry == wanted.entry && old.description == wanted.description);
        let value_changed = old.is_none_or(|old| old.entry.value != wanted.entry.value);
        (!same).then_some(Difference::Put { name, wanted, value_changed })
    });
    deleted.chain(put).collect()
}

/// The content hash of an environment that an agent would take. Two things are left for the delivery to judge, because
/// they depend on what is delivered to: a required variable without a value, which is a declaration here, and a
/// dangerous name, which a deployment may allow.
fn checked_hash(after: &BTreeMap<String, Wanted>) -> Result<[u8; 32], CatalogError> {
    let environment = Plaintext { entries: after.values().map(|wanted| wanted.entry.clone()).collect() };
    let mut problems = Problems::default();
    for problem in environment.validate(&[]).err().unwrap_or_default() {
        if !matches!(problem.kind, ProblemKind::Missing | ProblemKind::DangerousName { .. }) {
            let field = if problem.name.is_empty() { "variables".to_owned() } else { problem.name };
            problems.add(field, problem.kind.to_string());
        }
    }
    problems.into_result()?;
    Ok(environment.hash())
}

fn content(
    wanted: &Wanted,
    key: Option<&DataKey>,
    organization: OrganizationId,
    environment: &Environment,
    generation: u64,
) -> Result<Content, CatalogError> {
    let Some(value) = &wanted.entry.value else { return Ok(Content::Unset) };
    if !wanted.entry.is_secret() {
        return Ok(Content::Plain(value.as_str().to_owned()));
    }
    let key = key.ok_or(CatalogError::NotFound { what: DataKeyRow::ROW })?;
    let place = place(organization, environment, &wanted.entry.name, generation, key.id());
    let ciphertext =
        seal(key, &place, value.as_bytes()).map_err(|source| CatalogError::Seal { row: VariableRow::ROW, source })?;
    Ok(Content::Sealed(SealedValue { key: key.id(), generation, ciphertext }))
}

fn version(wanted: &Wanted, content: Content, generation: u64, changed_in: u64) -> VariableRow {
    VariableRow {
        generation,
        changed_in,
        content,
        is_secret: wanted.entry.secret,
        is_required: wanted.entry.required,
        kind: wanted.entry.kind,
        description: wanted.description.clone(),
    }
}

/// Which version of each variable makes up generation `number`.
fn versions(
    snapshot: &Snapshot,
    after: &BTreeMap<String, Wanted>,
    differences: &[Difference<'_>],
    number: u64,
) -> Vec<(String, u64)> {
    let written: HashSet<&str> = differences.iter().map(Difference::name).collect();
    let version = |name: &String| match snapshot.variables.get(name) {
        Some(row) if !written.contains(name.as_str()) => row.value.generation,
        _ => number,
    };
    after.keys().map(|name| (name.clone(), version(name))).collect()
}
