use zeroize::Zeroizing;

use crate::aead::{Place, open, seal};
use crate::{MasterKey, OpenSealedError, SealError};

const PURPOSE: &str = "blob";

/// Seals bytes that belong to the whole installation, such as the certificate authority's key, under a name.
///
/// # Errors
/// When there is no randomness.
pub fn seal_blob(master: &MasterKey, label: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    seal(&master.derive(PURPOSE), &Place::of(PURPOSE).field(label.as_bytes()), plaintext)
}

/// Opens what [`seal_blob`] sealed under the same name.
///
/// # Errors
/// When the bytes were sealed under another name or master key, or were changed.
pub fn open_blob(master: &MasterKey, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealedError> {
    open(&master.derive(PURPOSE), &Place::of(PURPOSE).field(label.as_bytes()), sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_opens_under_its_own_name_and_key_only() {
        let master = MasterKey::generate();
        let sealed = seal_blob(&master, "ca", b"private key").unwrap();
        assert_eq!(&**open_blob(&master, "ca", &sealed).unwrap(), b"private key");
        assert_eq!(open_blob(&master, "endpoint", &sealed).unwrap_err(), OpenSealedError::Unauthentic);
        assert_eq!(open_blob(&MasterKey::generate(), "ca", &sealed).unwrap_err(), OpenSealedError::Unauthentic);
    }
}
