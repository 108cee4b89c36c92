//! Where everything lies that is sealed under a project's data keys.

use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId};
use outrigger_store::{Key, KeyRange, RangeOptions};

use super::Home;
use crate::catalog::{Catalog, READ, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::record::Empty;
use crate::rotation::walk::{Found, Stretch};

/// Rows of versions that lie together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// What variables would be with a change request.
    Requested(ChangeId),
    Newest(EnvironmentId),
    Replaced(EnvironmentId),
}

impl Place {
    pub(super) fn prefix(self, organization: OrganizationId) -> Key {
        match self {
            Self::Requested(change) => keys::change_values(organization, change),
            Self::Newest(environment) => keys::variables(organization, environment),
            Self::Replaced(environment) => keys::old_variables(organization, environment),
        }
    }

    fn stretch(self, organization: OrganizationId) -> Stretch<Self> {
        Stretch { of: self, range: KeyRange::prefix(&self.prefix(organization)) }
    }

    /// The environment that values are sealed for. A change request is one to its values.
    pub(super) fn environment(self) -> EnvironmentId {
        match self {
            Self::Requested(change) => EnvironmentId::from_bytes(change.to_bytes()),
            Self::Newest(environment) | Self::Replaced(environment) => environment,
        }
    }

    /// The row without which these would be nobody's.
    pub(super) fn parent(self, organization: OrganizationId) -> Key {
        match self {
            Self::Requested(change) => keys::change(organization, change),
            Self::Newest(environment) | Self::Replaced(environment) => keys::environment(organization, environment),
        }
    }
}

/// Versions of all environments of an organisation, those of each in a place.
struct Table {
    rows: Key,
    place: fn(EnvironmentId) -> Place,
}

impl Catalog {
    /// The next versions of a project's variables, in the order of their keys: what awaits approval, and then the newest
    /// versions of all environments before those that were moved aside.
    pub(super) async fn next_sealed(
        &self,
        home: Home,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Option<Found<Place>>, CatalogError> {
        let organization = home.organization;
        let newest = keys::all_variables(organization);
        if after.is_none_or(|after| *after < newest) {
            let requested = self.open_changes_of(home).await?;
            let found = self.rows_behind(&requested, after, most).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let replaced = keys::all_old_variables(organization);
        let tables = [Table { rows: newest, place: Place::Newest }, Table { rows: replaced, place: Place::Replaced }];
        for Table { rows, place } in tables {
            // In a table that comes before the one that was reached, there is nothing more.
            let reached = after.filter(|after| **after >= rows).map(|after| after.reader_after(&rows));
            let mut from = match reached {
                Some(None) => continue,
                Some(Some(mut reader)) => reader.array().ok().map(EnvironmentId::from_bytes),
                None => None,
            };
            while let Some(environment) = self.environment_from(home, from).await? {
                let found = self.rows_behind(&[place(environment).stretch(organization)], after, most).await?;
                if found.is_some() {
                    return Ok(found);
                }
                let Some(following) = following(environment) else { break };
                from = Some(following);
            }
        }
        Ok(None)
    }

    /// The first of a project's environments, or the first from an id on.
    async fn environment_from(
        &self,
        home: Home,
        from: Option<EnvironmentId>,
    ) -> Result<Option<EnvironmentId>, CatalogError> {
        let Home { organization, project } = home;
        let all = KeyRange::prefix(&keys::environments_of(organization, project));
        let start = from.map(|id| keys::environment_of(organization, project, id));
        let range = match (start, all.end()) {
            (Some(start), Some(end)) => KeyRange::between(start, end.clone()),
            _ => all,
        };
        let page = self.store().range(range, RangeOptions::default().limit(1)).await.map_err(READ)?;
        Ok(page.entries.first().and_then(|entry| keys::last_id(&entry.key)).map(EnvironmentId::from_bytes))
    }

    /// The values of changes that await approval in a project.
    async fn open_changes_of(&self, home: Home) -> Result<Vec<Stretch<Place>>, CatalogError> {
        let Home { organization, project } = home;
        let environments = self.environments_of(organization, project).await?;
        let prefix = keys::all_open_changes(organization);
        let open = self.rows::<Empty>(&prefix, None).await?;
        let change = |row: &Row<Empty>| {
            let mut place = row.key.reader_after(&prefix)?;
            let environment = EnvironmentId::from_bytes(place.array().ok()?);
            let is_of_project = environments.binary_search(&environment).is_ok();
            place.array().ok().filter(|_| is_of_project).map(ChangeId::from_bytes)
        };
        let mut requested: Vec<ChangeId> = open.iter().filter_map(change).collect();
        requested.sort_unstable();
        Ok(requested.into_iter().map(|change| Place::Requested(change).stretch(organization)).collect())
    }
}

/// The id that comes next in the order of ids.
fn following(id: EnvironmentId) -> Option<EnvironmentId> {
    let next = u128::from_be_bytes(id.to_bytes()).checked_add(1)?;
    Some(EnvironmentId::from_bytes(next.to_be_bytes()))
}
