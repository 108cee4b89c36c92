//! Secrets at rest: envelope encryption, and types that do not print what they hold.
//!
//! Two layers of keys. A [`MasterKey`] comes from outside (a file, a setting) and never touches the database. It
//! wraps one [`DataKey`] per project and seals the few blobs that belong to the installation ([`seal_blob`]: the
//! certificate authority's key, the endpoints' keys). A data key seals the values of its project's variables
//! ([`seal`]). [`AuditKeys`] sign the audit log's heads and make fingerprints of values. Whether a master key is the one
//! that protects a database is answered by a [`KeyCheck`], which is stored beside the data, before anything else is read.
//!
//! Everything is AES-256-GCM (NIST SP 800-38D) with a fresh random 96-bit nonce per encryption. The additional data
//! names exactly the place that a ciphertext belongs to, so that it opens nowhere else: not in another tenant's row,
//! not under another variable's name, not in another generation. A random nonce bounds one key to 2^32 encryptions
//! ([`ENCRYPTIONS_PER_KEY`]); whoever stores the keys counts.
//!
//! What must never be true: a type of this crate prints what it holds, an error carries a piece of a key or of a
//! plaintext, a value is decrypted without its place being checked, or a master key is made where one was missing.
//! Nothing here logs, reads a clock or knows of a database.

mod aead;
mod audit;
mod blob;
mod check;
mod data_key;
mod error;
mod master;
mod redacted;
mod value;

pub use audit::{AuditKeys, Fingerprint, NotAFingerprint};
pub use blob::{open_blob, seal_blob};
pub use check::KeyCheck;
pub use data_key::DataKey;
pub use error::{KeySourceError, MasterKeyError, OpenSealedError, SealError};
pub use master::{MasterKey, MasterKeySource};
pub use redacted::{Secret, SecretBytes, SecretString};
pub use value::{Aad, open, seal};

/// How often one key may encrypt with random nonces (NIST SP 800-38D, section 8.3).
pub const ENCRYPTIONS_PER_KEY: u64 = 1 << 32;

/// From how many encryptions on a key is due to be replaced: a quarter of what it is good for, so that there is all the
/// time in the world for it. Two nonces have been the same by then with a probability below 2^-37.
pub const ROTATION_DUE: u64 = ENCRYPTIONS_PER_KEY / 4;

/// Bytes that sealing adds to a plaintext: format, nonce and tag.
pub const SEALED_OVERHEAD_BYTES: usize = aead::OVERHEAD_BYTES;
