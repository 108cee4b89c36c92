//! What the routes work with.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::future::BoxFuture;
use outrigger_archive::Archive;
use outrigger_catalog::Catalog;
use outrigger_engine::Engine;
use outrigger_ingest::Ingest;
use outrigger_logbook::LogBook;
use outrigger_secrets::MasterKey;
use outrigger_store::SharedStore;

use crate::log_filter::LogFilter;
use crate::metrics::Metrics;

/// Whether the control plane takes work, for `/readyz` and for refusing mutations while it drains.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    pub fn set_ready(&self) {
        self.0.store(READY, Ordering::Release);
    }

    pub fn set_draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == DRAINING
    }
}

/// The handles behind the routes; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub catalog: Catalog,
    pub engine: Engine,
    pub ingest: Ingest,
    pub archive: Archive,
    pub logs: LogBook,
    /// Asked for its health and counters, never for a row.
    pub store: StoreProbe,
    pub readiness: Readiness,
    /// What an agent outside is told to connect to, in the command beside a join token.
    pub agents_address: String,
    pub next_master_key: NextMasterKey,
    pub metrics: Metrics,
    pub log_filter: LogFilter,
}

/// Where the master key is to be had that is to take the place of the present one. No request ever carries it.
#[derive(Clone)]
pub struct NextMasterKey(Arc<dyn Fn() -> BoxFuture<'static, Result<MasterKey, String>> + Send + Sync>);

impl NextMasterKey {
    /// `load` reads the key, or says in a sentence why there is none.
    #[must_use]
    pub fn new(load: impl Fn() -> BoxFuture<'static, Result<MasterKey, String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(load))
    }

    pub(crate) async fn load(&self) -> Result<MasterKey, String> {
        (self.0)().await
    }
}

impl std::fmt::Debug for NextMasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NextMasterKey")
    }
}

/// The part of the store that the API may see.
#[derive(Clone)]
pub struct StoreProbe {
    store: SharedStore,
    file: Option<Arc<Path>>,
}

impl StoreProbe {
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        Self { store, file: None }
    }

    /// Whose size is the database's.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    pub(crate) fn health(&self) -> outrigger_store::Health {
        self.store.health()
    }

    pub(crate) fn stats(&self) -> outrigger_store::StoreStats {
        self.store.stats()
    }

    /// `None` when it is in no file that can be looked at.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        Some(std::fs::metadata(self.file.as_ref()?).ok()?.len())
    }
}

impl std::fmt::Debug for StoreProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreProbe")
    }
}
