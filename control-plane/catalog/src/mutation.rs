//! One mutation, one transaction.
//!
//! A mutation is a function from what it reads to a [`Draft`]: compares for what it relied on, writes, and the audit
//! entries that tell of them. [`Catalog::mutate`] adds the idempotency record and commits. When a compare does not hold
//! any more, everything is read and decided again, so that no decision is ever made on one state and applied to another.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use outrigger_protocol::id::{AuditId, OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::Fingerprint;
use outrigger_store::{Compare, Key, KeyRange, LogName, LogPosition, Op, SharedLink, StoreError, Transaction};

use crate::catalog::{Catalog, Row, random};
use crate::error::CatalogError;
use crate::idempotency::Promise;
use crate::keyring::Keyring;
use crate::keys;
use crate::model::{Actor, AuditAction, AuditEntry, Origin, Role};
use crate::record::{self, Empty, Record};
use crate::validate::clip;

/// Each round of a race is won by somebody, so this many writers of one row at the same time all get through.
pub(crate) const MAX_ATTEMPTS: usize = 32;

/// Appends between two trims of a log.
const TRIM_EVERY: u64 = 64;

/// Longest text of an audit entry, in bytes.
const AUDIT_TEXT_BYTES: usize = 1024;

/// What a mutation wants to do.
#[derive(Debug)]
pub(crate) struct Draft {
    /// One moment for everything that the mutation writes.
    pub(crate) now: UnixMillis,
    organization: OrganizationId,
    actor: String,
    origin: Origin,
    compares: Vec<Compare>,
    ops: Vec<Op>,
    appends: usize,
    /// Which of the appends are to logs that are trimmed, and to how many entries.
    bounded: Vec<(usize, LogName, u64)>,
    /// The project that the entries tell of.
    project: Option<ProjectId>,
    entries: Vec<AuditEntry>,
    /// The master keys that something in it was made with.
    keyring: Option<Arc<Keyring>>,
}

/// What came of deciding.
pub(crate) enum Decided<T> {
    /// Commit this, then answer.
    Commit(Box<Draft>, T),
    /// There is nothing to do.
    Already(T),
}

impl Draft {
    pub(crate) fn new(now: UnixMillis, organization: OrganizationId, actor: String, origin: Origin) -> Self {
        Self {
            now,
            organization,
            actor,
            origin,
            compares: Vec::new(),
            ops: Vec::new(),
            appends: 0,
            bounded: Vec::new(),
            project: None,
            entries: Vec::new(),
            keyring: None,
        }
    }

    pub(crate) const fn organization(&self) -> OrganizationId {
        self.organization
    }

    pub(crate) fn when(&mut self, compare: Compare) {
        self.compares.push(compare);
    }

    /// What was read must still be so.
    pub(crate) fn relies_on<T>(&mut self, row: &Row<T>) {
        self.when(row.unchanged());
    }

    /// What was read must still be so, be it that nothing was there.
    pub(crate) fn relies_on_or_absence<T>(&mut self, key: Key, row: Option<&Row<T>>) {
        self.when(row.map_or(Compare::Absent(key), Row::unchanged));
    }

    pub(crate) fn put<R: Record>(&mut self, key: Key, record: &R) {
        self.put_bytes(key, record::encode(record));
    }

    pub(crate) fn put_bytes(&mut self, key: Key, bytes: bytes::Bytes) {
        self.ops.push(Op::Put(key, bytes));
    }

    /// Replaces a row that was read, as long as it has not changed.
    pub(crate) fn replace<R: Record>(&mut self, row: &Row<R>, record: &R) {
        self.relies_on(row);
        self.put(row.key.clone(), record);
    }

    /// A row whose key says everything.
    pub(crate) fn mark(&mut self, key: Key) {
        self.put(key, &Empty);
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    pub(crate) fn delete_below(&mut self, prefix: &Key) {
        self.delete_range(KeyRange::prefix(prefix));
    }

    pub(crate) fn delete_range(&mut self, range: KeyRange) {
        self.ops.push(Op::DeleteRange(range));
    }

    pub(crate) fn append<R: Record>(&mut self, log: LogName, record: &R) {
        self.appends += 1;
        self.ops.push(Op::Append { log, value: record::encode(record) });
    }

    /// Appends to a log of which about `kept` entries are kept: the old ones go after the commit.
    pub(crate) fn append_bounded<R: Record>(&mut self, log: LogName, record: &R, kept: u64) {
        self.bounded.push((self.appends, log.clone(), kept));
        self.append(log, record);
    }

    /// Says in the audit log what this draft does. `target` is the id or path of what it is done to.
    pub(crate) fn audit(&mut self, action: AuditAction, target: impl Display, detail: &str) {
        self.audit_value(action, target, detail, None, None);
    }

    /// As [`audit`](Self::audit), of a value that is another now: with the fingerprints of what it was and is.
    pub(crate) fn audit_value(
        &mut self,
        action: AuditAction,
        target: impl Display,
        detail: &str,
        before: Option<Fingerprint>,
        after: Option<Fingerprint>,
    ) {
        self.entries.push(AuditEntry {
            id: AuditId::new(self.now, random()),
            at: self.now,
            actor: self.actor.clone(),
            origin: self.origin.clone(),
            action,
            target: target.to_string(),
            detail: clip(detail, AUDIT_TEXT_BYTES),
            project: self.project,
            before,
            after,
        });
    }

    /// Forgets everything that the draft was to do. What it relied on it does not rely on any more.
    pub(crate) fn start_over(&mut self) {
        *self = Self {
            keyring: self.keyring.take(),
            ..Self::new(self.now, self.organization, std::mem::take(&mut self.actor), std::mem::take(&mut self.origin))
        };
    }

    /// What is told from now on happens in this project.
    pub(crate) fn concerns(&mut self, project: ProjectId) {
        self.project = Some(project);
    }

    /// The master keys for what the draft holds: one and the same for all of it.
    pub(crate) fn keyring(&mut self, catalog: &Catalog) -> Arc<Keyring> {
        Arc::clone(self.keyring.get_or_insert_with(|| catalog.keyring()))
    }

    pub(crate) fn then<T>(self, value: T) -> Result<Decided<T>, CatalogError> {
        Ok(Decided::Commit(Box::new(self), value))
    }

    /// The entries go last: where they stand among the operations says nothing, and the other appends keep their places.
    fn transaction(&self, keyring: &Keyring, audit: &SharedLink) -> Transaction {
        let (log, head) = (keys::audit_log(self.organization), keys::audit_head(self.organization));
        let transaction = Transaction::new().when(keyring.unchanged());
        let transaction = self.compares.iter().cloned().fold(transaction, Transaction::when);
        let transaction = self.ops.iter().cloned().fold(transaction, Transaction::op);
        self.entries.iter().fold(transaction, |transaction, entry| {
            transaction.append_linked(log.clone(), head.clone(), record::encode(entry), audit)
        })
    }
}

/// The compare in [`Draft::transaction`] that the master keys are what they were.
const KEYRING_COMPARE: usize = 0;

impl Catalog {
    /// Runs a mutation on an actor's behalf: once, whatever an idempotency key sees repeated.
    ///
    /// `operation` names the mutation among those that one request may take.
    pub(crate) async fn mutate<T, F, Fut>(
        &self,
        actor: &Actor,
        need: Role,
        operation: &'static str,
        decide: F,
    ) -> Result<T, CatalogError>
    where
        T: Record,
        F: Fn(Draft) -> Fut,
        Fut: Future<Output = Result<Decided<T>, CatalogError>> + Send,
    {
        actor.require(need)?;
        for _ in 0..MAX_ATTEMPTS {
            let promise = match &actor.idempotency {
                None => None,
                Some(idempotency) => match self.promise(actor, idempotency, operation).await? {
                    Promise::Kept(result) => return Ok(result),
                    Promise::Open(open) => Some(open),
                },
            };
            let (mut draft, value) = match decide(self.draft(actor)).await? {
                Decided::Commit(draft, value) => {
                    debug_assert!(!draft.entries.is_empty(), "every mutation tells of itself");
                    (*draft, value)
                }
                // Nothing to do and nothing to tell; but a repetition must not find something to do.
                Decided::Already(value) if promise.is_some() => (self.draft(actor), value),
                Decided::Already(value) => return Ok(value),
            };
            if let Some(promise) = promise {
                self.keep(promise, operation, &value, &mut draft)?;
            }
            if self.commit(draft).await? {
                return Ok(value);
            }
        }
        Err(CatalogError::Overloaded)
    }

    /// Runs a mutation whose result is not kept under an idempotency key: it has none, or is never stored.
    pub(crate) async fn mutate_afresh<T, F, Fut>(&self, first: Draft, decide: F) -> Result<T, CatalogError>
    where
        F: Fn(Draft) -> Fut,
        Fut: Future<Output = Result<Decided<T>, CatalogError>> + Send,
    {
        let Draft { organization, actor, origin, .. } = first;
        for _ in 0..MAX_ATTEMPTS {
            let draft = Draft::new(self.now(), organization, actor.clone(), origin.clone());
            match decide(draft).await? {
                Decided::Already(value) => return Ok(value),
                Decided::Commit(draft, value) => {
                    if self.commit(*draft).await? {
                        return Ok(value);
                    }
                }
            }
        }
        Err(CatalogError::Overloaded)
    }

    pub(crate) fn draft(&self, actor: &Actor) -> Draft {
        Draft::new(self.now(), actor.organization, actor.subject.to_string(), actor.origin.clone())
    }

    /// Commits a draft. Says whether it happened: it does not when what it relied on has changed. A draft that relied on
    /// nothing always happens.
    pub(crate) async fn commit(&self, mut draft: Draft) -> Result<bool, CatalogError> {
        let bounded = std::mem::take(&mut draft.bounded);
        for _ in 0..MAX_ATTEMPTS {
            let keyring = draft.keyring.clone().unwrap_or_else(|| self.keyring());
            let audit = self.audit_link(&keyring, draft.organization);
            match self.store().commit(draft.transaction(&keyring, &audit)).await {
                Ok(committed) => {
                    for (append, log, kept) in bounded {
                        if let Some(position) = committed.log_positions.get(append) {
                            self.trim(&log, *position, kept).await;
                        }
                    }
                    return Ok(true);
                }
                Err(StoreError::Conflict { index: KEYRING_COMPARE }) => {
                    self.renew_keyring(&keyring).await?;
                    // What was made with the old keys has to be made again; the log is only signed anew.
                    if draft.keyring.is_some() {
                        return Ok(false);
                    }
                }
                Err(StoreError::Conflict { .. }) => return Ok(false),
                Err(error) => return Err(CatalogError::store("committing")(error)),
            }
        }
        Err(CatalogError::Overloaded)
    }

    /// Every so many appends, deletes what is no longer kept. A failure is no failure of the mutation, which has
    /// happened; the next trim makes up for it.
    async fn trim(&self, log: &LogName, newest: LogPosition, kept: u64) {
        let Some(before) = newest.checked_sub(kept).map(|last| last + 1) else { return };
        if before.is_multiple_of(TRIM_EVERY)
            && let Err(error) = self.store().trim_log(log, before).await
        {
            tracing::warn!(%error, "old history is deleted later");
        }
    }
}
