//! Keys are replaced while everything goes on.
//!
//! A rotation is a row that says how far it is, and a number of small steps, each of them one transaction: first the new
//! key takes over, then everything that was sealed before is sealed anew, then the old key goes. Who steps does not
//! matter, and neither does how often that is interrupted: what a step has done and that it has done it are committed
//! together.
//!
//! **Nothing is lost to a rotation.** A row is sealed anew only as it was read, so that whoever wrote it meanwhile wins.
//! What a change moves aside it moves as it was read, so a change whose rows were sealed anew under its hands is noticed
//! by the row `resealed` of its environment, and made again.
//!
//! **Nothing is left behind by one.** Whoever seals under a data key relies on the project's row, which says which key to
//! use, and whoever seals with the master key on the key check row. So from the transaction on in which a new key takes
//! over, nothing comes to be sealed under an old one, however long ago it was begun. The newest versions are sealed anew
//! before those that were moved aside, so that by then nothing is moved aside that is under an old key. Before the old key
//! goes, everything is looked at once more.
//!
//! **Nobody has to wait for one.** Until its last row is sealed anew a key opens what is sealed under it. Who has read a
//! row and comes for its key when that has just gone finds it at the moment of the reading.
//!
//! What does not open with the key that it names was damaged before. It is counted and told of, and left as it is: a data
//! key that such a row names stays.

mod data;
mod listing;
mod master;
mod walk;

use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Compare, StoreError, Transaction};
use tokio::sync::{Mutex, Notify};

pub use listing::KeyUse;

use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, KeyKind, Rotation, Subject};
use crate::record::{self, RotationRow};

/// Rows that are sealed anew by one transaction: two milliseconds of a core, which is what a reader may have to wait for.
const ROWS_AT_ONCE: usize = 64;
/// Their bytes, well below what a transaction may have. One row is taken however large it is.
const BYTES_AT_ONCE: usize = 512 * 1024;
/// Stretches without anything to do that one step passes by, before it notes down how far it is.
const PAGES_AT_ONCE: usize = 16;

/// What is left of a rotation after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationStep {
    /// Something. Worth a pause, so that others get their turn.
    More,
    /// Nothing: it is over, or there was none.
    Done,
}

/// What rotations of one process share.
#[derive(Debug, Default)]
pub(crate) struct Rotations {
    /// Rung when one was begun.
    begun: Notify,
    /// Held by whoever replaces the master key's place in memory.
    master: Mutex<()>,
}

impl Catalog {
    /// Rotations that are not over. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn running_rotations(&self) -> Result<Vec<KeyKind>, CatalogError> {
        Ok(self.all_rotations().await?.into_iter().filter(Rotation::is_running).map(|found| found.kind).collect())
    }

    /// Waits until a rotation was begun in this process since the last call. For the one task that carries them out.
    pub async fn rotation_begun(&self) {
        self.rotations().begun.notified().await;
    }

    /// Does a little of a rotation, in one transaction. For the control plane itself.
    ///
    /// # Errors
    /// Those of reading and writing. Nothing was done then, and the same step can be taken again.
    pub async fn advance_rotation(&self, kind: KeyKind) -> Result<RotationStep, CatalogError> {
        match kind {
            KeyKind::Data { organization, project } => self.advance_data_key(organization, project).await,
            KeyKind::Master => self.advance_master_key().await,
        }
    }

    /// A rotation by its id, as long as no later one of the same key was begun. For the operator.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], [`CatalogError::OperatorOnly`].
    pub async fn rotation(&self, actor: &Actor, id: KeyId) -> Result<Rotation, CatalogError> {
        actor.require_operator()?;
        let all = self.all_rotations().await?;
        all.into_iter().find(|rotation| rotation.id == id).ok_or(CatalogError::NotFound { what: RotationRow::WHAT })
    }

    async fn all_rotations(&self) -> Result<Vec<Rotation>, CatalogError> {
        let master = self.row::<RotationRow>(keys::master_rotation()).await?;
        let mut all: Vec<Rotation> = master.iter().map(|row| row.value.shown(KeyKind::Master)).collect();
        for organization in self.organizations().await? {
            for row in self.rows::<RotationRow>(&keys::rotations(organization), None).await? {
                let Some(project) = keys::last_id(&row.key).map(ProjectId::from_bytes) else { continue };
                all.push(row.value.shown(KeyKind::Data { organization, project }));
            }
        }
        Ok(all)
    }

    /// The organisation that a project belongs to.
    async fn home_of_project(&self, project: ProjectId) -> Result<OrganizationId, CatalogError> {
        for organization in self.organizations().await? {
            if self.any(&keys::project(organization, project)).await? {
                return Ok(organization);
            }
        }
        Err(CatalogError::NotFound { what: crate::projects::PROJECT })
    }

    /// Notes down how far a rotation is, with what was done. Says whether it happened: it does not when something of it
    /// was changed by others.
    async fn note(
        &self,
        row: &Row<RotationRow>,
        how_far: &RotationRow,
        work: Transaction,
    ) -> Result<bool, CatalogError> {
        let transaction = work.when(row.unchanged()).put(row.key.clone(), record::encode(how_far));
        match self.store().commit(transaction).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(CatalogError::store("sealing rows anew")(error)),
        }
    }
}

impl RotationRow {
    const WHAT: &'static str = "rotation";

    const fn shown(&self, kind: KeyKind) -> Rotation {
        let Self { id, started_at, total, done, unreadable, finished_at, .. } = *self;
        Rotation { id, kind, started_at, total, done, unreadable, finished_at }
    }

    /// From the beginning, because something was found that the pass before has not seen.
    fn again(&self) -> Self {
        Self { unreadable: 0, cursor: None, ..self.clone() }
    }

    /// It is over. What was counted and then replaced or deleted by others is not missing.
    fn over(&self, now: UnixMillis) -> Self {
        Self { total: Some(self.done), cursor: None, finished_at: Some(now), ..self.clone() }
    }
}

/// Rows that are sealed anew together.
struct Batch {
    work: Transaction,
    rows: usize,
    bytes: usize,
}

impl Batch {
    const fn is_full(&self) -> bool {
        self.rows >= ROWS_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    fn new() -> Self {
        Self { work: Transaction::new(), rows: 0, bytes: 0 }
    }

    /// Puts a row in the place of one that was read, if that is still there.
    fn replace(&mut self, read: &outrigger_store::Entry, sealed_anew: bytes::Bytes) {
        self.rows += 1;
        self.bytes += sealed_anew.len();
        let unchanged = Compare::ModRevision(read.key.clone(), read.mod_revision);
        let work = std::mem::take(&mut self.work);
        self.work = work.when(unchanged).put(read.key.clone(), sealed_anew);
    }
}

impl Actor {
    /// # Errors
    /// [`CatalogError::OperatorOnly`]
    fn require_operator(&self) -> Result<(), CatalogError> {
        if self.subject == Subject::Operator { Ok(()) } else { Err(CatalogError::OperatorOnly) }
    }
}
