//! Which keys there are, what they are used for, and which should be replaced.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use outrigger_secrets::ROTATION_DUE;
use outrigger_store::{KeyRange, RangeOptions};

use crate::catalog::{Catalog, READ, decode};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, DataKeyInfo, KeyKind, ProjectKeys};
use crate::page::{Listing, Page};
use crate::projects::PROJECT;
use crate::record::{DataKeyRow, ProjectRow, RotationRow, Uses};

/// A data key that has sealed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    pub organization: OrganizationId,
    pub project: ProjectId,
    pub key: KeyId,
    pub encryptions: u64,
    /// It seals what its project writes now.
    pub is_active: bool,
}

impl KeyUse {
    /// It seals, and has sealed so many values that another one should take over.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.is_active && self.encryptions >= ROTATION_DUE
    }
}

/// Where a page of projects ends: an organisation and a project of it.
const POSITION_BYTES: usize = 32;

impl Catalog {
    /// The data keys of all projects of the installation. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::OperatorOnly`]; [`CatalogError::Validation`] for a bad page.
    pub async fn data_keys_by_project(&self, actor: &Actor, page: Page) -> Result<Listing<ProjectKeys>, CatalogError> {
        actor.require_operator()?;
        let limit = page.size()?;
        let (from, mut after) = match page.position::<POSITION_BYTES>()? {
            Some(position) => {
                let (organization, project) = position.split_at(POSITION_BYTES / 2);
                let id = |half: &[u8]| half.try_into().expect("half of the position is an id");
                (Some(OrganizationId::from_bytes(id(organization))), Some(ProjectId::from_bytes(id(project))))
            }
            None => (None, None),
        };
        let mut items: Vec<ProjectKeys> = Vec::new();
        for organization in self.organizations().await? {
            if from.is_some_and(|from| organization < from) {
                continue;
            }
            let prefix = keys::projects(organization);
            let mut range = KeyRange::prefix(&prefix);
            if let Some(last) = after.take().filter(|_| from == Some(organization)) {
                range = range.after(&keys::project(organization, last));
            }
            loop {
                // One more than is wanted says whether the list goes on.
                let options = RangeOptions::default().limit(limit + 1 - items.len());
                let found = self.store().range(range.clone(), options).await.map_err(READ)?;
                for entry in &found.entries {
                    if items.len() == limit {
                        let last = items.last().map(|last| (last.organization, last.project));
                        let position =
                            last.map(|(organization, project)| [organization.to_bytes(), project.to_bytes()].concat());
                        return Ok(Listing::new(items, position.as_deref()));
                    }
                    let row: ProjectRow = decode(&entry.value)?;
                    items.push(self.keys_of(organization, row).await?);
                }
                match found.entries.last() {
                    Some(last) if found.more => range = range.after(&last.key),
                    _ => break,
                }
            }
        }
        Ok(Listing::new(items, None))
    }

    /// The data keys of one project. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::OperatorOnly`], [`CatalogError::NotFound`].
    pub async fn data_keys_of(&self, actor: &Actor, project: ProjectId) -> Result<ProjectKeys, CatalogError> {
        actor.require_operator()?;
        let organization = self.home_of_project(project).await?;
        let row = self.expect_row::<ProjectRow>(keys::project(organization, project), PROJECT).await?;
        self.keys_of(organization, row.value).await
    }

    async fn keys_of(&self, organization: OrganizationId, row: ProjectRow) -> Result<ProjectKeys, CatalogError> {
        let ProjectRow { project, data_key: active } = row;
        let last = self.row::<RotationRow>(keys::rotation(organization, project.id)).await?;
        let rows = self.rows_by_key(organization, project.id).await?;
        let mut infos = Vec::new();
        for key in self.rows::<DataKeyRow>(&keys::data_keys(organization, project.id), None).await? {
            let DataKeyRow { id, created_at, .. } = key.value;
            let encryptions = self.data_key_uses(organization, project.id, id).await?;
            let is_active = id == active;
            let rows = rows.get(&id).copied().unwrap_or_default();
            let is_due = is_active && encryptions >= ROTATION_DUE;
            infos.push(DataKeyInfo { id, created_at, is_active, encryptions, rows, is_due });
        }
        let kind = KeyKind::Data { organization, project: project.id };
        let rotation = last.map(|row| row.value.shown(kind));
        Ok(ProjectKeys { organization, project: project.id, name: project.name, keys: infos, rotation })
    }

    /// The keys that are in use and should be replaced. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn due_keys(&self) -> Result<Vec<KeyUse>, CatalogError> {
        let mut all = self.key_uses(usize::MAX).await?;
        all.retain(KeyUse::is_due);
        Ok(all)
    }

    /// The `most` data keys that have sealed the most values, the most used first. Reads a row for each key there is. For
    /// the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn key_uses(&self, most: usize) -> Result<Vec<KeyUse>, CatalogError> {
        let mut all = Vec::new();
        for organization in self.organizations().await? {
            let prefix = keys::all_data_key_uses(organization);
            let mut uses: BTreeMap<(ProjectId, KeyId), u64> = BTreeMap::new();
            for row in self.rows::<Uses>(&prefix, None).await? {
                let Some(mut place) = row.key.reader_after(&prefix) else { continue };
                let (Ok(project), Ok(key)) = (place.array(), place.array()) else { continue };
                let uses = uses.entry((ProjectId::from_bytes(project), KeyId::from_bytes(key))).or_default();
                *uses = uses.saturating_add(row.value.0);
            }
            all.extend(uses.into_iter().map(|((project, key), encryptions)| KeyUse {
                organization,
                project,
                key,
                encryptions,
                is_active: false,
            }));
        }
        all.sort_unstable_by_key(|one| (Reverse(one.encryptions), one.key));
        all.truncate(most);
        for one in &mut all {
            let row = self.row::<ProjectRow>(keys::project(one.organization, one.project)).await?;
            one.is_active = row.is_some_and(|row| row.value.data_key == one.key);
        }
        Ok(all)
    }
}
