//! The storage below redb, which outlives any one redb database opened on it.
//!
//! redb stops for good at the first I/O error, reads included. This store has to do better: to read on after its
//! storage refused a write, and to write again once a full disk has room. So a [`Medium`] holds the real storage
//! and its lock for as long as the store lives, and each redb database gets a [`Session`] on it: with writing, or
//! over a scratch [`Overlay`]. A session can be severed, after which the database on it can neither read nor
//! write, and it remembers which kind of failure it has met, which redb's own errors do not say.

use std::collections::HashSet;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

use super::overlay::Overlay;

type LockRange = (Bound<u64>, Bound<u64>);

/// The real storage, its locks held until it is dropped or [closed](Medium::close).
#[derive(Debug)]
pub(super) struct Medium {
    storage: Box<dyn StorageBackend>,
    locks: Mutex<HashSet<LockRange>>,
    closed: AtomicBool,
}

impl Medium {
    pub(super) fn new(storage: impl StorageBackend) -> Arc<Self> {
        Arc::new(Self { storage: Box::new(storage), locks: Mutex::default(), closed: AtomicBool::new(false) })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    /// The first `N` bytes; `None` when there are fewer.
    pub(super) fn head<const N: usize>(&self) -> io::Result<Option<[u8; N]>> {
        if self.storage.len()? < N as u64 {
            return Ok(None);
        }
        let mut head = [0; N];
        self.storage.read(0, &mut head)?;
        Ok(Some(head))
    }

    /// Forgets the content. For what an interrupted creation left behind.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.storage.set_len(0)
    }

    /// Locks the whole storage against others. `false` when somebody has it; `true` also where there are no locks.
    pub(super) fn lock_whole(&self) -> io::Result<bool> {
        match self.storage.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(taken) => Ok(taken),
            Err(BackendError::Unsupported) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Releases the storage and its locks. No session works after it.
    pub(super) fn close(&self) -> io::Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) { Ok(()) } else { self.storage.close() }
    }

    fn lock(&self, range: LockRange, take: impl FnOnce() -> Result<bool, BackendError>) -> Result<bool, BackendError> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.contains(&range) {
            return Ok(true);
        }
        let taken = take()?;
        if taken {
            locks.insert(range);
        }
        Ok(taken)
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(error = %error, "the store's storage did not close in order");
        }
    }
}

/// The worst failure that a session has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Fault {
    None,
    /// A write or an extension found no room. Nothing of it is needed: redb never writes over live pages.
    Full,
    /// Anything else, a failed synchronisation above all: what the storage holds now is unknown.
    Broken,
}

/// One redb database's view of a [`Medium`].
#[derive(Debug)]
pub(super) struct Session {
    medium: Arc<Medium>,
    overlay: Option<Mutex<Overlay>>,
    severed: AtomicBool,
    fault: AtomicU8,
}

impl Session {
    /// Reads and writes the medium.
    pub(super) fn writing(medium: &Arc<Medium>) -> Arc<Self> {
        Arc::new(Self::new(medium, None))
    }

    /// Reads the medium and keeps every write to itself.
    pub(super) fn scratch(medium: &Arc<Medium>) -> io::Result<Arc<Self>> {
        let overlay = Overlay::new(medium.len()?);
        Ok(Arc::new(Self::new(medium, Some(Mutex::new(overlay)))))
    }

    fn new(medium: &Arc<Medium>, overlay: Option<Mutex<Overlay>>) -> Self {
        Self {
            medium: Arc::clone(medium),
            overlay,
            severed: AtomicBool::new(false),
            fault: AtomicU8::new(Fault::None as u8),
        }
    }

    pub(super) fn backend(self: &Arc<Self>) -> impl StorageBackend + use<> {
        SessionBackend(Arc::clone(self))
    }

    /// Whether writes stay in memory.
    pub(super) fn is_scratch(&self) -> bool {
        self.overlay.is_some()
    }

    /// From now on every operation of this session fails.
    pub(super) fn sever(&self) {
        self.severed.store(true, Ordering::Release);
    }

    pub(super) fn fault(&self) -> Fault {
        match self.fault.load(Ordering::Acquire) {
            0 => Fault::None,
            1 => Fault::Full,
            _ => Fault::Broken,
        }
    }

    fn check(&self) -> io::Result<&dyn StorageBackend> {
        if self.severed.load(Ordering::Acquire) || self.medium.closed.load(Ordering::Acquire) {
            return Err(io::Error::other("this session on the storage has ended"));
        }
        Ok(&*self.medium.storage)
    }

    fn note<T>(&self, fault: impl FnOnce(&io::Error) -> Fault, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.fault.fetch_max(fault(error) as u8, Ordering::AcqRel);
        }
        result
    }
}

fn broken(_: &io::Error) -> Fault {
    Fault::Broken
}

fn full_or_broken(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Fault::Full,
        _ => Fault::Broken,
    }
}

/// What redb owns. It forwards to the session, and leaves the locks and the storage's end to the medium.
#[derive(Debug)]
struct SessionBackend(Arc<Session>);

impl SessionBackend {
    fn overlay(&self) -> Option<std::sync::MutexGuard<'_, Overlay>> {
        self.0.overlay.as_ref().map(|overlay| overlay.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for SessionBackend {
    fn len(&self) -> io::Result<u64> {
        let storage = self.0.check()?;
        match self.overlay() {
            Some(overlay) => Ok(overlay.len()),
            None => self.0.note(broken, storage.len()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let storage = self.0.check()?;
        let result = match self.overlay() {
            Some(overlay) => overlay.read(offset, out, &|offset, out| storage.read(offset, out)),
            None => storage.read(offset, out),
        };
        self.0.note(broken, result)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let storage = self.0.check()?;
        match self.overlay() {
            Some(mut overlay) => {
                overlay.set_len(len);
                Ok(())
            }
            None => self.0.note(full_or_broken, storage.set_len(len)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let storage = self.0.check()?;
        // A synchronisation that failed has lost writes which the kernel had accepted, for lack of room or not.
        if self.0.is_scratch() { Ok(()) } else { self.0.note(broken, storage.sync_data()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let storage = self.0.check()?;
        match self.overlay() {
            Some(mut overlay) => {
                self.0.note(broken, overlay.write(offset, data, &|offset, out| storage.read(offset, out)))
            }
            None => self.0.note(full_or_broken, storage.write(offset, data)),
        }
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        let medium = &self.0.medium;
        medium.lock((start, end), || medium.storage.try_lock_range(start, end))
    }

    /// redb unlocks what it took when a later range is refused, and at its end. The medium holds on to both: the
    /// first is released with the medium, which an open that failed drops.
    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
