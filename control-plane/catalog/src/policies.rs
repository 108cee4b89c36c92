//! Policies: uploaded components, and those that are built in.
//!
//! A component is larger than what one transaction takes. Its chunks are written first, under an id that nothing names
//! yet; the row that names it is written last. The same content has the same id, within an organisation and among what
//! is built in.

use bytes::{Bytes, BytesMut};
use outrigger_protocol::id::{OrganizationId, PolicyId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Compare, KeyRange, RangeOptions, Transaction};

use crate::catalog::{Catalog, READ, Row, random};
use crate::error::CatalogError;
use crate::keys::{self, PolicyShelf};
use crate::model::{Actor, AuditAction, PolicyInfo, Role};
use crate::mutation::Decided;
use crate::record::{Empty, Home, PolicyOfDigest};
use crate::tokens::hash_bytes;
use crate::validate::Problems;

const POLICY: &str = "policy";

/// As much as the policy host compiles.
pub const MAX_COMPONENT_BYTES: usize = 32 * 1024 * 1024;
/// Half of what a value may be, so that a chunk and its neighbours are read in moderate pieces.
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks written by one transaction.
const CHUNKS_AT_ONCE: usize = 4;
const SCHEMA_BYTES: usize = 64 * 1024;
const VERSION_BYTES: usize = 64;
/// Components of one organisation.
const MAX_POLICIES: usize = 200;

/// A component as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPolicy {
    pub name: String,
    pub version: String,
    /// JSON Schema of its configuration.
    pub config_schema: String,
}

impl Catalog {
    /// Keeps an uploaded component. The same content is kept once. Whether it is a component at all is for the policy
    /// host to say, before this. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for its size or description; [`CatalogError::Conflict`] when the organisation has as
    /// many as it may, or when the same content is being deleted.
    pub async fn put_policy(
        &self,
        actor: &Actor,
        component: Bytes,
        new: NewPolicy,
    ) -> Result<PolicyInfo, CatalogError> {
        actor.require(Role::Developer)?;
        check(&component, &new)?;
        let shelf = PolicyShelf(Some(actor.organization));
        let digest = hash_bytes(&component);
        if let Some(present) = self.policy_of_digest(shelf, &digest).await? {
            return self.name_policy(actor, shelf, &present).await;
        }
        let info = self.describe(shelf, &component, digest, new);
        self.put_chunks(shelf, info.id, &component).await?;
        let stored = self.name_policy(actor, shelf, &info).await;
        if !stored.as_ref().is_ok_and(|stored| stored.id == info.id) {
            self.delete_all(&shelf.chunks(info.id)).await?;
        }
        stored
    }

    /// Makes a policy of chunks that are there, unless their content is one already. Also then as a mutation: an
    /// idempotency key has to see it.
    async fn name_policy(
        &self,
        actor: &Actor,
        shelf: PolicyShelf,
        info: &PolicyInfo,
    ) -> Result<PolicyInfo, CatalogError> {
        let organization = actor.organization;
        self.mutate(actor, Role::Developer, "put policy", async |mut draft| {
            if let Some(present) = self.policy_of_digest(shelf, &info.digest).await? {
                return Ok(Decided::Already(present));
            }
            if self.rows::<PolicyInfo>(&shelf.policies(), None).await?.len() >= MAX_POLICIES {
                let what = format!("the organisation has {MAX_POLICIES} policies, which is the most");
                return Err(CatalogError::conflict(what));
            }
            let first = shelf.chunk(info.id, 0);
            if self.store().get(&first).await.map_err(READ)?.is_none() {
                return Err(CatalogError::conflict("the policy was deleted at the same time: upload it again"));
            }
            draft.when(Compare::Present(first));
            draft.when(Compare::Absent(shelf.digest(&info.digest)));
            draft.put(shelf.digest(&info.digest), &PolicyOfDigest(info.id));
            draft.put(keys::home::policy(info.id), &Home(organization));
            draft.put(shelf.policy(info.id), info);
            draft.audit(AuditAction::Create, info.id, &format!("policy {} {}", info.name, info.version));
            draft.then(info.clone())
        })
        .await
    }

    /// Makes a component available to every organisation. The same content is kept once; another is another policy. For
    /// the control plane's own start.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for its size or description.
    pub async fn ensure_builtin(
        &self,
        name: &str,
        version: &str,
        component: Bytes,
        config_schema: &str,
    ) -> Result<PolicyInfo, CatalogError> {
        let (name, version, config_schema) = (name.to_owned(), version.to_owned(), config_schema.to_owned());
        let new = NewPolicy { name, version, config_schema };
        check(&component, &new)?;
        let shelf = PolicyShelf(None);
        let digest = hash_bytes(&component);
        if let Some(present) = self.policy_of_digest(shelf, &digest).await? {
            return Ok(present);
        }
        let info = self.describe(shelf, &component, digest, new);
        self.put_chunks(shelf, info.id, &component).await?;
        // The installation's own content has no organisation whose audit log could tell of it.
        let transaction = Transaction::new()
            .when(Compare::Absent(shelf.digest(&digest)))
            .put(shelf.digest(&digest), crate::record::encode(&PolicyOfDigest(info.id)))
            .put(shelf.policy(info.id), crate::record::encode(&info));
        match self.store().commit(transaction).await {
            Ok(_) => Ok(info),
            Err(outrigger_store::StoreError::Conflict { .. }) => {
                self.delete_all(&shelf.chunks(info.id)).await?;
                self.policy_of_digest(shelf, &digest).await?.ok_or(CatalogError::NotFound { what: POLICY })
            }
            Err(error) => Err(CatalogError::store("storing a built-in policy")(error)),
        }
    }

    fn describe(&self, shelf: PolicyShelf, component: &Bytes, digest: [u8; 32], new: NewPolicy) -> PolicyInfo {
        let created_at = self.now();
        PolicyInfo {
            id: PolicyId::new(created_at, random()),
            organization: shelf.0,
            name: new.name,
            version: new.version,
            digest,
            size_bytes: component.len() as u64,
            config_schema: new.config_schema,
            created_at,
        }
    }

    async fn put_chunks(&self, shelf: PolicyShelf, id: PolicyId, component: &Bytes) -> Result<(), CatalogError> {
        let starts: Vec<usize> = (0..component.len()).step_by(CHUNK_BYTES).collect();
        for (round, group) in starts.chunks(CHUNKS_AT_ONCE).enumerate() {
            let mut transaction = Transaction::new();
            for (index, start) in group.iter().enumerate() {
                let number = (round * CHUNKS_AT_ONCE + index) as u64;
                let end = component.len().min(start + CHUNK_BYTES);
                transaction = transaction.put(shelf.chunk(id, number), component.slice(*start..end));
            }
            self.store().commit(transaction).await.map_err(CatalogError::store("storing a component"))?;
        }
        Ok(())
    }

    async fn policy_of_digest(
        &self,
        shelf: PolicyShelf,
        digest: &[u8; 32],
    ) -> Result<Option<PolicyInfo>, CatalogError> {
        match self.row::<PolicyOfDigest>(shelf.digest(digest)).await? {
            None => Ok(None),
            Some(row) => Ok(self.row::<PolicyInfo>(shelf.policy(row.value.0)).await?.map(|row| row.value)),
        }
    }

    /// The built-in policies, then the organisation's own, each oldest first.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn policies(&self, actor: &Actor) -> Result<Vec<PolicyInfo>, CatalogError> {
        actor.require(Role::Viewer)?;
        let mut all = self.rows::<PolicyInfo>(&PolicyShelf(None).policies(), None).await?;
        all.extend(self.rows(&PolicyShelf(Some(actor.organization)).policies(), None).await?);
        Ok(all.into_iter().map(|row| row.value).collect())
    }

    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn policy(&self, actor: &Actor, id: PolicyId) -> Result<PolicyInfo, CatalogError> {
        actor.require(Role::Viewer)?;
        Ok(self.policy_row(actor.organization, id).await?.value)
    }

    /// A policy that an organisation may use: its own, or one that is built in.
    pub(crate) async fn policy_row(
        &self,
        organization: OrganizationId,
        id: PolicyId,
    ) -> Result<Row<PolicyInfo>, CatalogError> {
        match self.row(PolicyShelf(Some(organization)).policy(id)).await? {
            Some(row) => Ok(row),
            None => self.expect_row(PolicyShelf(None).policy(id), POLICY).await,
        }
    }

    /// The component of a policy, checked against its digest. For the control plane itself, which has looked up on whose
    /// behalf.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::DamagedComponent`].
    pub async fn policy_component(&self, id: PolicyId) -> Result<Bytes, CatalogError> {
        let home = self.row::<Home>(keys::home::policy(id)).await?;
        let shelf = PolicyShelf(home.map(|row| row.value.0));
        let info = self.expect_row::<PolicyInfo>(shelf.policy(id), POLICY).await?.value;
        let mut range = KeyRange::prefix(&shelf.chunks(id));
        let mut component = BytesMut::new();
        loop {
            let page = self.store().range(range.clone(), RangeOptions::default()).await.map_err(READ)?;
            for entry in &page.entries {
                component.extend_from_slice(&entry.value);
            }
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => break,
            }
        }
        if hash_bytes(&component) != info.digest {
            return Err(CatalogError::DamagedComponent);
        }
        Ok(component.freeze())
    }

    /// Deletes an uploaded policy. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] while a deployment binds it, or when it is built in.
    pub async fn delete_policy(&self, actor: &Actor, id: PolicyId) -> Result<(), CatalogError> {
        let organization = actor.organization;
        let shelf = PolicyShelf(Some(organization));
        self.mutate(actor, Role::Developer, "delete policy", async |mut draft| {
            let row = self.policy_row(organization, id).await?;
            if row.value.organization.is_none() {
                return Err(CatalogError::conflict("a built-in policy cannot be deleted"));
            }
            let fence = keys::fence(organization, id.to_bytes());
            let uses = self.row::<Empty>(fence.clone()).await?;
            if self.any(&keys::policy_uses(organization, id)).await? {
                return Err(CatalogError::conflict("deployments bind the policy"));
            }
            draft.relies_on(&row);
            draft.relies_on_or_absence(fence.clone(), uses.as_ref());
            draft.delete(row.key.clone());
            draft.delete(fence);
            draft.delete(shelf.digest(&row.value.digest));
            draft.delete(keys::home::policy(id));
            draft.delete_below(&shelf.chunks(id));
            draft.audit(AuditAction::Delete, id, &format!("policy {} {}", row.value.name, row.value.version));
            draft.then(())
        })
        .await
    }

    /// Deletes chunks that were written before `before` and that no row names: the rest of an interrupted upload.
    pub(crate) async fn delete_orphaned_chunks(
        &self,
        shelf: PolicyShelf,
        before: UnixMillis,
    ) -> Result<usize, CatalogError> {
        let prefix = shelf.all_chunks();
        let mut range = KeyRange::prefix(&prefix);
        let mut deleted = 0;
        loop {
            // One component at a time: the first chunk behind the last one that was looked at.
            let page = self.store().range(range.clone(), RangeOptions::default().limit(1)).await.map_err(READ)?;
            let Some(entry) = page.entries.first() else { return Ok(deleted) };
            let id = entry.key.reader_after(&prefix).and_then(|mut reader| reader.array::<16>().ok());
            let Some(id) = id.map(PolicyId::from_bytes) else { return Ok(deleted) };
            range = range.after(&shelf.chunk(id, u64::MAX));
            if created_at(id) < before && self.row::<PolicyInfo>(shelf.policy(id)).await?.is_none() {
                self.delete_all(&shelf.chunks(id)).await?;
                deleted += 1;
            }
        }
    }
}

/// The time in an id: the first 48 bits of a UUIDv7 (RFC 9562, 5.7).
fn created_at(id: PolicyId) -> UnixMillis {
    let [a, b, c, d, e, f, ..] = id.to_bytes();
    UnixMillis::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn check(component: &Bytes, new: &NewPolicy) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.require((1..=MAX_COMPONENT_BYTES).contains(&component.len()), "component", || {
        format!("must have 1 to {MAX_COMPONENT_BYTES} bytes, not {}", component.len())
    });
    problems.name("name", &new.name);
    problems.text("version", &new.version, VERSION_BYTES);
    problems.text("configSchema", &new.config_schema, SCHEMA_BYTES);
    problems.into_result()
}
