//! AES-256-GCM with the one format that everything sealed here has:
//! `format (1 byte) | nonce (12) | ciphertext | tag (16)`. The format byte is authenticated with the rest.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::{OpenSealedError, SealError};

pub(crate) const KEY_BYTES: usize = 32;
const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
pub(crate) const OVERHEAD_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;

/// Additional data, one field after the other. Each is preceded by its length, so that no two different sequences of
/// fields give the same bytes.
pub(crate) struct Place(Vec<u8>);

impl Place {
    /// `purpose` separates the kinds of sealed things from each other.
    pub(crate) fn of(purpose: &str) -> Self {
        Self(vec![FORMAT]).field(purpose.as_bytes())
    }

    pub(crate) fn field(mut self, bytes: &[u8]) -> Self {
        // usize to u64 is lossless on every platform that Rust supports.
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes is one of AES-256");
    LessSafeKey::new(key)
}

pub(crate) fn seal(key: &[u8; KEY_BYTES], place: &Place, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;
    seal_with(key, nonce, place, plaintext)
}

/// The nonce has to be one that this key never sees again.
fn seal_with(
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_LEN],
    place: &Place,
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let body = sealed.get_mut(1 + NONCE_LEN..).expect("format and nonce were just written");
    // Encrypted where it lies: the plaintext has no second home to be wiped.
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&place.0), body)
        .map_err(|_| SealError::TooLong);
    match tag {
        Ok(tag) => {
            sealed.extend_from_slice(tag.as_ref());
            Ok(sealed)
        }
        Err(error) => {
            zeroize::Zeroize::zeroize(&mut sealed);
            Err(error)
        }
    }
}

pub(crate) fn open(key: &[u8; KEY_BYTES], place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealedError> {
    if sealed.len() < OVERHEAD_BYTES {
        return Err(OpenSealedError::Truncated);
    }
    let (&format, rest) = sealed.split_first().ok_or(OpenSealedError::Truncated)?;
    if format != FORMAT {
        return Err(OpenSealedError::Format { found: format, newest: FORMAT });
    }
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenSealedError::Truncated)?;
    let mut buffer = Zeroizing::new(body.to_vec());
    let length = cipher(key)
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(&place.0), &mut buffer)
        .map_err(|_| OpenSealedError::Unauthentic)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

/// Fresh key material.
///
/// # Panics
/// When the operating system has no random source, which leaves nothing that could go on safely.
pub(crate) fn random_key() -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new().fill(key.as_mut()).expect("the operating system provides randomness");
    key
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_plaintext_is_never_sealed_to_the_same_bytes() {
        let key = random_key();
        let place = Place::of("test");
        assert_ne!(seal(&key, &place, b"value"), seal(&key, &place, b"value"));
    }

    #[test]
    fn a_boundary_between_fields_cannot_be_moved() {
        assert_ne!(Place::of("p").field(b"ab").field(b"c").0, Place::of("p").field(b"a").field(b"bc").0);
        assert_ne!(Place::of("p").field(b"").0, Place::of("p").0);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plaintext in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let key = random_key();
            let place = Place::of("test").field(b"here");
            let sealed = seal(&key, &place, &plaintext).unwrap();
            prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD_BYTES);
            prop_assert_eq!(&*open(&key, &place, &sealed).unwrap(), &plaintext);
        }

        #[test]
        fn one_changed_bit_anywhere_is_refused(plaintext in proptest::collection::vec(any::<u8>(), 0..64), at in any::<proptest::sample::Index>(), bit in 0..8) {
            let key = random_key();
            let place = Place::of("test");
            let mut sealed = seal(&key, &place, &plaintext).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(open(&key, &place, &sealed).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(open(&random_key(), &Place::of("test"), &bytes).is_err());
        }
    }
}
