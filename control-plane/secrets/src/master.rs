//! The key above all keys.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::hkdf;
use zeroize::Zeroizing;

use crate::aead::{KEY_BYTES, random_key};
use crate::{KeySourceError, MasterKeyError, SecretString};

/// 256 bits from outside the database. It encrypts nothing itself: each use has a key of its own, derived from it
/// (HKDF-SHA-256, RFC 5869), so that a nonce that happens twice across uses does no harm.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// A key as 64 hexadecimal digits or as base64 of 32 bytes (either alphabet, padded or not); white space around
    /// it is ignored.
    ///
    /// # Errors
    /// When the text is neither, when its length is another, or when it is one byte repeated.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let bytes = match decode_hex(text) {
            Some(bytes) => bytes,
            None => decode_base64(text).ok_or(MasterKeyError::Encoding)?,
        };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != key.len() {
            return Err(MasterKeyError::Length { found: bytes.len() });
        }
        key.copy_from_slice(&bytes);
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(MasterKeyError::Placeholder);
        }
        Ok(Self(key))
    }

    /// A fresh key, for an installation that has none yet. Whether that is so is for the caller to know: a database
    /// with a [`KeyCheck`](crate::KeyCheck) in it has one.
    ///
    /// # Panics
    /// When the operating system has no random source.
    #[must_use]
    pub fn generate() -> Self {
        Self(random_key())
    }

    /// The text that [`parse`](Self::parse) reads: 64 hexadecimal digits.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        // Sized beforehand: a buffer that grows leaves copies behind that nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES));
        for nibble in self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
            text.push(char::from_digit(u32::from(nibble), 16).expect("four bits are one hexadecimal digit"));
        }
        SecretString::from(text)
    }

    /// Eight hexadecimal digits that tell master keys apart, for people. They are derived like a key for one use, so
    /// that nothing follows from them about the key.
    #[must_use]
    pub fn name(&self) -> String {
        let derived = self.derive("name");
        derived[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key for one use.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        self.derive_for(purpose, &[])
    }

    /// The key for one use by one user of it. No purpose is the beginning of another.
    pub(crate) fn derive_for(&self, purpose: &str, user: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"outrigger master key v1")
            .extract(self.0.as_ref())
            .expand(&[purpose.as_bytes(), user], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(key.as_mut()))
            .expect("one block is within the length that HKDF can give");
        key
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

fn decode_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // 64 digits are also base64 (of 48 bytes): hexadecimal is tried first and wins.
    if !text.len().is_multiple_of(2) || text.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for pair in text.as_bytes().chunks_exact(2) {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(bytes)
}

fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|alphabet| alphabet.decode(text).ok())
        .map(Zeroizing::new)
}

/// Where a master key is to be had.
#[derive(Debug, Clone)]
pub enum MasterKeySource {
    /// A file that holds the key as text and nothing else.
    File(PathBuf),
    /// The key itself, as a setting gave it.
    Inline(SecretString),
}

impl MasterKeySource {
    /// More than any form of a key, and little enough to be read whole.
    const FILE_BYTES: usize = 1024;

    /// Reads the key.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold a key. A missing file is an error and never a reason to make a
    /// key: it may be the only one that opens an existing database.
    pub fn load(&self) -> Result<MasterKey, KeySourceError> {
        match self {
            Self::Inline(text) => MasterKey::parse(text.expose()).map_err(|source| KeySourceError::Inline { source }),
            Self::File(path) => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(1 + Self::FILE_BYTES));
                File::open(path)
                    .and_then(|file| file.take(1 + Self::FILE_BYTES as u64).read_to_end(&mut bytes))
                    .map_err(|source| KeySourceError::Read { path: path.clone(), source })?;
                if bytes.len() > Self::FILE_BYTES {
                    return Err(KeySourceError::TooLarge { path: path.clone(), limit: Self::FILE_BYTES });
                }
                std::str::from_utf8(&bytes)
                    .map_err(|_| MasterKeyError::Encoding)
                    .and_then(MasterKey::parse)
                    .map_err(|source| KeySourceError::File { path: path.clone(), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn hexadecimal_and_base64_of_the_same_bytes_are_the_same_key() {
        let key = MasterKey::parse(HEX).unwrap();
        for text in [
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            &HEX.to_uppercase(),
            &format!(" {HEX}\n"),
        ] {
            assert_eq!(MasterKey::parse(text).unwrap().0, key.0);
        }
        assert_eq!(key.to_text().expose(), HEX);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        assert_eq!(MasterKey::parse("not a key at all").unwrap_err(), MasterKeyError::Encoding);
        assert_eq!(MasterKey::parse(&HEX[..62]).unwrap_err(), MasterKeyError::Length { found: 31 });
        assert_eq!(MasterKey::parse("").unwrap_err(), MasterKeyError::Length { found: 0 });
        assert_eq!(MasterKey::parse(&"0".repeat(64)).unwrap_err(), MasterKeyError::Placeholder);
    }

    #[test]
    fn a_key_in_a_file_is_read_and_a_missing_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(MasterKeySource::File(path.clone()).load(), Err(KeySourceError::Read { .. })));
        assert!(!path.exists());
        std::fs::write(&path, format!("{HEX}\n")).unwrap();
        assert_eq!(MasterKeySource::File(path.clone()).load().unwrap().to_text().expose(), HEX);
        std::fs::write(&path, "x".repeat(4096)).unwrap();
        assert!(matches!(MasterKeySource::File(path.clone()).load(), Err(KeySourceError::TooLarge { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(
            MasterKeySource::File(path).load(),
            Err(KeySourceError::File { source: MasterKeyError::Encoding, .. })
        ));
    }

    #[test]
    fn a_key_has_a_name_that_is_no_part_of_it() {
        let key = MasterKey::parse(HEX).unwrap();
        let name = key.name();
        assert_eq!(name.len(), 8);
        assert_eq!(name, key.clone().name());
        assert_ne!(name, MasterKey::generate().name());
        assert!(!HEX.contains(&name));
    }

    #[test]
    fn each_use_has_a_key_of_its_own_and_none_is_printed() {
        let key = MasterKey::parse(HEX).unwrap();
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_eq!(key.derive("a"), key.clone().derive("a"));
        assert_eq!(format!("{key:?}"), "MasterKey([redacted])");
        let inline = MasterKeySource::Inline(SecretString::from(HEX));
        assert!(!format!("{inline:?}").contains("0001"));
    }
}
