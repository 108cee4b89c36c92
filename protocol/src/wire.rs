//! The serialisable counterparts of the language, one module per version.
//!
//! A version's types are never edited once shipped: enums grow at the end, a changed shape is a new module beside
//! the old one, and the golden vectors in `tests/golden.rs` fail when a byte moves. Strings and byte strings are
//! borrowed in both directions, so that encoding copies a payload once (into the frame) and decoding copies it once
//! (out of it).

pub(crate) mod bounded;
pub(crate) mod v1;

use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Discarded};

/// The version that this build writes, the first byte of every frame.
pub const VERSION: u8 = 1;

/// A wire type and the domain type that it stands for.
pub(crate) trait Counterpart<'a>: Serialize + Deserialize<'a> {
    type Domain;

    /// # Errors
    /// The domain value breaks a limit of the protocol: the peer would refuse it.
    fn from_domain(domain: &'a Self::Domain) -> Result<Self, CodecError>;

    /// Checks everything that a type cannot say. What may be dropped without losing the frame is counted.
    ///
    /// # Errors
    /// A limit or an invariant is broken.
    fn into_domain(self, discarded: &mut Discarded) -> Result<Self::Domain, CodecError>;
}
