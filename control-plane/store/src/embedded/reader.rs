//! Reads: everything inside one read transaction, so that what is returned belongs together.

use std::collections::BTreeMap;
use std::iter::Peekable;

use redb::{AccessGuard, ReadOnlyTable, ReadTransaction, StorageError};

use super::group::Head;
use super::plan::bounds;
use super::rows::{EntryRow, decode_changes, decode_log_entry};
use super::stop::Stop;
use super::tables::{CHANGES, ENTRIES, LOG_ENTRIES, LOG_HEADS, META};
use crate::error::StoreError;
use crate::key::{Key, KeyRange};
use crate::limits::{MAX_PAGE_BYTES, MAX_PAGE_ENTRIES};
use crate::log::{Direction, LogEntry, LogName, LogPage, LogPosition};
use crate::store::{Entry, Page, RangeOptions, ReadAt, Revision};
use crate::watch::{Change, ChangeKind, Event};

/// Revisions that a watch looks at in one read transaction.
const WATCH_STEP: u64 = 512;

/// Collects a page until its limit or its bytes are reached. The first item always fits.
struct PageOf<T> {
    items: Vec<T>,
    limit: usize,
    bytes: usize,
}

impl<T> PageOf<T> {
    fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit: limit.min(MAX_PAGE_ENTRIES), bytes: 0 }
    }

    /// `false` when the page is full: the item was not taken, and there is more than the page holds.
    fn push(&mut self, item: T, bytes: usize) -> bool {
        let heavy = !self.items.is_empty() && self.bytes + bytes > MAX_PAGE_BYTES;
        if self.items.len() >= self.limit || heavy {
            return false;
        }
        self.bytes += bytes;
        self.items.push(item);
        true
    }
}

pub(super) fn head(read: &ReadTransaction) -> Result<Head, Stop> {
    Head::load(&read.open_table(META)?)
}

pub(super) fn get(read: &ReadTransaction, key: &Key) -> Result<Option<Entry>, Stop> {
    let entries = read.open_table(ENTRIES)?;
    let row = entries.get(key.as_bytes())?;
    let row = row.map(|row| EntryRow::decode(row.value())).transpose()?;
    Ok(row.map(|row| row.into_entry(key.clone())))
}

pub(super) fn range(read: &ReadTransaction, range: &KeyRange, options: RangeOptions) -> Result<Page, Stop> {
    let head = head(read)?;
    let revision = match options.at {
        ReadAt::Latest => head.revision,
        ReadAt::Revision(revision) => revision,
    };
    if revision > head.revision {
        return Err(StoreError::FutureRevision { requested: revision, latest: head.revision }.into());
    }
    if revision < head.floor {
        return Err(StoreError::Compacted { requested: revision, oldest: head.floor }.into());
    }
    let mut page = PageOf::new(options.limit);
    let mut more = false;
    if !range.is_empty() {
        let past = past_entries(read, range, revision, head.revision)?.into_iter();
        let current = read.open_table(ENTRIES)?.range::<&[u8]>(bounds(range))?.map(decode_entry);
        more = if options.reverse {
            fill(&mut page, past.rev().peekable(), current.rev().peekable(), |a, b| a > b)?
        } else {
            fill(&mut page, past.peekable(), current.peekable(), |a, b| a < b)?
        };
    }
    Ok(Page { entries: page.items, more, revision })
}

/// What redb yields from a table whose values are bytes.
type RawRow<'a, K> = Result<(AccessGuard<'a, K>, AccessGuard<'a, &'static [u8]>), StorageError>;

type DecodedRow = Result<(Key, EntryRow), Stop>;

fn decode_entry(row: RawRow<'_, &'static [u8]>) -> DecodedRow {
    let (key, value) = row?;
    Ok((Key::from(key.value()), EntryRow::decode(value.value())?))
}

/// The keys of `range` that were changed after `revision`, as they were at it.
fn past_entries(
    read: &ReadTransaction,
    range: &KeyRange,
    revision: Revision,
    latest: Revision,
) -> Result<BTreeMap<Key, Option<EntryRow>>, Stop> {
    let mut past = BTreeMap::new();
    if revision == latest {
        return Ok(past);
    }
    let changes = read.open_table(CHANGES)?;
    for row in changes.range(revision + 1..=latest)? {
        for change in decode_changes(row?.1.value())? {
            if range.contains(&change.key) {
                // Oldest first: what the first change after `revision` found is what was there.
                past.entry(change.key).or_insert(change.before);
            }
        }
    }
    Ok(past)
}

/// Merges the past over the present into `page`; says whether something was left over.
fn fill(
    page: &mut PageOf<Entry>,
    mut past: Peekable<impl Iterator<Item = (Key, Option<EntryRow>)>>,
    mut current: Peekable<impl Iterator<Item = DecodedRow>>,
    comes_first: impl Fn(&Key, &Key) -> bool,
) -> Result<bool, Stop> {
    loop {
        let from_past = match (past.peek(), current.peek()) {
            (None, None) => return Ok(false),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((old, _)), Some(Ok((now, _)))) => !comes_first(now, old),
            (Some(_), Some(Err(_))) => false,
        };
        let found = if from_past {
            let (key, row) = past.next().unzip();
            // The present state of the same key is superseded.
            current.next_if(|row| row.as_ref().is_ok_and(|(now, _)| Some(now) == key.as_ref()));
            key.zip(row.flatten())
        } else {
            current.next().transpose()?
        };
        if let Some((key, row)) = found {
            let bytes = key.len() + row.value.len();
            if !page.push(row.into_entry(key), bytes) {
                return Ok(true);
            }
        }
    }
}

pub(super) fn read_log(
    read: &ReadTransaction,
    log: &LogName,
    from: LogPosition,
    limit: usize,
    direction: Direction,
) -> Result<LogPage, Stop> {
    let name = log.as_key().as_bytes();
    let next_position = read.open_table(LOG_HEADS)?.get(name)?.map_or(0, |next| next.value());
    let entries: ReadOnlyTable<(&[u8], u64), &[u8]> = read.open_table(LOG_ENTRIES)?;
    let mut page = PageOf::new(limit);
    let mut take = |row: RawRow<'_, (&'static [u8], u64)>| {
        let (key, value) = row?;
        let (revision, value) = decode_log_entry(value.value())?;
        let bytes = value.len();
        Ok::<_, Stop>(page.push(LogEntry { position: key.value().1, revision, value }, bytes))
    };
    let mut more = false;
    match direction {
        Direction::Forward => {
            for row in entries.range((name, from)..=(name, LogPosition::MAX))? {
                if !take(row)? {
                    more = true;
                    break;
                }
            }
        }
        Direction::Backward => {
            for row in entries.range((name, 0)..=(name, from))?.rev() {
                if !take(row)? {
                    more = true;
                    break;
                }
            }
        }
    }
    Ok(LogPage { entries: page.items, more, next_position })
}

/// A stretch of the change log, as one watch sees it.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) events: Vec<Event>,
    /// The last revision that was looked at.
    pub(super) through: Revision,
}

/// Looks at the next few revisions from `from` on.
pub(super) fn observe(read: &ReadTransaction, range: &KeyRange, from: Revision) -> Result<Observed, Stop> {
    let head = head(read)?;
    if from <= head.floor {
        return Err(StoreError::Compacted { requested: from, oldest: head.floor + 1 }.into());
    }
    let last = head.revision.min(from.saturating_add(WATCH_STEP - 1));
    let mut observed = Observed { events: Vec::new(), through: from - 1 };
    let mut bytes = 0;
    if from > last {
        return Ok(observed);
    }
    for row in read.open_table(CHANGES)?.range(from..=last)? {
        let (revision, record) = row?;
        bytes += record.value().len();
        if bytes > MAX_PAGE_BYTES && observed.through >= from {
            break;
        }
        observed.through = revision.value();
        let changed = decode_changes(record.value())?.into_iter().filter(|change| range.contains(&change.key));
        let changes: Vec<_> = changed
            .map(|change| {
                let kind = change.after.map_or(ChangeKind::Delete, |entry| ChangeKind::Put(entry.value));
                Change { key: change.key, kind }
            })
            .collect();
        if !changes.is_empty() {
            observed.events.push(Event { revision: revision.value(), changes });
        }
    }
    Ok(observed)
}
