//! Whether the audit log is what was written.

use outrigger_protocol::id::OrganizationId;
use outrigger_store::{Direction, LogEntry, LogPosition};

use super::chain::{self, AuditHead, BEGINNING, Digest, Signers};
use crate::catalog::{Catalog, READ, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Role};

/// Entries that are looked at in one read.
const STRETCH: usize = 1_000;

/// What became of an audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerification {
    /// Entries that are there and in order, from the oldest on: all of them, or those before the fault.
    pub entries: u64,
    /// How many of them were written before there was a chain, and so cannot be verified.
    pub before_chain: u64,
    /// The hash of the last entry, as the signed head has it. Kept elsewhere, it is a witness against whoever would put
    /// an old copy of the whole database in place of this one.
    pub head: Option<[u8; 32]>,
    /// The first thing that is wrong.
    pub fault: Option<AuditFault>,
}

/// How an audit log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    #[error("the log's signed head is gone")]
    HeadMissing,
    #[error("the log's head was not signed by this installation, or was changed since")]
    HeadForged,
    #[error("entry {position} was removed")]
    Removed { position: LogPosition },
    /// The entry itself, or the one after it, which has its hash.
    #[error("entry {position} was changed, replaced or moved")]
    Changed { position: LogPosition },
    #[error("entry {position} was added outside the chain")]
    Added { position: LogPosition },
    /// What there is may be a chain, but it is another one, or an older copy of it.
    #[error("the head that was expected is not in the log: it is an older copy, or another log")]
    Unexpected,
}

impl AuditFault {
    /// Where in the log it is, if it is at one place.
    #[must_use]
    pub fn position(self) -> Option<LogPosition> {
        match self {
            Self::HeadMissing | Self::HeadForged | Self::Unexpected => None,
            Self::Removed { position } | Self::Changed { position } | Self::Added { position } => Some(position),
        }
    }
}

/// A walk along a log.
struct Walk {
    organization: OrganizationId,
    start: LogPosition,
    /// The position that comes next, which is also the number of entries that were in order.
    next: LogPosition,
    before_chain: u64,
    digest: Digest,
    /// A hash that somebody noted down as that of the last entry of their time, until it is met.
    expected: Option<Digest>,
}

impl Walk {
    fn step(&mut self, entry: &LogEntry) -> Result<(), AuditFault> {
        let position = entry.position;
        if position != self.next {
            return Err(AuditFault::Removed { position: self.next });
        }
        match chain::parse(&entry.value).before {
            None if position < self.start => self.before_chain += 1,
            Some(before) if position >= self.start => {
                if *before != self.digest {
                    // The first of the chain has nobody before it that could have been changed.
                    return Err(AuditFault::Changed { position: self.start.max(position.saturating_sub(1)) });
                }
                self.digest = chain::digest(self.organization, position, &entry.value);
                self.expected = self.expected.filter(|expected| *expected != self.digest);
            }
            _ => return Err(AuditFault::Added { position }),
        }
        self.next += 1;
        Ok(())
    }

    /// Whether the end is the one that the head tells of.
    fn end(&self, head: &AuditHead) -> Result<(), AuditFault> {
        if self.next < head.next {
            return Err(AuditFault::Removed { position: self.next });
        }
        if self.digest != head.digest {
            return Err(AuditFault::Changed { position: self.next.saturating_sub(1) });
        }
        Ok(())
    }
}

impl Catalog {
    /// Walks the audit log of the actor's organisation from its beginning and holds every entry against the next, and
    /// the last against the signed head. Takes time in proportion to the log. Admin.
    ///
    /// Found are entries that were changed, removed, added or put into another order, and an end that was cut off. What
    /// is wrong is no error but a part of the answer.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn verify_audit(&self, actor: &Actor) -> Result<AuditVerification, CatalogError> {
        self.verify_audit_against(actor, None).await
    }

    /// As [`verify_audit`](Self::verify_audit), and that the log has `expected`, a [head](AuditVerification::head) that was
    /// noted down elsewhere: one that has not was put in the place of the one it was noted of.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn verify_audit_against(
        &self,
        actor: &Actor,
        expected: Option<[u8; 32]>,
    ) -> Result<AuditVerification, CatalogError> {
        actor.require(Role::Admin)?;
        let organization = actor.organization;
        // The log's end is read before the head: every entry before it is one that the head knows of.
        let log = keys::audit_log(organization);
        let known = self.store().read_log(&log, 0, 1, Direction::Forward).await.map_err(READ)?.next_position;
        let head = loop {
            let keyring = self.keyring();
            let head = match self.audit_head(organization).await {
                Ok(head) => head,
                Err(CatalogError::Record { .. }) => return Ok(nothing_but(AuditFault::HeadForged)),
                Err(error) => return Err(error),
            };
            if head.is_none_or(|head| Signers::new(&keyring, organization).is_genuine(&head)) {
                break head;
            }
            // It may have been signed with a key that was not known yet.
            if !self.renew_keyring(&keyring).await? {
                return Ok(nothing_but(AuditFault::HeadForged));
            }
        };
        let (start, end) = head.map_or((known, known), |head| (head.start, head.next));
        let mut walk = Walk { organization, start, next: 0, before_chain: 0, digest: BEGINNING, expected };
        let fault = match self.walk(&mut walk, end).await? {
            Err(fault) => Some(fault),
            Ok(()) => match head.map_or(Ok(()), |head| walk.end(&head)) {
                Err(fault) => Some(fault),
                Ok(()) => self.beyond(organization, end).await?,
            },
        };
        // Without a head nothing is in the chain: an entry that claims to be had one.
        let fault = match fault {
            Some(AuditFault::Added { .. }) if head.is_none() => Some(AuditFault::HeadMissing),
            fault => fault,
        };
        let Walk { next: entries, before_chain, expected, .. } = walk;
        let fault = fault.or(expected.map(|_| AuditFault::Unexpected));
        Ok(AuditVerification { entries, before_chain, head: head.map(|head| head.digest), fault })
    }

    async fn audit_head(&self, organization: OrganizationId) -> Result<Option<AuditHead>, CatalogError> {
        let row: Option<Row<AuditHead>> = self.row(keys::audit_head(organization)).await?;
        Ok(row.map(|row| row.value))
    }

    /// Walks on up to the position `end`.
    async fn walk(&self, walk: &mut Walk, end: LogPosition) -> Result<Result<(), AuditFault>, CatalogError> {
        let log = keys::audit_log(walk.organization);
        while walk.next < end {
            let stretch =
                self.store().read_log(&log, walk.next, STRETCH, Direction::Forward).await.map_err(READ)?.entries;
            if stretch.is_empty() {
                break;
            }
            for entry in stretch.iter().take_while(|entry| entry.position < end) {
                if let Err(fault) = walk.step(entry) {
                    return Ok(Err(fault));
                }
            }
            if stretch.last().is_some_and(|last| last.position >= end) {
                break;
            }
        }
        Ok(if walk.next < end { Err(AuditFault::Removed { position: walk.next }) } else { Ok(()) })
    }

    /// Whether what stands behind the end that the head told of is what others have appended in the meantime: they move
    /// the head in the same transaction.
    async fn beyond(&self, organization: OrganizationId, end: LogPosition) -> Result<Option<AuditFault>, CatalogError> {
        let log = keys::audit_log(organization);
        let behind = self.store().read_log(&log, end, 1, Direction::Forward).await.map_err(READ)?;
        let Some(position) = behind.entries.first().map(|entry| entry.position) else { return Ok(None) };
        let moved = self.audit_head(organization).await?.is_some_and(|head| head.next > position);
        Ok((!moved).then_some(AuditFault::Added { position }))
    }
}

fn nothing_but(fault: AuditFault) -> AuditVerification {
    AuditVerification { entries: 0, before_chain: 0, head: None, fault: Some(fault) }
}
