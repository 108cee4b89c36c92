//! Turns a transaction into its net effect, before anything is written.
//!
//! Transactions share one write to the storage, and one that is refused must leave no trace in it. So everything
//! that can refuse a transaction, and every read it needs, happens here; what is left cannot be refused.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use redb::ReadableTable;

use super::rows::{EntryRow, LeaseRow};
use super::stop::Stop;
use crate::error::{Limit, StoreError};
use crate::key::{Key, KeyRange};
use crate::limits::{MAX_CHANGES, MAX_VALUE_BYTES};
use crate::link::{Linked, SharedLink};
use crate::log::{LogName, LogPosition};
use crate::transaction::{Compare, Op, Transaction};

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A range as redb takes it. Only for ranges that are not empty.
pub(super) fn bounds(range: &KeyRange) -> Bounds<'_> {
    let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_bytes()));
    (Bound::Included(range.start().as_bytes()), end)
}

/// What a transaction does to one key.
#[derive(Debug)]
pub(super) struct PlannedChange {
    pub(super) before: Option<EntryRow>,
    pub(super) value: Option<Bytes>,
}

/// The net effect of a transaction.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: BTreeMap<Key, PlannedChange>,
    pub(super) appends: Vec<(LogName, LogPosition, Bytes)>,
}

/// What a plan reads. Tables of a write transaction, so that it sees the transactions before it in its group.
pub(super) struct Sight<'a, E, L, H> {
    pub(super) entries: &'a E,
    pub(super) leases: &'a L,
    pub(super) log_heads: &'a H,
}

impl<E, L, H> Sight<'_, E, L, H>
where
    E: ReadableTable<&'static [u8], &'static [u8]>,
    L: ReadableTable<&'static [u8], &'static [u8]>,
    H: ReadableTable<&'static [u8], u64>,
{
    pub(super) fn plan(&self, transaction: &Transaction) -> Result<Plan, Stop> {
        for (index, compare) in transaction.compares().iter().enumerate() {
            if !self.holds(compare)? {
                return Err(StoreError::Conflict { index }.into());
            }
        }
        let mut plan = Plan::default();
        for op in transaction.ops() {
            match op {
                Op::Put(key, value) => self.change(&mut plan, key, Some(value.clone()))?,
                Op::Delete(key) => self.change(&mut plan, key, None)?,
                Op::DeleteRange(range) => self.delete_range(&mut plan, range)?,
                Op::Append { log, value } => {
                    let position = self.next_position(&plan, log)?;
                    plan.appends.push((log.clone(), position, value.clone()));
                }
                Op::AppendLinked { log, head, value, link } => self.append_linked(&mut plan, log, head, value, link)?,
            }
        }
        plan.changes.retain(|_, change| change.before.is_some() || change.value.is_some());
        Ok(plan)
    }

    fn holds(&self, compare: &Compare) -> Result<bool, Stop> {
        Ok(match compare {
            Compare::Absent(key) => self.entries.get(key.as_bytes())?.is_none(),
            Compare::Present(key) => self.entries.get(key.as_bytes())?.is_some(),
            Compare::ModRevision(key, revision) => {
                self.entry(key)?.is_some_and(|entry| entry.mod_revision == *revision)
            }
            Compare::LeaseHeld { lease, epoch } => match self.leases.get(lease.as_key().as_bytes())? {
                Some(row) => {
                    let row = LeaseRow::decode(row.value())?;
                    row.epoch == *epoch && row.holder.is_some()
                }
                None => false,
            },
        })
    }

    fn entry(&self, key: &Key) -> Result<Option<EntryRow>, Stop> {
        let row = self.entries.get(key.as_bytes())?;
        Ok(row.map(|row| EntryRow::decode(row.value())).transpose()?)
    }

    fn change(&self, plan: &mut Plan, key: &Key, value: Option<Bytes>) -> Result<(), Stop> {
        if let Some(change) = plan.changes.get_mut(key) {
            change.value = value;
            return Ok(());
        }
        Limit::Changes.check(plan.changes.len() + 1, MAX_CHANGES)?;
        let before = self.entry(key)?;
        plan.changes.insert(key.clone(), PlannedChange { before, value });
        Ok(())
    }

    fn delete_range(&self, plan: &mut Plan, range: &KeyRange) -> Result<(), Stop> {
        if range.is_empty() {
            return Ok(());
        }
        for (key, change) in &mut plan.changes {
            if range.contains(key) {
                change.value = None;
            }
        }
        for row in self.entries.range::<&[u8]>(bounds(range))? {
            let (key, value) = row?;
            let key = Key::from(key.value());
            if !plan.changes.contains_key(&key) {
                Limit::Changes.check(plan.changes.len() + 1, MAX_CHANGES)?;
                let before = Some(EntryRow::decode(value.value())?);
                plan.changes.insert(key, PlannedChange { before, value: None });
            }
        }
        Ok(())
    }

    fn next_position(&self, plan: &Plan, log: &LogName) -> Result<LogPosition, Stop> {
        let last = plan.appends.iter().rev().find(|(name, ..)| name == log);
        Ok(match last {
            Some((_, position, _)) => position + 1,
            None => self.log_heads.get(log.as_key().as_bytes())?.map_or(0, |next| next.value()),
        })
    }

    fn append_linked(
        &self,
        plan: &mut Plan,
        log: &LogName,
        head: &Key,
        value: &[u8],
        link: &SharedLink,
    ) -> Result<(), Stop> {
        let position = self.next_position(plan, log)?;
        let before = match plan.changes.get(head) {
            Some(change) => change.value.clone(),
            None => self.entry(head)?.map(|row| row.value),
        };
        let Linked { entry, head: after } = link.link(before.as_deref(), position, value);
        for made in [&entry, &after] {
            Limit::ValueBytes.check(made.len(), MAX_VALUE_BYTES)?;
        }
        self.change(plan, head, Some(after))?;
        plan.appends.push((log.clone(), position, entry));
        Ok(())
    }
}
