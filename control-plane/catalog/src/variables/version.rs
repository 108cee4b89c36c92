//! Versions of variables: what is different between two states of a layer, and the rows that are written for it.

use std::collections::{BTreeMap, HashSet};

use outrigger_configuration::resolve::{Layer, Variable};
use outrigger_protocol::id::OrganizationId;
use outrigger_secrets::{DataKey, seal};

use super::place;
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{AuditAction, Environment, SealedValue};
use crate::mutation::Draft;
use crate::projects::PROJECT;
use crate::record::{Content, DataKeyRow, ProjectRow, Record, Uses, VariableRow};

/// One variable that is different now.
pub(super) enum Difference<'a> {
    Put { before: Option<&'a Variable>, wanted: &'a Variable, value_changed: bool },
    Delete { before: &'a Variable },
}

impl<'a> Difference<'a> {
    fn name(&self) -> &'a str {
        match self {
            Self::Put { wanted, .. } => &wanted.name,
            Self::Delete { before } => &before.name,
        }
    }

    /// The value before and the one after, where there is one.
    fn values(&self) -> (Option<&'a str>, Option<&'a str>) {
        let (before, after) = match *self {
            Self::Put { before, wanted, .. } => (before, Some(wanted)),
            Self::Delete { before } => (Some(before), None),
        };
        let value = |variable: Option<&'a Variable>| variable?.value.as_ref().map(|value| value.as_str());
        (value(before), value(after))
    }

    fn is_sealed(&self) -> bool {
        matches!(self, Self::Put { wanted, .. } if wanted.is_secret() && wanted.value.is_some())
    }
}

/// What has to be written to get from one state of a layer to another.
pub(super) fn differences<'a>(before: &'a Layer, after: &'a Layer) -> Vec<Difference<'a>> {
    let by_name = |layer: &'a Layer| -> BTreeMap<&'a str, &'a Variable> {
        layer.variables.iter().map(|variable| (variable.name.as_str(), variable)).collect()
    };
    let (before, after) = (by_name(before), by_name(after));
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let deleted = gone.map(|(_, before)| Difference::Delete { before });
    let put = after.iter().filter_map(|(name, wanted)| {
        let old = before.get(name).copied();
        let value_changed = old.is_none_or(|old| old.value != wanted.value);
        (old != Some(*wanted)).then_some(Difference::Put { before: old, wanted, value_changed })
    });
    deleted.chain(put).collect()
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
        let audit = self.audit_keys(organization);
        draft.concerns(environment.project);
        for difference in differences {
            let name = difference.name();
            let key = keys::variable(organization, environment.id, name);
            let replaced = present.get(name);
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
            let print = |value: Option<&str>| value.map(|value| audit.fingerprint(&target, value.as_bytes()));
            let (before, after) = difference.values();
            let detail = format!("variable, in generation {number}");
            draft.audit_value(action, &target, &detail, print(before), print(after));
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

fn version(wanted: &Variable, content: Content, generation: u64, changed_in: u64) -> VariableRow {
    VariableRow {
        generation,
        changed_in,
        content,
        is_secret: wanted.secret,
        is_required: wanted.required,
        kind: wanted.kind,
        description: wanted.description.clone(),
        expand: wanted.expand,
    }
}

/// Which version of each variable makes up generation `number`, by name.
pub(super) fn versions(
    present: &BTreeMap<String, Row<VariableRow>>,
    layer: &Layer,
    differences: &[Difference<'_>],
    number: u64,
) -> Vec<(String, u64)> {
    let written: HashSet<&str> = differences.iter().map(Difference::name).collect();
    let version = |name: &str| match present.get(name) {
        Some(row) if !written.contains(name) => row.value.generation,
        _ => number,
    };
    let mut versions: Vec<(String, u64)> =
        layer.variables.iter().map(|variable| (variable.name.clone(), version(&variable.name))).collect();
    versions.sort_unstable();
    versions
}
