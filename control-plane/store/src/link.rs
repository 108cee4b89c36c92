//! Linked logs: each entry made from what the one before it left behind.
//!
//! Where in its log an entry will stand is known only inside the transaction that appends it. Whoever needs to know (a
//! chain of hashes does) could read the log's end, compare it in the transaction and try again when somebody else was
//! faster, and then of all writers of a log only one gets through at a time. A [`Link`] is the other way round: the
//! transaction brings the function, and the backend calls it where the place is known.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::LogPosition;

/// What an append to a linked log comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// What is appended.
    pub entry: Bytes,
    /// The new value of the log's head, an ordinary key.
    pub head: Bytes,
}

/// Makes an entry fit its place. A pure function of its arguments: it runs while other writers wait, and a backend may
/// run it again.
pub trait Link: Send + Sync {
    /// `head` is the value of the head's key as the append before left it, or nothing.
    fn link(&self, head: Option<&[u8]>, position: LogPosition, value: &[u8]) -> Linked;
}

/// A link as transactions carry it. Two are equal when they are the same one.
#[derive(Clone)]
pub struct SharedLink(Arc<dyn Link>);

impl SharedLink {
    pub fn new(link: impl Link + 'static) -> Self {
        Self(Arc::new(link))
    }

    pub(crate) fn link(&self, head: Option<&[u8]>, position: LogPosition, value: &[u8]) -> Linked {
        self.0.link(head, position, value)
    }
}

impl PartialEq for SharedLink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedLink {}

impl fmt::Debug for SharedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedLink(..)")
    }
}
