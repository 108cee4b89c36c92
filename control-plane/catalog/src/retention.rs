//! What goes by itself after a while.
//!
//! Nothing here decides anything: a row that is past its time already counts for nothing when it is read, and deleting
//! it only makes room.

use std::time::Duration;

use outrigger_protocol::id::{AgentId, OrganizationId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Compare, Key, KeyRange, RangeOptions, StoreError, Transaction};

use crate::catalog::{Catalog, READ, decode};
use crate::error::CatalogError;
use crate::idempotency;
use crate::keys::{self, PolicyShelf};
use crate::model::{Deployment, Instance, InstancePhase};
use crate::record::{ChangeRow, IdempotencyRow, JoinTokenRow, Record, TokenRow};
use crate::variables::keys_of_values;

/// How long a gone instance is still listed, and the identity of its agent known.
const GONE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a join token that expired or was used still tells who used it.
const JOIN_TOKENS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a destroyed deployment is kept with its history.
const DESTROYED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// An upload that is older than this was interrupted.
const UPLOAD_TIME: Duration = Duration::from_secs(60 * 60);

/// How long a change request still tells what became of it.
const DECIDED_CHANGES_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Rows read at a time.
const ROWS_AT_ONCE: usize = 500;

/// How much was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub idempotency_keys: usize,
    pub tokens: usize,
    pub join_tokens: usize,
    pub instances: usize,
    pub deployments: usize,
    pub environments: usize,
    pub uploads: usize,
    pub change_requests: usize,
}

impl Catalog {
    /// Deletes what is past its time, in every organisation, and finishes what was interrupted. Worth calling every few
    /// minutes; nothing breaks without. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading and writing; the rest is left for the next time.
    pub async fn sweep(&self) -> Result<Swept, CatalogError> {
        let now = self.now();
        let mut swept = Swept::default();
        for organization in self.organizations().await? {
            swept.idempotency_keys += self.sweep_idempotency(organization, now).await?;
            swept.tokens += self.sweep_tokens(organization, now).await?;
            swept.join_tokens += self.sweep_join_tokens(organization, now).await?;
            swept.instances += self.sweep_instances(organization, now).await?;
            swept.deployments += self.sweep_deployments(organization, now).await?;
            swept.environments += self.finish_erasures(organization).await?;
            swept.change_requests += self.sweep_change_requests(organization, now).await?;
            let shelf = PolicyShelf(Some(organization));
            swept.uploads += self.delete_orphaned_chunks(shelf, now.saturating_sub(UPLOAD_TIME)).await?;
        }
        let builtin = PolicyShelf(None);
        swept.uploads += self.delete_orphaned_chunks(builtin, now.saturating_sub(UPLOAD_TIME)).await?;
        Ok(swept)
    }

    async fn sweep_idempotency(&self, organization: OrganizationId, now: UnixMillis) -> Result<usize, CatalogError> {
        let over = |row: &IdempotencyRow| now.since(row.at) >= idempotency::KEPT_FOR;
        self.sweep_table(&keys::idempotencies(organization), over, |_| Vec::new()).await
    }

    async fn sweep_tokens(&self, organization: OrganizationId, now: UnixMillis) -> Result<usize, CatalogError> {
        let over = |row: &TokenRow| row.info.expires_at.is_some_and(|expires_at| expires_at <= now);
        self.sweep_table(&keys::tokens(organization), over, |row| vec![keys::home::token(row.info.id)]).await
    }

    async fn sweep_join_tokens(&self, organization: OrganizationId, now: UnixMillis) -> Result<usize, CatalogError> {
        let over = |row: &JoinTokenRow| now.since(row.info.expires_at) >= JOIN_TOKENS_KEPT;
        self.sweep_table(&keys::join_tokens(organization), over, |row| vec![keys::home::join_token(row.info.id)]).await
    }

    async fn sweep_instances(&self, organization: OrganizationId, now: UnixMillis) -> Result<usize, CatalogError> {
        let over = |row: &Instance| row.phase == InstancePhase::Gone && now.since(row.updated_at) >= GONE_KEPT;
        self.sweep_table(&keys::all_instances(organization), over, |row| {
            let agent = |id: AgentId| [keys::agent(organization, id), keys::home::agent(id)];
            let mut also = vec![keys::instance_home(organization, row.id)];
            also.extend(row.agent.into_iter().flat_map(agent));
            also
        })
        .await
    }

    async fn sweep_deployments(&self, organization: OrganizationId, now: UnixMillis) -> Result<usize, CatalogError> {
        let over = |row: &Deployment| now.since(row.updated_at) >= DESTROYED_KEPT;
        let prefix = keys::gone_deployments(organization);
        for row in self.rows::<Deployment>(&prefix, None).await?.iter().filter(|row| over(&row.value)) {
            let id = row.value.id;
            for log in [keys::decision_log(organization, id), keys::event_log(organization, id)] {
                self.store().trim_log(&log, u64::MAX).await.map_err(CatalogError::store("deleting history"))?;
            }
            self.forget_rollouts(organization, id).await?;
        }
        self.sweep_table(&prefix, over, |row| vec![keys::latest_decision(organization, row.id)]).await
    }

    async fn sweep_change_requests(
        &self,
        organization: OrganizationId,
        now: UnixMillis,
    ) -> Result<usize, CatalogError> {
        let over = |row: &ChangeRow| match &row.request.decision {
            Some(decision) => now.since(decision.at) >= DECIDED_CHANGES_KEPT,
            None => now >= row.request.expires_at,
        };
        self.sweep_table(&keys::changes(organization), over, |row| {
            let open = keys::open_change(organization, row.request.environment, row.request.id);
            keys_of_values(organization, row).chain([open]).collect()
        })
        .await
    }

    /// Deletes the rows of a table that are over, each with the rows that lead to it, unless it was written meanwhile.
    async fn sweep_table<R: Record>(
        &self,
        prefix: &Key,
        over: impl Fn(&R) -> bool,
        also: impl Fn(&R) -> Vec<Key>,
    ) -> Result<usize, CatalogError> {
        let mut range = KeyRange::prefix(prefix);
        let mut deleted = 0;
        loop {
            let options = RangeOptions::default().limit(ROWS_AT_ONCE);
            let page = self.store().range(range.clone(), options).await.map_err(READ)?;
            for entry in &page.entries {
                let row = decode::<R>(&entry.value)?;
                if !over(&row) {
                    continue;
                }
                let unchanged = Compare::ModRevision(entry.key.clone(), entry.mod_revision);
                let transaction = Transaction::new().when(unchanged).delete(entry.key.clone());
                let transaction = also(&row).into_iter().fold(transaction, Transaction::delete);
                match self.store().commit(transaction).await {
                    Ok(_) => deleted += 1,
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(CatalogError::store("deleting what is over")(error)),
                }
            }
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok(deleted),
            }
        }
    }
}
