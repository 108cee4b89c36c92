//! Transactions: compares that must all hold, then operations that all happen, under one revision.

use bytes::Bytes;

use crate::Revision;
use crate::error::{Limit, StoreError};
use crate::key::{Key, KeyRange};
use crate::lease::{LeaseEpoch, LeaseName};
use crate::limits::{MAX_COMPARES, MAX_KEY_BYTES, MAX_OPS, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES};
use crate::link::SharedLink;
use crate::log::LogName;

/// Something that must be true for the transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(Key),
    /// The key exists.
    Present(Key),
    /// The key exists and was last written by exactly this revision.
    ModRevision(Key, Revision),
    /// The lease is held and `epoch` is its newest epoch. No clock is asked: see [`crate::lease`].
    LeaseHeld { lease: LeaseName, epoch: LeaseEpoch },
}

/// One step of a transaction. Steps take effect in order; the last one that touches a key decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put(Key, Bytes),
    /// Deleting a key that does not exist is no error and no change.
    Delete(Key),
    /// Deletes every key of the range, also those that earlier steps of the same transaction put there.
    DeleteRange(KeyRange),
    Append {
        log: LogName,
        value: Bytes,
    },
    /// Appends what `link` makes of `value` and of what the append before left under the key `head`, and puts there what
    /// the next one needs.
    AppendLinked {
        log: LogName,
        head: Key,
        value: Bytes,
        link: SharedLink,
    },
}

/// Compares and operations, committed together or not at all.
///
/// A transaction without operations only checks its compares; it takes no revision of its own and is answered
/// with the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    compares: Vec<Compare>,
    ops: Vec<Op>,
}

impl Transaction {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition. Compares are checked in the order in which they were added, before any operation.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    #[must_use]
    pub fn put(self, key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        self.op(Op::Put(key.into(), value.into()))
    }

    #[must_use]
    pub fn delete(self, key: impl Into<Key>) -> Self {
        self.op(Op::Delete(key.into()))
    }

    #[must_use]
    pub fn delete_range(self, range: KeyRange) -> Self {
        self.op(Op::DeleteRange(range))
    }

    #[must_use]
    pub fn append(self, log: impl Into<LogName>, value: impl Into<Bytes>) -> Self {
        self.op(Op::Append { log: log.into(), value: value.into() })
    }

    #[must_use]
    pub fn append_linked(
        self,
        log: impl Into<LogName>,
        head: impl Into<Key>,
        value: impl Into<Bytes>,
        link: &SharedLink,
    ) -> Self {
        self.op(Op::AppendLinked { log: log.into(), head: head.into(), value: value.into(), link: link.clone() })
    }

    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    #[must_use]
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Keys, names and values together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let compares = self.compares.iter().map(|compare| compare_key(compare).len());
        let ops = self.ops.iter().map(|op| match op {
            Op::Put(key, value) => key.len() + value.len(),
            Op::Delete(key) => key.len(),
            Op::DeleteRange(range) => range.start().len() + range.end().map_or(0, Key::len),
            Op::Append { log, value } => log.as_key().len() + value.len(),
            Op::AppendLinked { log, head, value, .. } => log.as_key().len() + head.len() + value.len(),
        });
        compares.chain(ops).sum()
    }

    /// Checks everything that can be said without the store's content.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] or [`StoreError::EmptyKey`]. Every backend calls this before it queues anything.
    pub fn check(&self) -> Result<(), StoreError> {
        Limit::Compares.check(self.compares.len(), MAX_COMPARES)?;
        Limit::Operations.check(self.ops.len(), MAX_OPS)?;
        for compare in &self.compares {
            check_key(compare_key(compare))?;
        }
        for op in &self.ops {
            match op {
                Op::Put(key, value) => {
                    check_key(key)?;
                    Limit::ValueBytes.check(value.len(), MAX_VALUE_BYTES)?;
                }
                Op::Delete(key) => check_key(key)?,
                Op::DeleteRange(range) => {
                    // The bound behind a range of the longest keys is one byte longer than they are.
                    let longest = range.start().len().max(range.end().map_or(0, Key::len));
                    Limit::KeyBytes.check(longest, MAX_KEY_BYTES + 1)?;
                }
                Op::Append { log, value } => {
                    check_key(log.as_key())?;
                    Limit::ValueBytes.check(value.len(), MAX_VALUE_BYTES)?;
                }
                Op::AppendLinked { log, head, value, .. } => {
                    check_key(log.as_key())?;
                    check_key(head)?;
                    Limit::ValueBytes.check(value.len(), MAX_VALUE_BYTES)?;
                }
            }
        }
        Limit::TransactionBytes.check(self.bytes(), MAX_TRANSACTION_BYTES)
    }
}

/// What every name that is written has to satisfy: keys, log names, lease names.
pub(crate) fn check_key(key: &Key) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    Limit::KeyBytes.check(key.len(), MAX_KEY_BYTES)
}

fn compare_key(compare: &Compare) -> &Key {
    match compare {
        Compare::Absent(key) | Compare::Present(key) | Compare::ModRevision(key, _) => key,
        Compare::LeaseHeld { lease, .. } => lease.as_key(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_for(transaction: &Transaction) -> Option<Limit> {
        match transaction.check() {
            Err(StoreError::TooLarge { limit, .. }) => Some(limit),
            _ => None,
        }
    }

    #[test]
    fn each_limit_is_checked_and_named() {
        let long = Key::from(vec![b'k'; MAX_KEY_BYTES + 1]);
        let big = vec![0; MAX_VALUE_BYTES + 1];
        assert_eq!(refused_for(&Transaction::new().put(long.clone(), "v")), Some(Limit::KeyBytes));
        assert_eq!(refused_for(&Transaction::new().when(Compare::Absent(long))), Some(Limit::KeyBytes));
        assert_eq!(refused_for(&Transaction::new().put("k", big.clone())), Some(Limit::ValueBytes));
        assert_eq!(refused_for(&Transaction::new().append("l", big)), Some(Limit::ValueBytes));

        let value = Bytes::from(vec![0; MAX_VALUE_BYTES]);
        let heavy = (0..9).fold(Transaction::new(), |t, i| t.put(format!("{i}"), value.clone()));
        assert_eq!(refused_for(&heavy), Some(Limit::TransactionBytes));
        let many = (0..=MAX_OPS).fold(Transaction::new(), |t, i| t.delete(format!("{i}")));
        assert_eq!(refused_for(&many), Some(Limit::Operations));
        let careful = (0..=MAX_COMPARES).fold(Transaction::new(), |t, _| t.when(Compare::Present(Key::from("k"))));
        assert_eq!(refused_for(&careful), Some(Limit::Compares));
    }

    #[test]
    fn an_empty_key_is_refused_and_an_empty_value_is_not() {
        assert!(matches!(Transaction::new().put("", "v").check(), Err(StoreError::EmptyKey)));
        assert!(Transaction::new().put("k", "").check().is_ok());
        let longest = Key::from(vec![b'k'; MAX_KEY_BYTES]);
        assert!(Transaction::new().delete_range(KeyRange::only(&longest)).check().is_ok());
    }
}
