//! The open database, and what becomes of it when its storage fails.
//!
//! At most one redb database on the medium may write. When a write finds no room, or anything else goes wrong, that
//! database is severed from the medium and replaced by one over a scratch layer, which reads the last commit. After
//! lack of room, the next write tries a writing one again. After any other failure nothing is ever written again:
//! what a failed synchronisation left behind cannot be known without asking the disk itself.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use tokio::sync::watch;

use super::condition::Condition;
use super::counters::Counters;
use super::group::Head;
use super::medium::{Fault, Medium, Session};
use super::reader;
use super::stop::Stop;
use crate::error::{Cause, StoreError};
use crate::store::Revision;

/// What watches wait for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) revision: Revision,
    pub(super) oldest: Revision,
    pub(super) closed: bool,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Session>,
    /// `None` once closed, or when not even a scratch layer over the storage can be opened.
    database: Option<Database>,
}

impl Slot {
    fn writes(&self) -> Option<&Database> {
        self.database.as_ref().filter(|_| !self.session.is_scratch())
    }
}

/// Shared by the handle, its watches and the writer thread.
#[derive(Debug)]
pub(super) struct Engine {
    medium: Arc<Medium>,
    slot: RwLock<Slot>,
    progress: watch::Sender<Progress>,
    cache_bytes: usize,
    first_revision: Revision,
    pub(super) condition: Condition,
    pub(super) counters: Counters,
}

/// Opens a redb database on a session.
pub(super) fn open_database(session: &Arc<Session>, cache_bytes: usize) -> Result<Database, redb::DatabaseError> {
    Database::builder().set_cache_size(cache_bytes).create_with_backend(session.backend())
}

/// Runs `work`, and turns a panic in redb (on a file that something else has altered) into an error.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Cause::new(format!("the storage engine panicked: {}", text.unwrap_or("no message")))
    })
}

impl Engine {
    pub(super) fn new(
        medium: Arc<Medium>,
        session: Arc<Session>,
        database: Database,
        head: Head,
        cache_bytes: usize,
    ) -> Self {
        Self {
            medium,
            slot: RwLock::new(Slot { session, database: Some(database) }),
            progress: watch::Sender::new(Progress { revision: head.revision, oldest: head.floor, closed: false }),
            cache_bytes,
            first_revision: head.revision,
            condition: Condition::ready(),
            counters: Counters::default(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Transactions committed since the store was opened.
    pub(super) fn commits(&self) -> u64 {
        self.progress().revision.saturating_sub(self.first_revision)
    }

    /// Runs `work` on a snapshot. Blocks for as long as reading its pages takes.
    pub(super) fn read<T>(&self, work: impl Fn(&ReadTransaction) -> Result<T, Stop>) -> Result<T, StoreError> {
        let mut retried = false;
        loop {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &slot.database else { return Err(self.condition.unreadable()) };
            let attempt = contained(|| work(&database.begin_read()?));
            let source = match attempt {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(Stop::Refused(refusal))) => return Err(refusal),
                Ok(Err(Stop::Storage(error))) => Cause::new(error),
                Err(panic) => panic,
            };
            let session = Arc::clone(&slot.session);
            drop(slot);
            if session.fault() != Fault::None {
                self.abandon(&session, &source);
                // A write may have failed under this read and taken the database with it.
                if !std::mem::replace(&mut retried, true) {
                    continue;
                }
            }
            self.counters.read_failures.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::ReadFailed { source });
        }
    }

    /// Runs `work` in one write transaction, and commits it durably if `work` returns the head to commit.
    ///
    /// An error leaves nothing behind, except [`StoreError::Failed`], after which nobody knows.
    pub(super) fn write(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<Option<Head>, Stop>,
    ) -> Result<(), StoreError> {
        if !self.condition.may_write() {
            return Err(self.condition.unwritable());
        }
        self.make_writable();
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = slot.writes() else { return Err(self.condition.unwritable()) };
        let mut in_doubt = None;
        let attempt = contained(|| {
            let mut write = database.begin_write()?;
            // Implies two-phase commit. Opening after a crash then reads a few pages instead of all of them.
            write.set_quick_repair(true);
            write.set_durability(Durability::Immediate)?;
            match work(&write)? {
                Some(head) => {
                    in_doubt = Some(head);
                    write.commit()?;
                }
                None => write.abort()?,
            }
            Ok(())
        });
        let cause = match attempt {
            Ok(Ok(())) => {
                drop(slot);
                self.condition.wrote();
                self.publish(in_doubt);
                return Ok(());
            }
            Ok(Err(Stop::Refused(refusal))) => return Err(refusal),
            Ok(Err(Stop::Storage(error))) => Cause::new(error),
            Err(panic) => panic,
        };
        let session = Arc::clone(&slot.session);
        drop(slot);
        if session.fault() == Fault::None {
            // The storage did as it was told; redb found a corrupt page or panicked. No less final.
            self.condition.fail(&cause);
        }
        let found = self.abandon(&session, &cause);
        // Room ran out after the commit had become durable, and nothing worse happened: it is a commit.
        let landed = in_doubt.is_some() && found == in_doubt && session.fault() == Fault::Full;
        if landed { Ok(()) } else { Err(self.condition.unwritable()) }
    }

    /// Replaces a database whose session has met a fault by one that cannot write. Returns what that one shows.
    fn abandon(&self, session: &Arc<Session>, cause: &Cause) -> Option<Head> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&slot.session, session) || slot.database.is_none() {
            return None;
        }
        match session.fault() {
            Fault::Full => self.condition.found_no_room(),
            Fault::Broken if !session.is_scratch() => self.condition.fail(cause),
            Fault::Broken | Fault::None => {}
        }
        self.read_only(&mut slot);
        let database = slot.database.as_ref()?;
        let head = contained(|| reader::head(&database.begin_read()?)).ok()?.ok();
        drop(slot);
        self.publish(head);
        head
    }

    /// After a write that found no room: puts a database in place that may write.
    fn make_writable(&self) {
        if self.slot.read().unwrap_or_else(PoisonError::into_inner).writes().is_some() {
            return;
        }
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(cause) = self.replace(&mut slot, || Ok(Session::writing(&self.medium))) {
            if slot.session.fault() != Fault::Full {
                self.condition.fail(&cause);
            }
            self.read_only(&mut slot);
        }
    }

    fn read_only(&self, slot: &mut Slot) {
        // Without even that, the slot stays empty and every read says so.
        let _empty = self.replace(slot, || Session::scratch(&self.medium));
    }

    /// Ends the session in the slot, and opens a database on another one.
    fn replace(&self, slot: &mut Slot, session: impl FnOnce() -> io::Result<Arc<Session>>) -> Result<(), Cause> {
        slot.session.sever();
        // Only now: at its end, a database that could still write would record that it ended well.
        let ended = slot.database.take();
        let opened = contained(|| {
            drop(ended);
            slot.session = session().map_err(Cause::new)?;
            open_database(&slot.session, self.cache_bytes).map_err(Cause::new)
        });
        match opened.flatten() {
            Ok(database) => {
                slot.database = Some(database);
                Ok(())
            }
            Err(cause) => {
                tracing::error!(error = %cause, "the store's storage could not be opened again");
                Err(cause)
            }
        }
    }

    fn publish(&self, head: Option<Head>) {
        if let Some(head) = head {
            self.progress.send_modify(|progress| {
                progress.revision = head.revision;
                progress.oldest = head.floor;
            });
        }
    }

    /// Ends everything. The storage is free for others when this returns.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let database = slot.database.take();
        let closed = contained(|| database.map_or(Ok(()), Database::close));
        slot.session.sever();
        let released = self.medium.close();
        drop(slot);
        let was_ready = self.condition.close();
        self.progress.send_modify(|progress| progress.closed = true);
        let source = match (closed, released) {
            (Ok(Ok(())), Ok(())) => return Ok(()),
            (Err(panic), _) => panic,
            (Ok(Err(error)), _) => Cause::new(error),
            (Ok(Ok(())), Err(error)) => Cause::new(error),
        };
        // A storage that had failed before does not close in order, and whoever asks knows that already.
        if was_ready { Err(StoreError::Failed { source }) } else { Ok(()) }
    }
}
