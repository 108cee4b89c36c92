//! The master key is replaced.
//!
//! Under it are the data keys of all projects, the secrets of the installation, the results that are kept for idempotency
//! keys, and with a key that is derived from it the ends of the audit logs are signed. While one takes the place of
//! another, both are needed to open the database.

use bytes::Bytes;
use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use outrigger_secrets::{DataKey, KeyCheck, MasterKey, OpenSealedError, open_blob, seal_blob};
use outrigger_store::{Entry, Key, KeyRange, RangeOptions, Transaction};

use super::walk::{Found, Stretch};
use super::{Batch, PAGES_AT_ONCE, ROWS_AT_ONCE, RotationStep};
use crate::audit::{AuditHead, Signers};
use crate::catalog::{Catalog, READ, Row, decode, random};
use crate::error::CatalogError;
use crate::idempotency;
use crate::keyring::{Keyring, key_check_of, next_key_check_of};
use crate::keys;
use crate::model::{Actor, AuditAction, KeyKind, MasterKeyInfo, Role, Rotation};
use crate::mutation::Decided;
use crate::record::{self, DataKeyRow, IdempotencyRow, KeptResult, KeyCheckRow, OperatorRow, Record, RotationRow};

const TARGET: &str = "master-key";
const BLOB: &str = "installation secret";

/// A table in which something is under the master key.
#[derive(Debug, Clone, Copy)]
enum Table {
    Blobs,
    AuditHead(OrganizationId),
    DataKeys(OrganizationId),
    Idempotency(OrganizationId),
}

impl Table {
    fn prefix(self) -> Key {
        match self {
            Self::Blobs => keys::blobs(),
            Self::AuditHead(organization) => keys::audit_head(organization),
            Self::DataKeys(organization) => keys::all_data_keys(organization),
            Self::Idempotency(organization) => keys::idempotencies(organization),
        }
    }

    const fn row(self) -> &'static str {
        match self {
            Self::Blobs => BLOB,
            Self::AuditHead(_) => AuditHead::ROW,
            Self::DataKeys(_) => DataKeyRow::ROW,
            Self::Idempotency(_) => IdempotencyRow::ROW,
        }
    }

    fn stretch(self) -> Stretch<Self> {
        Stretch { of: self, range: KeyRange::prefix(&self.prefix()) }
    }
}

/// Why a row is not sealed anew.
enum Failed {
    /// It does not open with either key.
    Damaged,
    Catalog(CatalogError),
}

impl From<CatalogError> for Failed {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<OpenSealedError> for Failed {
    fn from(_: OpenSealedError) -> Self {
        Self::Damaged
    }
}

impl Catalog {
    /// Has `next` take over as the master key. From when this returns on everything is sealed with it, and what was sealed
    /// before is sealed anew in the background. Until that is over the database opens only with both. While it goes on,
    /// the same is answered again. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::OperatorOnly`]; [`CatalogError::Conflict`] when `next` is the master key already.
    pub async fn rotate_master_key(&self, actor: &Actor, next: &MasterKey) -> Result<Rotation, CatalogError> {
        actor.require_operator()?;
        let _turn = self.rotations().master.lock().await;
        let begun = self.mutate(actor, Role::Owner, "rotate master key", async |mut draft| {
            let keyring = draft.keyring(self);
            let check = self.expect_row::<KeyCheckRow>(keys::key_check(), KeyCheckRow::ROW).await?;
            let last = self.row::<RotationRow>(keys::master_rotation()).await?;
            if let Some(running) = last.as_ref().filter(|row| row.value.is_running()) {
                return Ok(Decided::Already(running.value.clone()));
            }
            if KeyCheck::verify(next, &check.value.check) {
                let what = "the key that is to take over is the master key already: put a new one in its place";
                return Err(CatalogError::conflict(what));
            }
            // Before anybody can seal with it, so that nothing is met that does not open.
            self.set_keyring(keyring.with(next.clone()));
            let (before, after) = (keyring.sealing().name(), next.name());
            let row =
                KeyCheckRow { name: Some(before.clone()), next: Some(next_key_check_of(next)?), ..check.value.clone() };
            draft.replace(&check, &row);
            draft.relies_on_or_absence(keys::master_rotation(), last.as_ref());
            let rotation = RotationRow::new(KeyId::new(draft.now, random()), draft.now);
            draft.put(keys::master_rotation(), &rotation);
            draft.audit(AuditAction::Rotate, TARGET, &format!("master key {after} takes over from {before}"));
            draft.then(rotation)
        });
        let begun = begun.await?;
        self.renew_keyring(&self.keyring()).await?;
        self.rotations().begun.notify_one();
        Ok(begun.shown(KeyKind::Master))
    }

    /// What the master key is called, and what becomes of it. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::OperatorOnly`].
    pub async fn master_key(&self, actor: &Actor) -> Result<MasterKeyInfo, CatalogError> {
        actor.require_operator()?;
        let keyring = self.keyring();
        let is_replaced = self.key_check().await?.is_some_and(|row| row.value.next.is_some());
        let retiring = keyring.other().filter(|_| is_replaced).map(MasterKey::name);
        let last = self.row::<RotationRow>(keys::master_rotation()).await?;
        let rotation = last.map(|row| row.value.shown(KeyKind::Master));
        Ok(MasterKeyInfo { name: self.master_key_name(), retiring, rotation })
    }

    /// What the key is called that everything is sealed with. For the control plane itself.
    #[must_use]
    pub fn master_key_name(&self) -> String {
        self.keyring().sealing().name()
    }

    /// Whether things may be sealed with one of two master keys: without either, the database does not open then. For the
    /// control plane itself.
    #[must_use]
    pub fn needs_two_master_keys(&self) -> bool {
        self.keyring().other().is_some()
    }

    pub(super) async fn advance_master_key(&self) -> Result<RotationStep, CatalogError> {
        let row = self.row::<RotationRow>(keys::master_rotation()).await?;
        let Some(row) = row.filter(|row| row.value.is_running()) else { return Ok(RotationStep::Done) };
        let keyring = self.keyring();
        if row.value.total.is_none() {
            let total = Some(self.under_the_old_key(&keyring).await?.0);
            let counted = RotationRow { total, ..row.value.clone() };
            self.note(&row, &counted, Transaction::new()).await?;
            return Ok(RotationStep::More);
        }
        let mut next = row.value.clone();
        for _ in 0..PAGES_AT_ONCE {
            let Some(found) = self.next_under_master(next.cursor.as_ref()).await? else {
                return self.conclude_master_key(&row, &next).await;
            };
            let batch = seal_anew(&keyring, found.of, &found.entries, &mut next)?;
            if batch.rows > 0 {
                let next = RotationRow { done: next.done + batch.rows as u64, ..next };
                if !self.note(&row, &next, batch.work.when(keyring.unchanged())).await? {
                    self.renew_keyring(&keyring).await?;
                }
                return Ok(RotationStep::More);
            }
        }
        self.note(&row, &next, Transaction::new()).await?;
        Ok(RotationStep::More)
    }

    /// At the end of a pass: the old key goes when nothing is under it.
    async fn conclude_master_key(
        &self,
        row: &Row<RotationRow>,
        next: &RotationRow,
    ) -> Result<RotationStep, CatalogError> {
        let _turn = self.rotations().master.lock().await;
        let keyring = self.keyring();
        let (left, damaged) = self.under_the_old_key(&keyring).await?;
        if left > 0 {
            self.note(row, &next.again(), Transaction::new()).await?;
            return Ok(RotationStep::More);
        }
        let operator = self.expect_row::<OperatorRow>(keys::operator(), OperatorRow::ROW).await?.value;
        let check = self.expect_row::<KeyCheckRow>(keys::key_check(), KeyCheckRow::ROW).await?;
        let mut draft = self.draft(&Actor::system(operator.organization));
        let keyring = draft.keyring(self);
        draft.replace(&check, &key_check_of(keyring.sealing())?);
        draft.replace(row, &RotationRow { unreadable: damaged, ..next.over(draft.now) });
        let (name, rows) = (keyring.sealing().name(), next.done);
        let detail = format!("{rows} rows are under master key {name}, and the one before is not needed any more");
        draft.audit(AuditAction::Rotate, TARGET, &detail);
        let happened = self.commit(draft).await?;
        self.renew_keyring(&keyring).await?;
        if !happened {
            return Ok(RotationStep::More);
        }
        tracing::info!(key = %name, rows, "the master key was replaced");
        if damaged > 0 {
            tracing::error!(rows = damaged, "rows open neither with the old master key nor with the new one");
        }
        Ok(RotationStep::Done)
    }

    /// How many rows are under the key that is on its way out, and how many under none.
    async fn under_the_old_key(&self, keyring: &Keyring) -> Result<(u64, u64), CatalogError> {
        let (mut left, mut damaged) = (0, 0);
        let mut cursor: Option<Key> = None;
        while let Some(found) = self.next_under_master(cursor.as_ref()).await? {
            for entry in &found.entries {
                match sealed_anew(keyring, found.of, entry) {
                    Ok(Some(_)) => left += 1,
                    Ok(None) => {}
                    Err(Failed::Damaged) => damaged += 1,
                    Err(Failed::Catalog(error)) => return Err(error),
                }
            }
            cursor = found.entries.into_iter().next_back().map(|entry| entry.key);
        }
        Ok((left, damaged))
    }

    /// The next rows under the master key. Organisations are met as their rows are: none is forgotten because an index
    /// does not have it.
    async fn next_under_master(&self, after: Option<&Key>) -> Result<Option<Found<Table>>, CatalogError> {
        let mut organization = after.and_then(keys::organization_of);
        if organization.is_none() {
            let found = self.rows_behind(&[Table::Blobs.stretch()], after, ROWS_AT_ONCE).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        loop {
            if let Some(present) = organization {
                let tables = [Table::AuditHead(present), Table::DataKeys(present), Table::Idempotency(present)];
                let found = self.rows_behind(&tables.map(Table::stretch), after, ROWS_AT_ONCE).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let Some(next) = self.next_organization(organization).await? else { return Ok(None) };
            organization = Some(next);
        }
    }

    async fn next_organization(&self, after: Option<OrganizationId>) -> Result<Option<OrganizationId>, CatalogError> {
        let all = KeyRange::prefix(&keys::tenants());
        let behind = after.and_then(|one| KeyRange::prefix(&keys::tenant_rows(one)).end().cloned());
        let range = match (behind, all.end()) {
            (Some(start), Some(end)) => KeyRange::between(start, end.clone()),
            _ => all,
        };
        let page = self.store().range(range, RangeOptions::default().limit(1)).await.map_err(READ)?;
        Ok(page.entries.first().and_then(|entry| keys::organization_of(&entry.key)))
    }
}

/// Seals rows anew, as many as fit into one transaction, and notes in `next` how far that is.
fn seal_anew(
    keyring: &Keyring,
    table: Table,
    entries: &[Entry],
    next: &mut RotationRow,
) -> Result<Batch, CatalogError> {
    let mut batch = Batch::new();
    for entry in entries {
        if batch.is_full() {
            break;
        }
        next.cursor = Some(entry.key.clone());
        match sealed_anew(keyring, table, entry) {
            Ok(Some(sealed)) => batch.replace(entry, sealed),
            Ok(None) => {}
            Err(Failed::Damaged) => next.unreadable += 1,
            Err(Failed::Catalog(error)) => return Err(error),
        }
    }
    Ok(batch)
}

/// What is to be in the place of a row; nothing when it is under the new key already.
fn sealed_anew(keyring: &Keyring, table: Table, entry: &Entry) -> Result<Option<Bytes>, Failed> {
    let seal_failed = |source| Failed::Catalog(CatalogError::Seal { row: table.row(), source });
    let prefix = table.prefix();
    // A key of another shape is nobody's place, where nothing opens.
    let mut place = entry.key.reader_after(&prefix).ok_or(OpenSealedError::Unauthentic)?;
    match table {
        Table::Blobs => {
            let label = place.text().map_err(|_| OpenSealedError::Unauthentic)?;
            let Some(plain) = keyring.reopen(|master| open_blob(master, &label, &entry.value))? else {
                return Ok(None);
            };
            let sealed = seal_blob(keyring.sealing(), &label, &plain).map_err(seal_failed)?;
            Ok(Some(Bytes::from(sealed)))
        }
        Table::AuditHead(organization) => {
            let head: AuditHead = decode(&entry.value)?;
            Ok(Signers::new(keyring, organization).resigned(&head).map(|head| record::encode(&head)))
        }
        Table::DataKeys(organization) => {
            let row: DataKeyRow = decode(&entry.value)?;
            let project = ProjectId::from_bytes(place.array().map_err(|_| OpenSealedError::Unauthentic)?);
            let unwrap = |master: &MasterKey| DataKey::unwrap(master, organization, project, row.id, &row.wrapped);
            let Some(key) = keyring.reopen(unwrap)? else { return Ok(None) };
            let wrapped = key.wrap(keyring.sealing(), organization, project).map_err(seal_failed)?;
            Ok(Some(record::encode(&DataKeyRow { wrapped, ..row })))
        }
        Table::Idempotency(organization) => {
            let row: IdempotencyRow = decode(&entry.value)?;
            let subject = place.text().map_err(|_| OpenSealedError::Unauthentic)?;
            let key = place.text().map_err(|_| OpenSealedError::Unauthentic)?;
            let mut results = Vec::with_capacity(row.results.len());
            let mut is_due = false;
            for result in row.results {
                let label = idempotency::label(organization, &subject, &key, &result.operation);
                let sealed = match keyring.reopen(|master| open_blob(master, &label, &result.sealed))? {
                    Some(plain) => {
                        is_due = true;
                        seal_blob(keyring.sealing(), &label, &plain).map_err(seal_failed)?
                    }
                    None => result.sealed,
                };
                results.push(KeptResult { sealed, ..result });
            }
            Ok(is_due.then(|| record::encode(&IdempotencyRow { results, ..row })))
        }
    }
}
