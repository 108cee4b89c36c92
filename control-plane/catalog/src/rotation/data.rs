//! A project's data key is replaced.

mod places;

use std::collections::BTreeMap;

use outrigger_protocol::id::{EnvironmentId, KeyId, OrganizationId, ProjectId};
use outrigger_secrets::{Aad, DataKey, OpenSealedError, open, seal};
use outrigger_store::{Compare, Entry, Key};

use self::places::Place;
use super::{Batch, PAGES_AT_ONCE, ROWS_AT_ONCE, RotationStep};
use crate::catalog::{Catalog, Row, decode};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, KeyKind, Role, Rotation, SealedValue};
use crate::mutation::Decided;
use crate::projects::PROJECT;
use crate::record::{self, Content, DataKeyRow, Empty, ProjectRow, Record, RotationRow, Uses, VariableRow};

/// Rows that are counted in one go.
const COUNTED_AT_ONCE: usize = 256;

/// Of one project.
#[derive(Debug, Clone, Copy)]
struct Home {
    organization: OrganizationId,
    project: ProjectId,
}

/// The data keys of a project that there are.
struct DataKeys {
    home: Home,
    active: DataKey,
    older: Vec<DataKey>,
}

/// Why a value stays as it is.
enum Unopened {
    /// It is under the new key.
    Current,
    /// It does not open.
    Damaged,
}

impl Catalog {
    /// Has a new data key take over from the present one of a project; what is sealed under older keys is sealed anew in
    /// the background, and they are destroyed when nothing is under them any more. While that goes on, the same is answered
    /// again. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::OperatorOnly`]; [`CatalogError::NotFound`] for the project.
    pub async fn rotate_data_key(&self, actor: &Actor, project: ProjectId) -> Result<Rotation, CatalogError> {
        actor.require_operator()?;
        let organization = self.home_of_project(project).await?;
        // What is done to a project stands in its own organisation's log, whoever did it.
        let acting = Actor { organization, ..actor.clone() };
        let begun = self.mutate(&acting, Role::Owner, "rotate data key", async |mut draft| {
            let key = keys::rotation(organization, project);
            let last = self.row::<RotationRow>(key.clone()).await?;
            if let Some(running) = last.as_ref().filter(|row| row.value.is_running()) {
                return Ok(Decided::Already(running.value.clone()));
            }
            let row = self.expect_row::<ProjectRow>(keys::project(organization, project), PROJECT).await?;
            let data_key = self.add_data_key(&mut draft, organization, project)?;
            let ProjectRow { project: present, data_key: before } = row.value.clone();
            draft.replace(&row, &ProjectRow { project: present, data_key });
            draft.relies_on_or_absence(key.clone(), last.as_ref());
            let rotation = RotationRow::new(data_key, draft.now);
            draft.put(key, &rotation);
            draft.concerns(project);
            draft.audit(AuditAction::Rotate, project, &format!("data key {data_key} takes over from {before}"));
            draft.then(rotation)
        });
        let begun = begun.await?;
        self.rotations().begun.notify_one();
        Ok(begun.shown(KeyKind::Data { organization, project }))
    }

    pub(super) async fn advance_data_key(
        &self,
        organization: OrganizationId,
        project: ProjectId,
    ) -> Result<RotationStep, CatalogError> {
        let home = Home { organization, project };
        let row = self.row::<RotationRow>(keys::rotation(organization, project)).await?;
        let Some(row) = row.filter(|row| row.value.is_running()) else { return Ok(RotationStep::Done) };
        if row.value.total.is_none() {
            let total = Some(self.rows_under_older_keys(home, row.value.id).await?);
            let counted = RotationRow { total, ..row.value.clone() };
            self.note(&row, &counted, Batch::new().work).await?;
            return Ok(RotationStep::More);
        }
        let mut next = row.value.clone();
        for _ in 0..PAGES_AT_ONCE {
            let Some(found) = self.next_sealed(home, next.cursor.as_ref(), ROWS_AT_ONCE).await? else {
                return self.conclude(home, &row, &next).await;
            };
            let data_keys = self.data_keys(home, row.value.id).await?;
            let batch = data_keys.seal_anew(found.of, &found.entries, &mut next)?;
            if batch.rows > 0 {
                self.commit_batch(home, &row, next, batch, found.of).await?;
                return Ok(RotationStep::More);
            }
        }
        self.note(&row, &next, Batch::new().work).await?;
        Ok(RotationStep::More)
    }

    async fn commit_batch(
        &self,
        home: Home,
        row: &Row<RotationRow>,
        next: RotationRow,
        batch: Batch,
        place: Place,
    ) -> Result<(), CatalogError> {
        let Home { organization, project } = home;
        let sealed = batch.rows as u64;
        // This count has no other writer, and the rotation's row is compared.
        let count = keys::data_key_use_of_rotation(organization, project, next.id, next.id);
        let before = self.row::<Uses>(count.clone()).await?.map_or(0, |row| row.value.0);
        let work = batch
            .work
            .when(Compare::Present(place.parent(organization)))
            .put(keys::resealed(organization, place.environment()), record::encode(&Empty))
            .put(count, record::encode(&Uses(before.saturating_add(sealed))));
        let next = RotationRow { done: next.done + sealed, ..next };
        // When somebody was faster, the next step reads what they have written.
        self.note(row, &next, work).await.map(drop)
    }

    /// At the end of a pass: the older keys go when nothing is under them, and what was damaged keeps them.
    async fn conclude(
        &self,
        home: Home,
        row: &Row<RotationRow>,
        next: &RotationRow,
    ) -> Result<RotationStep, CatalogError> {
        let Home { organization, project } = home;
        let left = self.rows_under_older_keys(home, next.id).await?;
        if left > next.unreadable {
            self.note(row, &next.again(), Batch::new().work).await?;
            return Ok(RotationStep::More);
        }
        let mut draft = self.draft(&Actor::system(organization));
        draft.replace(row, &next.over(draft.now));
        draft.concerns(project);
        let done = next.done;
        if left == 0 {
            for old in self.rows::<DataKeyRow>(&keys::data_keys(organization, project), None).await? {
                if old.value.id != next.id {
                    draft.delete(old.key);
                    draft.delete_below(&keys::data_key_uses(organization, project, old.value.id));
                }
            }
            let detail = format!("{done} rows are under data key {}, and the older keys are destroyed", next.id);
            draft.audit(AuditAction::Rotate, project, &detail);
        } else {
            tracing::error!(%project, rows = left, "rows of a project do not open with the data key that they name");
            let detail = format!(
                "{done} rows are under data key {}; {left} rows do not open, and the keys that they name are kept",
                next.id
            );
            draft.audit(AuditAction::Rotate, project, &detail);
        }
        let happened = self.commit(draft).await?;
        if happened {
            tracing::info!(%project, key = %next.id, rows = done, "the data key of a project was replaced");
        }
        Ok(if happened { RotationStep::Done } else { RotationStep::More })
    }

    async fn data_keys(&self, home: Home, active: KeyId) -> Result<DataKeys, CatalogError> {
        let Home { organization, project } = home;
        let mut older = Vec::new();
        for row in self.rows::<DataKeyRow>(&keys::data_keys(organization, project), None).await? {
            if row.value.id != active {
                older.push(self.data_key(organization, project, row.value.id).await?);
            }
        }
        let active = self.data_key(organization, project, active).await?;
        Ok(DataKeys { home, active, older })
    }

    async fn rows_under_older_keys(&self, home: Home, active: KeyId) -> Result<u64, CatalogError> {
        let rows = self.rows_by_key(home.organization, home.project).await?;
        Ok(rows.into_iter().filter(|(key, _)| *key != active).map(|(_, rows)| rows).sum())
    }

    /// How many rows of a project are sealed under which key.
    pub(super) async fn rows_by_key(
        &self,
        organization: OrganizationId,
        project: ProjectId,
    ) -> Result<BTreeMap<KeyId, u64>, CatalogError> {
        let home = Home { organization, project };
        let mut rows = BTreeMap::new();
        let mut cursor: Option<Key> = None;
        while let Some(found) = self.next_sealed(home, cursor.as_ref(), COUNTED_AT_ONCE).await? {
            for entry in &found.entries {
                if let Content::Sealed(sealed) = decode::<VariableRow>(&entry.value)?.content {
                    *rows.entry(sealed.key).or_default() += 1;
                }
            }
            cursor = found.entries.into_iter().next_back().map(|entry| entry.key);
        }
        Ok(rows)
    }
}

impl DataKeys {
    /// Seals rows anew, as many as fit into one transaction, and notes in `next` how far that is.
    fn seal_anew(&self, place: Place, entries: &[Entry], next: &mut RotationRow) -> Result<Batch, CatalogError> {
        let (prefix, environment) = (place.prefix(self.home.organization), place.environment());
        let mut batch = Batch::new();
        for entry in entries {
            if batch.is_full() {
                break;
            }
            next.cursor = Some(entry.key.clone());
            let row: VariableRow = decode(&entry.value)?;
            let Content::Sealed(sealed) = &row.content else { continue };
            let name = entry.key.reader_after(&prefix).and_then(|mut reader| reader.text().ok());
            let name = name.as_deref().unwrap_or_default();
            match self.reopened(environment, name, sealed) {
                Ok(plain) => {
                    let content = Content::Sealed(self.sealed(environment, name, sealed.generation, &plain)?);
                    batch.replace(entry, record::encode(&VariableRow { content, ..row }));
                }
                Err(Unopened::Current) => {}
                Err(Unopened::Damaged) => next.unreadable += 1,
            }
        }
        Ok(batch)
    }

    fn reopened(
        &self,
        environment: EnvironmentId,
        name: &str,
        sealed: &SealedValue,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Unopened> {
        if sealed.key == self.active.id() {
            return Err(Unopened::Current);
        }
        let key = self.older.iter().find(|key| key.id() == sealed.key).ok_or(Unopened::Damaged)?;
        let opened = open(key, &self.aad(environment, name, sealed.generation, sealed.key), &sealed.ciphertext);
        opened.map_err(|_: OpenSealedError| Unopened::Damaged)
    }

    fn sealed(
        &self,
        environment: EnvironmentId,
        name: &str,
        generation: u64,
        plain: &[u8],
    ) -> Result<SealedValue, CatalogError> {
        let key = self.active.id();
        let ciphertext = seal(&self.active, &self.aad(environment, name, generation, key), plain)
            .map_err(|source| CatalogError::Seal { row: VariableRow::ROW, source })?;
        Ok(SealedValue { key, generation, ciphertext })
    }

    const fn aad<'a>(&self, environment: EnvironmentId, name: &'a str, generation: u64, key: KeyId) -> Aad<'a> {
        let Home { organization, project } = self.home;
        Aad { organization, project, environment, name, generation, key }
    }
}
