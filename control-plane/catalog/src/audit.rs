//! The audit log: one per organisation, written by every mutation, read and verified here.

mod chain;
mod verify;

use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Direction, SharedLink};

pub(crate) use chain::{AuditHead, Signers};
pub use verify::{AuditFault, AuditVerification};

use crate::catalog::{Catalog, READ, decode};
use crate::error::CatalogError;
use crate::keyring::Keyring;
use crate::keys;
use crate::model::{Actor, AuditAction, AuditEntry, Deployment, Role};
use crate::mutation::Draft;
use crate::page::{Listing, Page};

/// Entries that one read with a filter looks at, at most; a page may then be short and still have a next one.
const LOOKED_AT: usize = 10_000;
/// Of them in one go.
const STRETCH: usize = 500;
/// How far the times of entries may be out of their order: a mutation takes its time before it is committed, and a clock
/// may be set back.
const DISORDER: Duration = Duration::from_secs(60 * 60);

/// Which entries are asked for: those for which all that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    pub project: Option<ProjectId>,
    pub actor: Option<String>,
    pub action: Option<AuditAction>,
    /// Inclusive.
    pub from: Option<UnixMillis>,
    /// Exclusive.
    pub to: Option<UnixMillis>,
    pub page: Page,
}

impl From<Page> for AuditQuery {
    /// All entries.
    fn from(page: Page) -> Self {
        Self { page, ..Self::default() }
    }
}

impl AuditQuery {
    fn matches(&self, entry: &AuditEntry) -> bool {
        self.project.is_none_or(|project| entry.project == Some(project))
            && self.actor.as_ref().is_none_or(|actor| entry.actor == *actor)
            && self.action.is_none_or(|action| entry.action == action)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
    }

    /// Whether nothing older than this entry can match.
    fn ends_at(&self, entry: &AuditEntry) -> bool {
        self.from.is_some_and(|from| entry.at.saturating_add(DISORDER) < from)
    }

    fn is_of_all(&self) -> bool {
        *self == Self::from(self.page.clone())
    }
}

impl Catalog {
    /// What was done in the actor's organisation, newest first. Viewer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for a bad page.
    pub async fn audit(
        &self,
        actor: &Actor,
        query: impl Into<AuditQuery>,
    ) -> Result<Listing<AuditEntry>, CatalogError> {
        actor.require(Role::Viewer)?;
        let query = query.into();
        let limit = query.page.size()?;
        let log = keys::audit_log(actor.organization);
        // The oldest position that was looked at, behind which to go on.
        let mut reached = query.page.position::<8>()?.map(u64::from_be_bytes);
        let stretch = if query.is_of_all() { limit } else { STRETCH };
        let (mut items, mut looked_at) = (Vec::new(), 0);
        while items.len() < limit && looked_at < LOOKED_AT {
            let from = match reached {
                // Behind the oldest entry there is nothing.
                Some(0) => return Ok(Listing::new(items, None)),
                Some(last) => last - 1,
                None => u64::MAX,
            };
            let found = self.store().read_log(&log, from, stretch, Direction::Backward).await.map_err(READ)?;
            for (index, stored) in found.entries.iter().enumerate() {
                reached = Some(stored.position);
                let entry: AuditEntry = decode(chain::parse(&stored.value).row)?;
                if query.ends_at(&entry) {
                    return Ok(Listing::new(items, None));
                }
                if query.matches(&entry) {
                    items.push(entry);
                }
                let is_last = !found.more && index + 1 == found.entries.len();
                if is_last {
                    return Ok(Listing::new(items, None));
                }
                if items.len() == limit {
                    break;
                }
            }
            if found.entries.is_empty() {
                return Ok(Listing::new(items, None));
            }
            looked_at += found.entries.len();
        }
        let reached = reached.map(u64::to_be_bytes);
        Ok(Listing::new(items, reached.as_ref().map(<[u8; 8]>::as_slice)))
    }

    /// How many entries all organisations' logs have together. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn audit_entries(&self) -> Result<u64, CatalogError> {
        let mut entries = 0_u64;
        for organization in self.organizations().await? {
            let log = keys::audit_log(organization);
            let end = self.store().read_log(&log, u64::MAX, 1, Direction::Backward).await.map_err(READ)?;
            entries = entries.saturating_add(end.next_position);
        }
        Ok(entries)
    }

    /// Has a draft tell of what happens in the project of a deployment, as long as anything is known of it.
    pub(crate) async fn concerns_deployment(&self, draft: &mut Draft, id: DeploymentId) -> Result<(), CatalogError> {
        let organization = draft.organization();
        for key in [keys::deployment(organization, id), keys::gone_deployment(organization, id)] {
            if let Some(row) = self.row::<Deployment>(key).await? {
                draft.concerns(row.value.spec.project);
                break;
            }
        }
        Ok(())
    }

    /// What makes entries part of an organisation's audit log.
    pub(crate) fn audit_link(&self, keyring: &Keyring, organization: OrganizationId) -> SharedLink {
        SharedLink::new(chain::Chain::new(keyring, organization))
    }
}
