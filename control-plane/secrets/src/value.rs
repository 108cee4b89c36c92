use outrigger_protocol::id::{EnvironmentId, KeyId, OrganizationId, ProjectId};
use zeroize::Zeroizing;

use crate::aead::{self, Place};
use crate::{DataKey, OpenSealedError, SealError};

/// The place that a sealed value belongs to. Authenticated with the value: it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aad<'a> {
    pub organization: OrganizationId,
    pub project: ProjectId,
    pub environment: EnvironmentId,
    /// The variable's name.
    pub name: &'a str,
    /// The generation in which the variable got this value.
    pub generation: u64,
    /// The data key it is sealed under.
    pub key: KeyId,
}

impl Aad<'_> {
    fn place(&self) -> Place {
        Place::of("variable")
            .field(&self.organization.to_bytes())
            .field(&self.project.to_bytes())
            .field(&self.environment.to_bytes())
            .field(self.name.as_bytes())
            .field(&self.generation.to_be_bytes())
            .field(&self.key.to_bytes())
    }
}

/// Seals a variable's value for its place. `aad.key` is `key.id()`; a mismatch seals something that never opens, so
/// it is asserted in debug builds.
///
/// # Errors
/// When there is no randomness.
pub fn seal(key: &DataKey, aad: &Aad<'_>, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    debug_assert_eq!(key.id(), aad.key, "the additional data names the key that is used");
    aead::seal(key.bytes(), &aad.place(), plaintext)
}

/// Opens what [`seal`] sealed for this place.
///
/// # Errors
/// When the bytes belong to another place, were sealed under another key, or were changed.
pub fn open(key: &DataKey, aad: &Aad<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealedError> {
    aead::open(key.bytes(), &aad.place(), sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_at_its_own_place_only() {
        let key = DataKey::generate(KeyId::generate());
        let here = Aad {
            organization: OrganizationId::generate(),
            project: ProjectId::generate(),
            environment: EnvironmentId::generate(),
            name: "DATABASE_URL",
            generation: 7,
            key: key.id(),
        };
        let sealed = seal(&key, &here, b"postgres://").unwrap();
        assert_eq!(&**open(&key, &here, &sealed).unwrap(), b"postgres://");

        let elsewhere = [
            Aad { organization: OrganizationId::generate(), ..here },
            Aad { project: ProjectId::generate(), ..here },
            Aad { environment: EnvironmentId::generate(), ..here },
            Aad { name: "DATABASE_UR", ..here },
            Aad { generation: 8, ..here },
            Aad { key: KeyId::generate(), ..here },
        ];
        for place in elsewhere {
            assert_eq!(open(&key, &place, &sealed).unwrap_err(), OpenSealedError::Unauthentic, "{place:?}");
        }
        let other = DataKey::generate(key.id());
        assert_eq!(open(&other, &here, &sealed).unwrap_err(), OpenSealedError::Unauthentic);
    }
}
