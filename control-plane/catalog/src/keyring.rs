//! The master keys that this process has, and which of them the database is under.
//!
//! Nearly always that is one key. While it is replaced there are two: everything is sealed with the new one, and what is
//! there opens with either. The key check row says which of this holds; a [`Keyring`] is what it said at a revision.
//!
//! Whoever seals something with the master key commits it only while the row is at that revision. So from the moment
//! that a rotation has begun nothing can come to be sealed with the old key any more, however long ago the change was
//! begun, and whatever process began it.

use std::sync::Arc;

use outrigger_secrets::{KeyCheck, MasterKey, OpenSealedError, SealError};
use outrigger_store::{Compare, Revision, StoreError, Transaction};

use crate::catalog::{Catalog, Row};
use crate::error::{CatalogError, OpenError};
use crate::keys;
use crate::record::{self, KeyCheckRow, NextKeyCheck, Record};

/// The master keys that a catalog is opened with.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    pub current: MasterKey,
    /// The one that is to take its place. Needed while that goes on, and taken for the current one when it is over.
    pub next: Option<MasterKey>,
}

impl From<MasterKey> for MasterKeys {
    fn from(current: MasterKey) -> Self {
        Self { current, next: None }
    }
}

impl MasterKeys {
    fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.next)
    }
}

/// What is sealed with and opened by, as long as the key check row is at a revision.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    sealing: MasterKey,
    /// What else may open what is there.
    other: Option<MasterKey>,
    since: Revision,
}

impl Keyring {
    /// With what everything is sealed.
    pub(crate) const fn sealing(&self) -> &MasterKey {
        &self.sealing
    }

    /// The key that is on its way out, or not yet in.
    pub(crate) const fn other(&self) -> Option<&MasterKey> {
        self.other.as_ref()
    }

    /// Opens something with the key that it is sealed with.
    pub(crate) fn open<T>(
        &self,
        open: impl Fn(&MasterKey) -> Result<T, OpenSealedError>,
    ) -> Result<T, OpenSealedError> {
        open(&self.sealing).or_else(|error| self.other.as_ref().map_or(Err(error), open))
    }

    /// Opens something that is to be sealed anew; nothing when it is sealed with the right key already.
    pub(crate) fn reopen<T>(
        &self,
        open: impl Fn(&MasterKey) -> Result<T, OpenSealedError>,
    ) -> Result<Option<T>, OpenSealedError> {
        match open(&self.sealing) {
            Ok(_) => Ok(None),
            Err(error) => self.other.as_ref().map_or(Err(error), |other| open(other).map(Some)),
        }
    }

    /// Holds as long as the keys are these.
    pub(crate) fn unchanged(&self) -> Compare {
        Compare::ModRevision(keys::key_check(), self.since)
    }

    /// The same with a key that something may soon be sealed with.
    pub(crate) fn with(&self, coming: MasterKey) -> Self {
        Self { other: Some(coming), ..self.clone() }
    }

    /// The keyring that a key check row asks for, out of the keys at hand.
    fn unlock<'a>(row: &Row<KeyCheckRow>, known: impl Iterator<Item = &'a MasterKey> + Clone) -> Result<Self, Locked> {
        let find = |check: &[u8]| known.clone().find(|key| KeyCheck::verify(key, check)).cloned();
        let KeyCheckRow { check, name, next } = &row.value;
        let present = find(check);
        let Some(NextKeyCheck { check, name: next_name }) = next else {
            let sealing = present.ok_or_else(|| Locked::Wrong { name: name.clone() })?;
            return Ok(Self { sealing, other: None, since: row.revision });
        };
        match (present, find(check)) {
            (Some(old), Some(new)) => Ok(Self { sealing: new, other: Some(old), since: row.revision }),
            (Some(_), None) => Err(Locked::Half { missing: "new", name: next_name.clone() }),
            (None, Some(_)) => {
                let name = name.clone().unwrap_or_else(|| "which has no name".to_owned());
                Err(Locked::Half { missing: "old", name })
            }
            (None, None) => Err(Locked::Wrong { name: name.clone() }),
        }
    }
}

/// None of the keys at hand will do.
enum Locked {
    Wrong { name: Option<String> },
    Half { missing: &'static str, name: String },
}

impl From<Locked> for OpenError {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Wrong { name } => Self::WrongMasterKey { name },
            Locked::Half { missing, name } => Self::HalfRotated { missing, name },
        }
    }
}

/// What says that a database is under a key.
pub(crate) fn key_check_of(master: &MasterKey) -> Result<KeyCheckRow, CatalogError> {
    let check = check_of(master)?;
    Ok(KeyCheckRow { check, name: Some(master.name()), next: None })
}

/// What says that a key takes the place of the present one.
pub(crate) fn next_key_check_of(master: &MasterKey) -> Result<NextKeyCheck, CatalogError> {
    Ok(NextKeyCheck { check: check_of(master)?, name: master.name() })
}

fn check_of(master: &MasterKey) -> Result<Vec<u8>, CatalogError> {
    let failed = |source: SealError| CatalogError::Seal { row: KeyCheckRow::ROW, source };
    KeyCheck::create(master).map_err(failed)
}

impl Catalog {
    /// Finds out which of the keys protects the database; an empty one gets the key check of the current.
    pub(crate) async fn unlock(&self, keys: &MasterKeys) -> Result<(), OpenError> {
        if self.is_empty().await? {
            self.write_key_check(&keys.current).await?;
        }
        // Read back even when it was just written: another process may have been faster, with another key.
        let row = self.key_check().await?.ok_or(OpenError::MissingKeyCheck)?;
        let known: Vec<&MasterKey> = keys.all().collect();
        self.set_keyring(Keyring::unlock(&row, known.into_iter())?);
        Ok(())
    }

    pub(crate) async fn key_check(&self) -> Result<Option<Row<KeyCheckRow>>, CatalogError> {
        self.row::<KeyCheckRow>(keys::key_check()).await
    }

    async fn write_key_check(&self, master: &MasterKey) -> Result<(), CatalogError> {
        let transaction = Transaction::new()
            .when(Compare::Absent(keys::key_check()))
            .put(keys::key_check(), record::encode(&key_check_of(master)?));
        match self.store().commit(transaction).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(CatalogError::store("creating the key check")(error)),
        }
    }

    /// Finds out whether the keys are others than `used`, and gets them if so.
    ///
    /// # Errors
    /// [`CatalogError::MasterKeyReplaced`] when this process does not have them.
    pub(crate) async fn renew_keyring(&self, used: &Arc<Keyring>) -> Result<bool, CatalogError> {
        let present = self.keyring();
        if !Arc::ptr_eq(&present, used) {
            return Ok(true);
        }
        let row = self.key_check().await?.ok_or(CatalogError::NotFound { what: KeyCheckRow::ROW })?;
        if row.revision == present.since {
            return Ok(false);
        }
        let known: Vec<&MasterKey> = std::iter::once(&present.sealing).chain(&present.other).collect();
        let renewed = Keyring::unlock(&row, known.into_iter()).map_err(|_| CatalogError::MasterKeyReplaced)?;
        self.set_keyring(renewed);
        Ok(true)
    }
}
