//! The audit log: one per organisation, written by every mutation, read here.

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditEntry, Role};
use crate::page::{Listing, Page};

impl Catalog {
    /// What was done in the actor's organisation, newest first.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for a bad page.
    pub async fn audit(&self, actor: &Actor, page: Page) -> Result<Listing<AuditEntry>, CatalogError> {
        actor.require(Role::Viewer)?;
        let limit = page.size()?;
        self.page_of_log(&keys::audit_log(actor.organization), &page, limit).await
    }
}
