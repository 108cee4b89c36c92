//! The newest environment of each deployment, decrypted once and kept for as long as it is being delivered.
//!
//! Plaintext lives here in zeroising memory, bounded in bytes, and leaves only sealed to an agent. When many agents ask
//! at once, one of them loads and the others wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_catalog::model::Actor;
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_protocol::codec::CodecError;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use outrigger_protocol::message::ConfigRef;
use ring::digest;
use zeroize::Zeroizing;

use crate::shards::lock;

/// Why an environment cannot be delivered. Names no variable.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("cannot read the environment")]
    Read(#[source] CatalogError),
    #[error("the environment does not fit into an offer")]
    Encode(#[source] CodecError),
}

/// One generation of an environment, as it is sealed.
pub(crate) struct Effective {
    pub(crate) config: ConfigRef,
    /// The canonical bytes.
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Slot {
    newest: tokio::sync::Mutex<Option<Arc<Effective>>>,
    bytes: AtomicUsize,
    /// Milliseconds of the server's uptime.
    used: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Environments {
    slots: Mutex<HashMap<EnvironmentId, Arc<Slot>>>,
    limit_bytes: usize,
}

impl Environments {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { slots: Mutex::default(), limit_bytes }
    }

    /// The newest generation, loaded when it is not the one at hand.
    pub(crate) async fn newest(
        &self,
        catalog: &Catalog,
        organization: OrganizationId,
        environment: EnvironmentId,
        uptime: Duration,
    ) -> Result<Arc<Effective>, EnvironmentError> {
        let slot = Arc::clone(lock(&self.slots).entry(environment).or_default());
        slot.used.store(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut newest = slot.newest.lock().await;
        let actor = Actor::system(organization);
        let row = catalog.environment(&actor, environment).await.map_err(EnvironmentError::Read)?;
        if let Some(known) = newest.as_ref().filter(|known| known.config.generation == row.generation) {
            return Ok(Arc::clone(known));
        }
        let (generation, content) =
            catalog.effective(organization, environment).await.map_err(EnvironmentError::Read)?;
        let plaintext = content.encode().map_err(EnvironmentError::Encode)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &plaintext).as_ref());
        let config = ConfigRef { generation: generation.number, hash };
        slot.bytes.store(plaintext.len(), Ordering::Relaxed);
        let effective = Arc::new(Effective { config, plaintext });
        *newest = Some(Arc::clone(&effective));
        drop(newest);
        self.make_room(environment);
        Ok(effective)
    }

    /// Forgets the least recently used ones until the rest fits. The one that was just loaded stays.
    fn make_room(&self, keep: EnvironmentId) {
        let mut slots = lock(&self.slots);
        let mut held: usize = slots.values().map(|slot| slot.bytes.load(Ordering::Relaxed)).sum();
        while held > self.limit_bytes {
            let others = slots.iter().filter(|(id, _)| **id != keep);
            let oldest = others.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(id, _)| *id) else { return };
            let forgotten = slots.remove(&oldest).map_or(0, |slot| slot.bytes.load(Ordering::Relaxed));
            held = held.saturating_sub(forgotten);
        }
    }

    /// Forgets what nobody has asked for since `unused`.
    pub(crate) fn forget_unused(&self, uptime: Duration, unused: Duration) {
        let since = uptime.saturating_sub(unused);
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        lock(&self.slots).retain(|_, slot| slot.used.load(Ordering::Relaxed) >= since);
    }
}
