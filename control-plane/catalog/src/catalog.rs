use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use outrigger_protocol::time::UnixMillis;
use outrigger_store::{
    Compare, Direction, Entry, Key, KeyRange, LogName, RangeOptions, Revision, SharedStore, StoreError,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::accounts::Hashing;
use crate::error::{CatalogError, OpenError};
use crate::keyring::{Keyring, MasterKeys};
use crate::keys;
use crate::model::{Actor, Role};
use crate::page::{Listing, Page};
use crate::record::{self, Record};
use crate::rotation::Rotations;

/// What time it is, for everything the catalog does.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The control plane's memory, with types and rules. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    /// Empty only while the catalog is being opened.
    keyring: OnceLock<RwLock<Arc<Keyring>>>,
    clock: Clock,
    hashing: Hashing,
    rotations: Rotations,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("store", &self.inner.store).finish_non_exhaustive()
    }
}

/// A row with what a compare needs to notice that it has changed.
#[derive(Debug, Clone)]
pub(crate) struct Row<T> {
    pub(crate) key: Key,
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

impl<T> Row<T> {
    /// Holds as long as nobody has written the row since.
    pub(crate) fn unchanged(&self) -> Compare {
        Compare::ModRevision(self.key.clone(), self.revision)
    }
}

impl Catalog {
    /// Opens the catalog of a store. An empty store is given the key check of the current master key.
    ///
    /// # Errors
    /// [`OpenError::WrongMasterKey`] when another key protects the store, [`OpenError::HalfRotated`] when two do and one
    /// of them is not there, [`OpenError::MissingKeyCheck`] when it has content and nothing says which. None of them
    /// changes anything.
    pub async fn open(store: SharedStore, keys: impl Into<MasterKeys>, clock: Clock) -> Result<Self, OpenError> {
        let inner = Inner {
            store,
            keyring: OnceLock::new(),
            clock,
            hashing: Hashing::default(),
            rotations: Rotations::default(),
        };
        let catalog = Self { inner: Arc::new(inner) };
        catalog.unlock(&keys.into()).await?;
        Ok(catalog)
    }

    pub(crate) async fn is_empty(&self) -> Result<bool, CatalogError> {
        for space in [keys::all_of_installation(), keys::tenants()] {
            let options = RangeOptions::default().limit(1);
            let page = self.store().range(KeyRange::prefix(&space), options).await.map_err(READ)?;
            if !page.entries.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn store(&self) -> &SharedStore {
        &self.inner.store
    }

    /// The master keys of now. Whoever seals with them says so to the transaction: see [`crate::keyring`].
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        let keyring = self.inner.keyring.get().expect("a catalog is not given away before it is unlocked");
        Arc::clone(&keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_keyring(&self, keyring: Keyring) {
        let keyring = Arc::new(keyring);
        let slot = self.inner.keyring.get_or_init(|| RwLock::new(Arc::clone(&keyring)));
        *slot.write().unwrap_or_else(PoisonError::into_inner) = keyring;
    }

    pub(crate) fn rotations(&self) -> &Rotations {
        &self.inner.rotations
    }

    pub(crate) fn hashing(&self) -> &Hashing {
        &self.inner.hashing
    }

    pub(crate) fn now(&self) -> UnixMillis {
        (self.inner.clock)()
    }

    /// The newest state of a row.
    pub(crate) async fn row<R: Record>(&self, key: Key) -> Result<Option<Row<R>>, CatalogError> {
        self.store().get(&key).await.map_err(READ)?.map(decode_entry).transpose()
    }

    /// The newest state of a row that must be there for the call to make sense.
    pub(crate) async fn expect_row<R: Record>(&self, key: Key, what: &'static str) -> Result<Row<R>, CatalogError> {
        self.row(key).await?.ok_or(CatalogError::NotFound { what })
    }

    /// The state of a row at a revision.
    pub(crate) async fn row_at<R: Record>(
        &self,
        key: &Key,
        revision: Revision,
    ) -> Result<Option<Row<R>>, CatalogError> {
        let options = RangeOptions::default().at(revision).limit(1);
        let page = self.store().range(KeyRange::only(key), options).await.map_err(READ)?;
        page.entries.into_iter().next().map(decode_entry).transpose()
    }

    /// Every row below `prefix`, all at one revision: the newest, unless one is given.
    pub(crate) async fn rows<R: Record>(
        &self,
        prefix: &Key,
        at: Option<Revision>,
    ) -> Result<Vec<Row<R>>, CatalogError> {
        let mut range = KeyRange::prefix(prefix);
        let mut revision = at;
        let mut rows = Vec::new();
        loop {
            let options = revision.map_or_else(RangeOptions::default, |revision| RangeOptions::default().at(revision));
            let page = self.store().range(range.clone(), options).await.map_err(READ)?;
            revision = Some(page.revision);
            if let Some(last) = page.entries.last() {
                range = range.after(&last.key);
            }
            let more = page.more && !page.entries.is_empty();
            for entry in page.entries {
                rows.push(decode_entry(entry)?);
            }
            if !more {
                return Ok(rows);
            }
        }
    }

    /// Whether there is anything below `prefix`.
    pub(crate) async fn any(&self, prefix: &Key) -> Result<bool, CatalogError> {
        let page =
            self.store().range(KeyRange::prefix(prefix), RangeOptions::default().limit(1)).await.map_err(READ)?;
        Ok(!page.entries.is_empty())
    }

    /// The ids at the ends of the keys of one page of an index or table, with the cursor of the next page.
    pub(crate) async fn page_of_keys(&self, prefix: &Key, page: &Page) -> Result<Listing<Entry>, CatalogError> {
        let mut range = KeyRange::prefix(prefix);
        if let Some(id) = page.position::<16>()? {
            range = range.after(&prefix.extend().array(&id).build());
        }
        let options = RangeOptions::default().limit(page.size()?);
        let found = self.store().range(range, options).await.map_err(READ)?;
        let last = found.entries.last().filter(|_| found.more).and_then(|entry| keys::last_id(&entry.key));
        Ok(Listing::new(found.entries, last.as_ref().map(<[u8; 16]>::as_slice)))
    }

    /// One page of a table whose keys end in an id.
    pub(crate) async fn page_of_rows<R: Record>(&self, prefix: &Key, page: &Page) -> Result<Listing<R>, CatalogError> {
        let Listing { items, next } = self.page_of_keys(prefix, page).await?;
        let items =
            items.into_iter().map(|entry| decode_entry(entry).map(|row| row.value)).collect::<Result<_, _>>()?;
        Ok(Listing { items, next })
    }

    /// One page of a log, newest first.
    pub(crate) async fn page_of_log<R: Record>(
        &self,
        log: &LogName,
        page: &Page,
        limit: usize,
    ) -> Result<Listing<R>, CatalogError> {
        let from = match page.position::<8>()?.map(u64::from_be_bytes) {
            // Behind the oldest entry there is nothing.
            Some(0) => return Ok(Listing::new(Vec::new(), None)),
            Some(last) => last - 1,
            None => u64::MAX,
        };
        let found = self.store().read_log(log, from, limit, Direction::Backward).await.map_err(READ)?;
        let last = found.entries.last().filter(|_| found.more).map(|entry| entry.position.to_be_bytes());
        let items = found.entries.iter().map(|entry| decode(&entry.value)).collect::<Result<_, _>>()?;
        Ok(Listing::new(items, last.as_ref().map(<[u8; 8]>::as_slice)))
    }

    /// The organisations of this installation.
    pub(crate) async fn organizations(&self) -> Result<Vec<outrigger_protocol::id::OrganizationId>, CatalogError> {
        let rows = self.rows::<record::Empty>(&keys::organizations(), None).await?;
        Ok(rows.iter().filter_map(|row| keys::last_id(&row.key)).map(FROM_BYTES).collect())
    }
}

const FROM_BYTES: fn([u8; 16]) -> outrigger_protocol::id::OrganizationId =
    outrigger_protocol::id::OrganizationId::from_bytes;

/// Reading fails in one way for whoever asked.
pub(crate) const READ: fn(StoreError) -> CatalogError = |error| CatalogError::store("reading")(error);

pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, CatalogError> {
    record::decode(bytes).map_err(|source| CatalogError::Record { row: R::ROW, source })
}

fn decode_entry<R: Record>(entry: Entry) -> Result<Row<R>, CatalogError> {
    let value = decode(&entry.value)?;
    Ok(Row { key: entry.key, value, revision: entry.mod_revision })
}

impl Actor {
    /// # Errors
    /// [`CatalogError::Forbidden`] when the role is below `need`.
    pub(crate) fn require(&self, need: Role) -> Result<(), CatalogError> {
        if self.role >= need { Ok(()) } else { Err(CatalogError::Forbidden { need }) }
    }
}

/// Randomness for ids and tokens.
///
/// # Panics
/// When the operating system has no random source, which leaves nothing that could go on safely.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}

/// As [`random`], for as many bytes as a secret needs.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the operating system provides randomness");
}
