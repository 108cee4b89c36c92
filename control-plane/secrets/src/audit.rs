use std::fmt;
use std::str::FromStr;

use outrigger_protocol::id::OrganizationId;
use ring::hmac;

use crate::MasterKey;
use crate::aead::Place;

/// The keys of one organisation's audit log: one signs the log's head, the other makes fingerprints of values.
#[derive(Clone)]
pub struct AuditKeys {
    head: hmac::Key,
    values: hmac::Key,
}

impl AuditKeys {
    #[must_use]
    pub fn derive(master: &MasterKey, organization: OrganizationId) -> Self {
        let key =
            |purpose| hmac::Key::new(hmac::HMAC_SHA256, master.derive_for(purpose, &organization.to_bytes()).as_ref());
        Self { head: key("audit head"), values: key("audit values") }
    }

    /// A signature (HMAC-SHA-256) of a head, given as its fields.
    #[must_use]
    pub fn sign_head(&self, fields: &[&[u8]]) -> [u8; 32] {
        let tag = hmac::sign(&self.head, place("audit head", fields).bytes());
        let mut signature = [0; 32];
        signature.copy_from_slice(tag.as_ref());
        signature
    }

    /// Whether [`sign_head`](Self::sign_head) made this signature. In constant time.
    #[must_use]
    pub fn signed_head(&self, fields: &[&[u8]], signature: &[u8; 32]) -> bool {
        hmac::verify(&self.head, place("audit head", fields).bytes(), signature).is_ok()
    }

    /// A fingerprint of the value that `target` has. Equal for equal values of the same target alone: it shows that a
    /// value was changed back, and not that two variables have the same one.
    #[must_use]
    pub fn fingerprint(&self, target: &str, value: &[u8]) -> Fingerprint {
        let tag = hmac::sign(&self.values, place("audit value", &[target.as_bytes(), value]).bytes());
        let mut fingerprint = [0; Fingerprint::BYTES];
        fingerprint.copy_from_slice(&tag.as_ref()[..Fingerprint::BYTES]);
        Fingerprint(fingerprint)
    }
}

fn place(purpose: &str, fields: &[&[u8]]) -> Place {
    fields.iter().fold(Place::of(purpose), |place, field| place.field(field))
}

impl fmt::Debug for AuditKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKeys([redacted])")
    }
}

/// Tells values apart without telling them: the first half of an HMAC-SHA-256 under a key that only the control plane
/// has. Its text is 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::BYTES]);

impl Fingerprint {
    const BYTES: usize = 16;
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not that of a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has {} hexadecimal digits", 2 * Fingerprint::BYTES)]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let number = Some(text)
            .filter(|text| text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|text| u128::from_str_radix(text, 16).ok());
        number.map(|number| Self(number.to_be_bytes())).ok_or(NotAFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_one_value_at_one_place_of_one_organisation() {
        let master = MasterKey::generate();
        let keys = AuditKeys::derive(&master, OrganizationId::generate());
        let print = keys.fingerprint("env/A", b"value");
        assert_eq!(print, keys.clone().fingerprint("env/A", b"value"));
        assert_ne!(print, keys.fingerprint("env/A", b"valuf"));
        assert_ne!(print, keys.fingerprint("env/B", b"value"));
        assert_ne!(print, keys.fingerprint("env/Av", b"alue"));
        assert_ne!(print, AuditKeys::derive(&master, OrganizationId::generate()).fingerprint("env/A", b"value"));
        assert_eq!(print.to_string().parse(), Ok(print));
        for bad in ["", "0", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad}");
        }
    }

    #[test]
    fn a_head_is_signed_with_its_fields_by_one_organisation() {
        let master = MasterKey::generate();
        let keys = AuditKeys::derive(&master, OrganizationId::generate());
        let signature = keys.sign_head(&[b"1", b"23"]);
        assert!(keys.signed_head(&[b"1", b"23"], &signature));
        assert!(!keys.signed_head(&[b"12", b"3"], &signature));
        assert!(!AuditKeys::derive(&master, OrganizationId::generate()).signed_head(&[b"1", b"23"], &signature));
        assert_eq!(format!("{keys:?}"), "AuditKeys([redacted])");
    }
}
