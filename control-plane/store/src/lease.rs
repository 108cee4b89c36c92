//! Leases: who may act for a named thing, and with which fencing epoch.
//!
//! A lease is not a lock. Between the moment a holder checks the clock and the moment its write arrives, another
//! may have taken over; what keeps the two apart is the epoch. It grows with every acquisition, also by the same
//! holder, and never repeats. A transaction guarded by
//! [`Compare::LeaseHeld`](crate::Compare::LeaseHeld) is refused as soon as a newer epoch exists, whatever any clock
//! says. Expiry only decides when somebody else may acquire.

use std::fmt;

use crate::key::Key;

/// The name of a lease. Built like a key, in a space of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName(Key);

impl LeaseName {
    #[must_use]
    pub fn as_key(&self) -> &Key {
        &self.0
    }
}

impl From<Key> for LeaseName {
    fn from(key: Key) -> Self {
        Self(key)
    }
}

impl From<&str> for LeaseName {
    fn from(text: &str) -> Self {
        Self(Key::from(text))
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fencing number of one acquisition. Greater means later; 0 was never given out.
pub type LeaseEpoch = u64;

/// A lease as its holder got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: LeaseName,
    pub holder: String,
    pub epoch: LeaseEpoch,
    /// Milliseconds since 1970, on the clock whose `now` was passed in. From here on others may acquire it.
    pub expires_ms: u64,
}
