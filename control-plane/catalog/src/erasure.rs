//! What an erased environment leaves behind.
//!
//! Deleting an environment makes it unreachable in one transaction; its generations and variables may be more rows than
//! one transaction can delete. A mark says that they are still to go. The work is begun at once, and whatever a crash
//! interrupts is finished by [`Catalog::sweep`](crate::Catalog::sweep).

use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId};
use outrigger_store::{Key, KeyRange, RangeOptions, Transaction};

use crate::catalog::{Catalog, READ};
use crate::error::CatalogError;
use crate::keys;
use crate::mutation::Draft;
use crate::record::Empty;

/// Rows deleted by one transaction, well below the store's limit.
const ROWS_AT_ONCE: usize = 1_000;

impl Catalog {
    /// Makes an environment unreachable. What leads to it from its project is the caller's to delete.
    pub(crate) fn erase_environment(draft: &mut Draft, organization: OrganizationId, id: EnvironmentId) {
        draft.delete(keys::environment(organization, id));
        draft.delete(keys::fence(organization, id.to_bytes()));
        draft.delete(keys::resealed(organization, id));
        draft.mark(keys::erasure(organization, id));
    }

    /// Does now what is due anyway. A failure is no failure of the caller's: the marks stay.
    pub(crate) async fn finish_erasures_soon(&self, organization: OrganizationId) {
        if let Err(error) = self.finish_erasures(organization).await {
            tracing::warn!(%organization, %error, "erased rows are deleted later");
        }
    }

    /// How many environments' rows were deleted.
    pub(crate) async fn finish_erasures(&self, organization: OrganizationId) -> Result<usize, CatalogError> {
        let marks = self.rows::<Empty>(&keys::erasures(organization), None).await?;
        for mark in &marks {
            let Some(id) = keys::last_id(&mark.key).map(EnvironmentId::from_bytes) else { continue };
            for change in self.rows::<Empty>(&keys::open_changes(organization, id), None).await? {
                let Some(change) = keys::last_id(&change.key).map(ChangeId::from_bytes) else { continue };
                self.delete_all(&keys::change_values(organization, change)).await?;
                self.delete_all(&keys::change(organization, change)).await?;
            }
            for table in [keys::open_changes, keys::variables, keys::old_variables, keys::generations] {
                self.delete_all(&table(organization, id)).await?;
            }
            let transaction = Transaction::new().delete(mark.key.clone());
            self.store().commit(transaction).await.map_err(CatalogError::store("finishing an erasure"))?;
        }
        Ok(marks.len())
    }

    /// Deletes everything below a prefix that nothing refers to any more.
    pub(crate) async fn delete_all(&self, prefix: &Key) -> Result<(), CatalogError> {
        let range = KeyRange::prefix(prefix);
        loop {
            let options = RangeOptions::default().limit(ROWS_AT_ONCE);
            let page = self.store().range(range.clone(), options).await.map_err(READ)?;
            let Some(last) = page.entries.last() else { return Ok(()) };
            let end = range.after(&last.key);
            let transaction = Transaction::new().delete_range(KeyRange::between(prefix.clone(), end.start().clone()));
            self.store().commit(transaction).await.map_err(CatalogError::store("deleting erased rows"))?;
        }
    }
}
