use subtle::ConstantTimeEq;

use crate::aead::{Place, open, seal};
use crate::{MasterKey, SealError};

/// Says whether a master key is the one that protects a database, without anything of value being opened: a known
/// text, sealed with a key derived from the master key for this use alone.
#[derive(Debug, Clone, Copy)]
pub struct KeyCheck;

impl KeyCheck {
    const PURPOSE: &'static str = "key check";
    const TEXT: &'static [u8] = b"outrigger";

    /// The value to be stored when a database is created.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn create(master: &MasterKey) -> Result<Vec<u8>, SealError> {
        seal(&master.derive(Self::PURPOSE), &Place::of(Self::PURPOSE), Self::TEXT)
    }

    /// Whether `stored` was created with this key.
    #[must_use]
    pub fn verify(master: &MasterKey, stored: &[u8]) -> bool {
        open(&master.derive(Self::PURPOSE), &Place::of(Self::PURPOSE), stored)
            .is_ok_and(|text| text.ct_eq(Self::TEXT).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_made_it_passes() {
        let master = MasterKey::generate();
        let stored = KeyCheck::create(&master).unwrap();
        assert!(KeyCheck::verify(&master, &stored));
        assert!(!KeyCheck::verify(&MasterKey::generate(), &stored));
        assert!(!KeyCheck::verify(&master, &stored[..stored.len() - 1]));
        assert!(!KeyCheck::verify(&master, b""));
    }
}
