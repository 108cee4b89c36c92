//! One write to the storage, shared by every request that was waiting for it.

use std::time::Duration;

use redb::{ReadableTable, Table, WriteTransaction};

use super::plan::{Plan, Sight};
use super::rows::{EntryRow, LeaseRow, encode_change, encode_log_entry};
use super::stop::Stop;
use super::tables::{CHANGES, ENTRIES, LEASES, LOG_ENTRIES, LOG_HEADS, META, meta};
use crate::error::StoreError;
use crate::lease::{Lease, LeaseEpoch, LeaseName};
use crate::log::{LogName, LogPosition};
use crate::store::{Committed, Revision};
use crate::transaction::Transaction;

/// Entries that one trim removes before it lets others write.
const TRIM_STEP: usize = 1024;

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) revisions: u64,
    pub(super) bytes: u64,
}

/// The numbers of the meta table, as a group finds and leaves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) floor: Revision,
    pub(super) change_bytes: u64,
    /// Writes to the storage, so that two heads are equal only when they are the same one.
    pub(super) writes: u64,
}

impl Head {
    pub(super) fn load(numbers: &impl ReadableTable<&'static str, u64>) -> Result<Self, Stop> {
        let number = |name| -> Result<u64, Stop> {
            Ok(numbers.get(name)?.ok_or(StoreError::Malformed { row: "meta table" })?.value())
        };
        let (revision, floor) = (number(meta::REVISION)?, number(meta::FLOOR)?);
        if floor > revision {
            return Err(StoreError::Malformed { row: "meta table" }.into());
        }
        Ok(Self { revision, floor, change_bytes: number(meta::CHANGE_BYTES)?, writes: number(meta::WRITES)? })
    }
}

/// A step of [`Group::trim_log`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) removed: u64,
    pub(super) more: bool,
}

/// The tables of a write transaction, open.
pub(super) struct Group<'txn> {
    numbers: Table<'txn, &'static str, u64>,
    entries: Table<'txn, &'static [u8], &'static [u8]>,
    changes: Table<'txn, u64, &'static [u8]>,
    leases: Table<'txn, &'static [u8], &'static [u8]>,
    log_heads: Table<'txn, &'static [u8], u64>,
    log_entries: Table<'txn, (&'static [u8], u64), &'static [u8]>,
    head: Head,
    dirty: bool,
}

impl<'txn> Group<'txn> {
    pub(super) fn open(write: &'txn WriteTransaction) -> Result<Self, Stop> {
        let numbers = write.open_table(META)?;
        let head = Head::load(&numbers)?;
        Ok(Self {
            numbers,
            head,
            entries: write.open_table(ENTRIES)?,
            changes: write.open_table(CHANGES)?,
            leases: write.open_table(LEASES)?,
            log_heads: write.open_table(LOG_HEADS)?,
            log_entries: write.open_table(LOG_ENTRIES)?,
            dirty: false,
        })
    }

    /// Writes what concerns the group as a whole. `None` when it changed nothing and need not be committed.
    pub(super) fn finish(mut self, retention: Retention) -> Result<Option<Head>, Stop> {
        if !self.dirty {
            return Ok(None);
        }
        self.compact(retention)?;
        self.head.writes += 1;
        self.numbers.insert(meta::REVISION, self.head.revision)?;
        self.numbers.insert(meta::FLOOR, self.head.floor)?;
        self.numbers.insert(meta::CHANGE_BYTES, self.head.change_bytes)?;
        self.numbers.insert(meta::WRITES, self.head.writes)?;
        Ok(Some(self.head))
    }

    pub(super) fn commit(&mut self, transaction: &Transaction) -> Result<Committed, Stop> {
        let sight = Sight { entries: &self.entries, leases: &self.leases, log_heads: &self.log_heads };
        let plan = sight.plan(transaction)?;
        if transaction.ops().is_empty() {
            return Ok(Committed { revision: self.head.revision, log_positions: Vec::new() });
        }
        self.apply(plan)
    }

    fn apply(&mut self, plan: Plan) -> Result<Committed, Stop> {
        self.dirty = true;
        let revision = self.head.revision + 1;
        let mut record = Vec::new();
        for (key, change) in plan.changes {
            let after = change.value.map(|value| EntryRow {
                create_revision: change.before.as_ref().map_or(revision, |before| before.create_revision),
                mod_revision: revision,
                value,
            });
            match &after {
                Some(entry) => drop(self.entries.insert(key.as_bytes(), &*entry.encode())?),
                None => drop(self.entries.remove(key.as_bytes())?),
            }
            encode_change(&mut record, &key, after.as_ref(), change.before.as_ref());
        }
        let mut log_positions = Vec::with_capacity(plan.appends.len());
        for (log, position, value) in plan.appends {
            let name = log.as_key().as_bytes();
            self.log_entries.insert((name, position), &*encode_log_entry(revision, &value))?;
            self.log_heads.insert(name, position + 1)?;
            log_positions.push(position);
        }
        self.changes.insert(revision, &*record)?;
        self.head.revision = revision;
        self.head.change_bytes += record.len() as u64;
        Ok(Committed { revision, log_positions })
    }

    /// Drops the oldest revisions from the change log until it is within its retention.
    fn compact(&mut self, retention: Retention) -> Result<(), Stop> {
        while self.head.revision - self.head.floor > retention.revisions || self.head.change_bytes > retention.bytes {
            let Some((revision, record)) = self.changes.pop_first()? else { break };
            self.head.floor = revision.value();
            self.head.change_bytes = self.head.change_bytes.saturating_sub(record.value().len() as u64);
        }
        Ok(())
    }

    pub(super) fn acquire_lease(
        &mut self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        now_ms: u64,
    ) -> Result<Lease, Stop> {
        let current = self.lease(name)?;
        if let Some(LeaseRow { holder: Some(other), expires_ms, .. }) = &current
            && *expires_ms > now_ms
            && other != holder
        {
            let (holder, expires_ms) = (other.clone(), *expires_ms);
            return Err(StoreError::LeaseTaken { name: name.clone(), holder, expires_ms }.into());
        }
        let epoch = current.map_or(0, |row| row.epoch) + 1;
        self.write_lease(name, LeaseRow { epoch, expires_ms: expiry(now_ms, ttl), holder: Some(holder.to_owned()) })
    }

    pub(super) fn renew_lease(
        &mut self,
        name: &LeaseName,
        epoch: LeaseEpoch,
        ttl: Duration,
        now_ms: u64,
    ) -> Result<Lease, Stop> {
        let holder = self.held_lease(name, epoch)?;
        self.write_lease(name, LeaseRow { epoch, expires_ms: expiry(now_ms, ttl), holder: Some(holder) })
    }

    pub(super) fn release_lease(&mut self, name: &LeaseName, epoch: LeaseEpoch) -> Result<(), Stop> {
        self.held_lease(name, epoch)?;
        self.write_lease(name, LeaseRow { epoch, expires_ms: 0, holder: None })?;
        Ok(())
    }

    fn lease(&self, name: &LeaseName) -> Result<Option<LeaseRow>, Stop> {
        let row = self.leases.get(name.as_key().as_bytes())?;
        Ok(row.map(|row| LeaseRow::decode(row.value())).transpose()?)
    }

    fn held_lease(&self, name: &LeaseName, epoch: LeaseEpoch) -> Result<String, Stop> {
        match self.lease(name)? {
            Some(LeaseRow { epoch: newest, holder: Some(holder), .. }) if newest == epoch => Ok(holder),
            _ => Err(StoreError::LeaseLost { name: name.clone(), epoch }.into()),
        }
    }

    fn write_lease(&mut self, name: &LeaseName, row: LeaseRow) -> Result<Lease, Stop> {
        self.dirty = true;
        self.leases.insert(name.as_key().as_bytes(), &*row.encode())?;
        let LeaseRow { epoch, expires_ms, holder } = row;
        Ok(Lease { name: name.clone(), holder: holder.unwrap_or_default(), epoch, expires_ms })
    }

    pub(super) fn trim_log(&mut self, log: &LogName, before: LogPosition) -> Result<Trimmed, Stop> {
        let name = log.as_key().as_bytes();
        let mut positions = Vec::new();
        for row in self.log_entries.range((name, 0)..(name, before))?.take(TRIM_STEP + 1) {
            positions.push(row?.0.value().1);
        }
        let more = positions.len() > TRIM_STEP;
        positions.truncate(TRIM_STEP);
        for position in &positions {
            self.dirty = true;
            self.log_entries.remove((name, *position))?;
        }
        Ok(Trimmed { removed: positions.len() as u64, more })
    }
}

fn expiry(now_ms: u64, ttl: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}
