//! Values in the clear, for whoever has the right to see them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use outrigger_configuration::resolve::{Effective, Source};
use outrigger_protocol::id::EnvironmentId;
use outrigger_secrets::SecretString;

use super::composition::Composition;
use super::{Opener, VARIABLE, unresolvable};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Role};
use crate::record::VariableRow;

/// Secrets that one value may be put together from, to be revealed: each is an entry of the audit log.
const MAX_SOURCES: usize = 256;

impl Catalog {
    /// The value of one variable as it is written, secret or not. Admin; the audit log tells of it before the caller has
    /// it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, the variable, or a value that is not set.
    pub async fn reveal(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        key: &str,
    ) -> Result<SecretString, CatalogError> {
        actor.require(Role::Admin)?;
        let organization = actor.organization;
        let parent = self.environment_row(organization, environment).await?.value;
        let not_found = || CatalogError::NotFound { what: VARIABLE };
        // Longer than any name, maybe longer than any key.
        if key.len() > crate::validate::VARIABLE_NAME_BYTES {
            return Err(not_found());
        }
        let mut opener = Opener::new(self, organization, &parent);
        let row = self.expect_row::<VariableRow>(keys::variable(organization, environment, key), VARIABLE).await?;
        let value = opener.open(key, &row.value).await?.ok_or_else(not_found)?;
        let mut draft = self.draft(actor);
        draft.concerns(parent.project);
        draft.audit(AuditAction::Reveal, format_args!("{environment}/{key}"), "revealed the value");
        self.commit(draft).await?;
        Ok(SecretString::from(value))
    }

    /// The value of one variable as a program gets it, inherited and expanded. It shows the secrets of every environment
    /// that it comes from, so it takes the right to reveal those too, admin, and the audit log tells of each of them
    /// before the caller has it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, the variable, or a value that is not set.
    pub async fn reveal_effective(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        key: &str,
    ) -> Result<SecretString, CatalogError> {
        actor.require(Role::Admin)?;
        let composition = self.composed(actor.organization, environment).await?;
        let effective = composition.resolve(environment).map_err(unresolvable)?;
        let not_found = CatalogError::NotFound { what: VARIABLE };
        let Some(entry) = effective.entry(key) else { return Err(not_found) };
        let Some(value) = entry.entry.value.clone() else { return Err(not_found) };
        let origin = entry.origin;
        let sources = sources(&composition, effective, key)?;
        // Roles are the organisation's: who may reveal here may reveal in every environment that a value can come from.
        let mut draft = self.draft(actor);
        draft.concerns(composition.project);
        let target = format!("{environment}/{key}");
        let from = if origin == environment { String::new() } else { format!(", inherited from {origin}") };
        draft.audit(AuditAction::Reveal, &target, &format!("revealed the effective value{from}"));
        for (environment, key) in sources {
            let detail = format!("revealed the value as a part of {target}");
            draft.audit(AuditAction::Reveal, format_args!("{environment}/{key}"), &detail);
        }
        self.commit(draft).await?;
        Ok(SecretString::from(value))
    }
}

/// The secrets that stand in a value, by the environments that write them, without the variable itself.
fn sources(
    composition: &Composition,
    effective: Effective,
    key: &str,
) -> Result<BTreeSet<(EnvironmentId, String)>, CatalogError> {
    let (root, mut resolved) = (effective.environment, BTreeMap::from([(effective.environment, effective)]));
    let (mut open, mut seen) = (vec![(root, key.to_owned())], BTreeSet::new());
    let mut written = BTreeSet::new();
    while let Some((environment, key)) = open.pop() {
        if !seen.insert((environment, key.clone())) {
            continue;
        }
        let effective = match resolved.entry(environment) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(composition.resolve(environment).map_err(unresolvable)?),
        };
        let Some(entry) = effective.entry(&key) else { continue };
        if entry.entry.is_secret() {
            written.insert((entry.origin, key));
        }
        open.extend(entry.references.iter().map(|Source { environment, key, .. }| (*environment, key.clone())));
        if written.len() > MAX_SOURCES {
            let what =
                format!("the value is put together from more than {MAX_SOURCES} secrets; reveal them one by one");
            return Err(CatalogError::conflict(what));
        }
    }
    // That one is told of as what was asked for.
    written.remove(&(root, key.to_owned()));
    Ok(written)
}
