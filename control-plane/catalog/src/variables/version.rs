//! Versions of variables: what is different between two states of a layer, and the rows that are written for it.

use std::collections::{BTreeMap, HashSet};

use outrigger_configuration::resolve::{Layer, Variable};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::OrganizationId;
use outrigger_secrets::{DataKey, seal};

use super::place;
use crate::audit::Signers;
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{AuditAction, Environment, SealedValue};
use crate::mutation::Draft;
use crate::projects::PROJECT;
use crate::record::{Content, DataKeyRow, ProjectRow, Record, Uses, VariableRow};

/// What a layer says under a name.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Written<'a> {
    Variable(&'a Variable),
    /// What is inherited is not to be there.
    Removed,
}

impl<'a> Written<'a> {
    fn variable(self) -> Option<&'a Variable> {
        if let Self::Variable(variable) = self { Some(variable) } else { None }
    }
}

/// One name under which something else is said now.
pub(super) struct Difference<'a> {
    pub(super) name: &'a str,
    before: Option<Written<'a>>,
    pub(super) after: Option<Written<'a>>,
}

impl<'a> Difference<'a> {
    /// The value before and the one after, where there is one.
    fn values(&self) -> (Option<&'a str>, Option<&'a str>) {
        let value = |written: Option<Written<'a>>| written?.variable()?.value.as_ref().map(|value| value.as_str());
        (value(self.before), value(self.after))
    }

    /// Whether there was a variable that has the same value now.
    fn keeps_value(&self) -> bool {
        let (before, after) = self.values();
        self.before.and_then(Written::variable).is_some() && before == after
    }

    fn is_sealed(&self) -> bool {
        let after = self.after.and_then(Written::variable);
        after.is_some_and(|wanted| wanted.is_secret() && wanted.value.is_some())
    }

    /// What the audit log calls it.
    fn told(&self) -> (AuditAction, &'static str) {
        match (self.before, self.after) {
            (_, Some(Written::Removed)) => (AuditAction::Delete, "removed what is inherited"),
            (Some(Written::Removed), None) => (AuditAction::Update, "let in again what is inherited"),
            (_, None) => (AuditAction::Delete, "variable"),
            (Some(Written::Variable(_)), Some(Written::Variable(_))) => (AuditAction::Update, "variable"),
            (_, Some(Written::Variable(_))) => (AuditAction::Create, "variable"),
        }
    }
}

/// What has to be written to get from one state of a layer to another.
pub(super) fn differences<'a>(before: &'a Layer, after: &'a Layer) -> Vec<Difference<'a>> {
    let (before, after) = (by_name(before), by_name(after));
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(name, before)| Difference { name, before: Some(*before), after: None });
    let put = after.iter().filter_map(|(name, wanted)| {
        let before = before.get(name).copied();
        (before != Some(*wanted)).then_some(Difference { name, before, after: Some(*wanted) })
    });
    gone.chain(put).collect()
}

fn by_name(layer: &Layer) -> BTreeMap<&str, Written<'_>> {
    let variables = layer.variables.iter().map(|variable| (variable.name.as_str(), Written::Variable(variable)));
    variables.chain(layer.tombstones.iter().map(|name| (name.as_str(), Written::Removed))).collect()
}

impl Catalog {
    /// Puts the versions that are different, and moves aside what they replace.
    pub(super) async fn write_versions(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        environment: &Environment,
        present: &BTreeMap<String, Row<VariableRow>>,
        differences: &[Difference<'_>],
        number: u64,
    ) -> Result<(), CatalogError> {
        let sealer = self.sealer(draft, organization, environment, differences).await?;
        let keyring = draft.keyring(self);
        let signers = Signers::new(&keyring, organization);
        let audit = signers.signing();
        draft.concerns(environment.project);
        for difference in differences {
            let name = difference.name;
            let key = keys::variable(organization, environment.id, name);
            let replaced = present.get(name);
            if let Some(Row { value: old, .. }) = replaced {
                draft.put(keys::old_variable(organization, environment.id, name, old.generation), old);
            }
            match difference.after {
                None => draft.delete(key),
                Some(wanted) => {
                    let kept = replaced.filter(|_| difference.keeps_value());
                    let changed_in = kept.map_or(number, |old| old.value.changed_in);
                    draft.put(key, &version(wanted, sealer.as_ref(), organization, environment, number, changed_in)?);
                }
            }
            let target = format!("{}/{name}", environment.id);
            let print = |value: Option<&str>| value.map(|value| audit.fingerprint(&target, value.as_bytes()));
            let (before, after) = difference.values();
            let (action, what) = difference.told();
            let detail = format!("{what}, in generation {number}");
            draft.audit_value(action, &target, &detail, print(before), print(after));
        }
        Ok(())
    }

    /// The key for what is to be sealed, its use counted; nothing when all is plain.
    pub(super) async fn sealer(
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
        let project = self.expect_row::<ProjectRow>(parent, PROJECT).await?;
        // Once another key has taken over, nothing comes to be sealed under the old one any more.
        draft.relies_on(&project);
        let key = self.data_key_for(organization, &project.value, sealed).await?;
        // Written only together with the environment's row, whose compare guards this count too.
        let uses = keys::data_key_use(organization, environment.project, key.id(), environment.id);
        let before = self.row::<Uses>(uses.clone()).await?.map_or(0, |row| row.value.0);
        draft.put(uses, &Uses(before.saturating_add(sealed)));
        Ok(Some(key))
    }
}

fn content(
    wanted: &Variable,
    key: Option<&DataKey>,
    organization: OrganizationId,
    environment: &Environment,
    generation: u64,
) -> Result<Content, CatalogError> {
    let Some(value) = &wanted.value else { return Ok(Content::Unset) };
    if !wanted.is_secret() {
        return Ok(Content::Plain(value.as_str().to_owned()));
    }
    let key = key.ok_or(CatalogError::NotFound { what: DataKeyRow::ROW })?;
    let place = place(organization, environment, &wanted.name, generation, key.id());
    let ciphertext =
        seal(key, &place, value.as_bytes()).map_err(|source| CatalogError::Seal { row: VariableRow::ROW, source })?;
    Ok(Content::Sealed(SealedValue { key: key.id(), generation, ciphertext }))
}

/// The row of what is said under a name, for its place in `generation` of an environment.
pub(super) fn version(
    wanted: Written<'_>,
    key: Option<&DataKey>,
    organization: OrganizationId,
    environment: &Environment,
    generation: u64,
    changed_in: u64,
) -> Result<VariableRow, CatalogError> {
    Ok(match wanted {
        Written::Removed => VariableRow {
            generation,
            changed_in,
            content: Content::Removed,
            is_secret: false,
            is_required: false,
            kind: VariableKind::String,
            description: String::new(),
            expand: false,
        },
        Written::Variable(wanted) => VariableRow {
            generation,
            changed_in,
            content: content(wanted, key, organization, environment, generation)?,
            is_secret: wanted.secret,
            is_required: wanted.required,
            kind: wanted.kind,
            description: wanted.description.clone(),
            expand: wanted.expand,
        },
    })
}

/// Which version of each variable makes up generation `number`, by name.
pub(super) fn versions(
    present: &BTreeMap<String, Row<VariableRow>>,
    layer: &Layer,
    differences: &[Difference<'_>],
    number: u64,
) -> Vec<(String, u64)> {
    let written: HashSet<&str> = differences.iter().map(|difference| difference.name).collect();
    let version = |name: &str| match present.get(name) {
        Some(row) if !written.contains(name) => row.value.generation,
        _ => number,
    };
    let mut versions: Vec<(String, u64)> =
        by_name(layer).into_keys().map(|name| (name.to_owned(), version(name))).collect();
    versions.sort_unstable();
    versions
}
