//! The generations that are being delivered, each decrypted once and kept for as long as somebody asks for it.
//!
//! Plaintext lives here in zeroising memory, bounded in bytes, and leaves only sealed to an agent. When many ask at once,
//! one of them loads and the others wait for it. A generation never changes, so what is here is never out of date.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_catalog::CatalogError;
use outrigger_protocol::codec::CodecError;
use outrigger_protocol::environment::Environment as Plaintext;
use outrigger_protocol::id::EnvironmentId;
use outrigger_protocol::message::ConfigRef;
use zeroize::Zeroizing;

use crate::shards::lock;

/// Why a generation cannot be delivered. Names no variable.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("cannot read generation {generation} of the environment")]
    Read {
        generation: u64,
        #[source]
        source: CatalogError,
    },
    #[error("generation {generation} of the environment does not fit into an offer")]
    Encode {
        generation: u64,
        #[source]
        source: CodecError,
    },
    #[error("generation {generation} of the environment has other content than the one that was asked for by its hash")]
    OtherContent { generation: u64 },
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

/// Which generation of which environment.
type Key = (EnvironmentId, u64);

#[derive(Debug, Default)]
struct Slot {
    effective: tokio::sync::Mutex<Option<Arc<Effective>>>,
    bytes: AtomicUsize,
    /// Milliseconds of the server's uptime.
    used: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Environments {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    limit_bytes: usize,
}

impl Environments {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { slots: Mutex::default(), limit_bytes }
    }

    /// A generation of an environment, which `load` reads when it is not at hand.
    ///
    /// # Errors
    /// It cannot be read or encoded, or its content is not the one that `config` names. Nothing is delivered then: an agent
    /// would take it for what the others have under that name.
    pub(crate) async fn find<L>(
        &self,
        environment: EnvironmentId,
        config: ConfigRef,
        uptime: Duration,
        load: impl FnOnce() -> L,
    ) -> Result<Arc<Effective>, EnvironmentError>
    where
        L: Future<Output = Result<Plaintext, CatalogError>>,
    {
        let key = (environment, config.generation);
        let slot = Arc::clone(lock(&self.slots).entry(key).or_default());
        slot.used.store(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let effective = {
            let mut present = slot.effective.lock().await;
            match &*present {
                Some(effective) => Arc::clone(effective),
                None => match self.load(key, &slot, load).await {
                    Ok(effective) => Arc::clone(present.insert(effective)),
                    Err(error) => {
                        self.forget(key, &slot);
                        return Err(error);
                    }
                },
            }
        };
        if effective.config != config {
            return Err(EnvironmentError::OtherContent { generation: config.generation });
        }
        Ok(effective)
    }

    async fn load<L>(&self, key: Key, slot: &Slot, load: impl FnOnce() -> L) -> Result<Arc<Effective>, EnvironmentError>
    where
        L: Future<Output = Result<Plaintext, CatalogError>>,
    {
        let (_, generation) = key;
        let content = load().await.map_err(|source| EnvironmentError::Read { generation, source })?;
        let plaintext = content.encode().map_err(|source| EnvironmentError::Encode { generation, source })?;
        let config = ConfigRef { generation, hash: content.hash() };
        slot.bytes.store(plaintext.len(), Ordering::Relaxed);
        self.make_room(key);
        Ok(Arc::new(Effective { config, plaintext }))
    }

    /// Forgets the least recently used ones until the rest fits. The one that was just loaded stays.
    fn make_room(&self, keep: Key) {
        let mut slots = lock(&self.slots);
        let mut held: usize = slots.values().map(|slot| slot.bytes.load(Ordering::Relaxed)).sum();
        while held > self.limit_bytes {
            let others = slots.iter().filter(|(key, _)| **key != keep);
            let oldest = others.min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
            let forgotten = slots.remove(&oldest).map_or(0, |slot| slot.bytes.load(Ordering::Relaxed));
            held = held.saturating_sub(forgotten);
        }
    }

    fn forget(&self, key: Key, slot: &Arc<Slot>) {
        let mut slots = lock(&self.slots);
        if slots.get(&key).is_some_and(|present| Arc::ptr_eq(present, slot)) {
            slots.remove(&key);
        }
    }

    /// Forgets what nobody has asked for since `unused`.
    pub(crate) fn forget_unused(&self, uptime: Duration, unused: Duration) {
        let since = uptime.saturating_sub(unused);
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        lock(&self.slots).retain(|_, slot| slot.used.load(Ordering::Relaxed) >= since);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use outrigger_protocol::environment::{Entry, VariableKind};

    use super::*;

    const START: Duration = Duration::ZERO;

    fn content(value: &str) -> Plaintext {
        let entry = Entry {
            name: "GREETING".to_owned(),
            value: Some(Zeroizing::new(value.to_owned())),
            kind: VariableKind::String,
            secret: false,
            required: false,
        };
        Plaintext { entries: vec![entry] }
    }

    fn named(generation: u64, content: &Plaintext) -> ConfigRef {
        ConfigRef { generation, hash: content.hash() }
    }

    struct Loads {
        environments: Environments,
        environment: EnvironmentId,
        count: AtomicU32,
    }

    impl Loads {
        fn new(limit_bytes: usize) -> Self {
            let (environments, environment) = (Environments::new(limit_bytes), EnvironmentId::generate());
            Self { environments, environment, count: AtomicU32::new(0) }
        }

        async fn find(&self, config: ConfigRef, uptime: Duration, content: &Plaintext) -> bool {
            let load = || async {
                self.count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(content.clone())
            };
            self.environments.find(self.environment, config, uptime, load).await.is_ok()
        }

        fn count(&self) -> u32 {
            self.count.load(Ordering::Relaxed)
        }

        fn held(&self) -> usize {
            lock(&self.environments.slots).len()
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_load_for_each_generation() {
        let loads = Loads::new(1024);
        let (first, second) = (content("one"), content("two"));
        let (one, two) = (named(1, &first), named(2, &second));
        let found = tokio::join!(
            loads.find(one, START, &first),
            loads.find(two, START, &second),
            loads.find(one, START, &first),
            loads.find(two, START, &second),
        );
        assert_eq!(found, (true, true, true, true));
        assert_eq!((loads.count(), loads.held()), (2, 2), "an older one stays beside the newer");
    }

    #[tokio::test]
    async fn other_content_is_never_delivered_under_a_generations_name() {
        let loads = Loads::new(1024);
        let real = content("one");
        let claimed = named(1, &content("another"));
        assert!(!loads.find(claimed, START, &real).await);
        assert!(!loads.find(claimed, START, &real).await, "nor when it is at hand");
        assert!(loads.find(named(1, &real), START, &real).await);
        assert_eq!(loads.count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_tried_again_and_takes_no_room() {
        let loads = Loads::new(1024);
        let one = content("one");
        let failing = || async { Err(CatalogError::NotFound { what: "generation" }) };
        let failed = loads.environments.find(loads.environment, named(1, &one), START, failing).await;
        assert!(matches!(failed, Err(EnvironmentError::Read { generation: 1, .. })), "{failed:?}");
        assert_eq!(loads.held(), 0);
        assert!(loads.find(named(1, &one), START, &one).await);
    }

    #[tokio::test]
    async fn the_least_recently_used_makes_room_and_the_unused_is_forgotten() {
        let contents: Vec<_> = ["one", "two", "six"].map(content).into_iter().collect();
        let bytes = contents[0].encode().unwrap().len();
        let loads = Loads::new(2 * bytes);
        let seconds = Duration::from_secs;
        for (at, generation, loaded) in [(0, 1, 1), (1, 2, 2), (2, 1, 2), (3, 3, 3), (4, 1, 3), (5, 2, 4)] {
            let content = &contents[usize::try_from(generation).unwrap() - 1];
            assert!(loads.find(named(generation, content), seconds(at), content).await);
            assert_eq!(loads.count(), loaded, "generation {generation} after {at} s");
        }
        assert_eq!(loads.held(), 2);
        loads.environments.forget_unused(seconds(64), seconds(60));
        assert_eq!(loads.held(), 2);
        loads.environments.forget_unused(seconds(65), seconds(60));
        assert_eq!(loads.held(), 1);
    }
}
