//! Coarse news of what has changed, for whoever keeps a picture of it.

use std::collections::VecDeque;

use outrigger_protocol::id::{DeploymentId, EnvironmentId, OrganizationId};
use outrigger_store::{ChangeKind, KeyRange, Revision, StoreError, Watch};

use crate::catalog::{Catalog, decode};
use crate::error::CatalogError;
use crate::keys::{self, Watched};
use crate::model::Environment;

/// Something to look at again. What it is now, the catalog says; several changes may be told as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    Environment {
        organization: OrganizationId,
        id: EnvironmentId,
        generation: u64,
    },
    /// Made, changed or destroyed.
    Deployment {
        organization: OrganizationId,
        id: DeploymentId,
    },
    /// The reader was so slow that changes were forgotten: everything is to be looked at again.
    Missed,
}

/// The changes since a moment, without end.
#[derive(Debug)]
pub struct Changes {
    catalog: Catalog,
    watch: Watch,
    ready: VecDeque<Change>,
}

impl Catalog {
    /// Every change from now on. What is read after this call returns is from before, or will be told.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes_after(self.store().revision())
    }

    /// Every change after a revision that [`Changes::revision`] gave.
    #[must_use]
    pub fn changes_after(&self, revision: Revision) -> Changes {
        Changes { catalog: self.clone(), watch: self.watch_after(revision), ready: VecDeque::new() }
    }

    fn watch_after(&self, revision: Revision) -> Watch {
        self.store().watch(KeyRange::prefix(&keys::tenants()), revision.saturating_add(1))
    }
}

impl Changes {
    /// Waits for the next change. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of reading; when the store is closed, always.
    pub async fn next(&mut self) -> Result<Change, CatalogError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            match self.watch.next().await {
                Ok(event) => {
                    for change in event.changes {
                        self.take(&change)?;
                    }
                }
                Err(StoreError::Compacted { .. }) => {
                    self.watch = self.catalog.watch_after(self.catalog.store().revision());
                    return Ok(Change::Missed);
                }
                Err(error) => return Err(CatalogError::store("watching")(error)),
            }
        }
    }

    /// The revision up to which everything has been told, once nothing is left to tell at once.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.ready.is_empty().then(|| self.watch.revision())
    }

    fn take(&mut self, change: &outrigger_store::Change) -> Result<(), CatalogError> {
        match (keys::watched(&change.key), &change.kind) {
            (Some(Watched::Environment(organization, id)), ChangeKind::Put(value)) => {
                let generation = decode::<Environment>(value)?.generation;
                self.ready.push_back(Change::Environment { organization, id, generation });
            }
            // An environment is only deleted when no deployment is left to care.
            (Some(Watched::Environment(..)), ChangeKind::Delete) | (None, _) => {}
            (Some(Watched::Deployment(organization, id)), _) => {
                self.ready.push_back(Change::Deployment { organization, id });
            }
        }
        Ok(())
    }
}
