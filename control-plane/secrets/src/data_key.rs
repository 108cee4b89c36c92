use std::fmt;

use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use zeroize::Zeroizing;

use crate::aead::{KEY_BYTES, Place, open, random_key, seal};
use crate::{MasterKey, OpenSealedError, SealError};

/// The key under which one project's values are sealed; stored only in wrapped form.
#[derive(Clone)]
pub struct DataKey {
    id: KeyId,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl DataKey {
    const PURPOSE: &'static str = "data key";

    /// A fresh key. `id` names it in the ciphertexts' additional data and in the tables.
    ///
    /// # Panics
    /// When the operating system has no random source.
    #[must_use]
    pub fn generate(id: KeyId) -> Self {
        Self { id, key: random_key() }
    }

    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// This key, sealed for one project's row.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn wrap(
        &self,
        master: &MasterKey,
        organization: OrganizationId,
        project: ProjectId,
    ) -> Result<Vec<u8>, SealError> {
        seal(&master.derive(Self::PURPOSE), &Self::place(organization, project, self.id), self.key.as_ref())
    }

    /// The key that [`wrap`](Self::wrap) sealed under this id for this project.
    ///
    /// # Errors
    /// When the bytes were wrapped by another master key, for another project, under another id, or were changed.
    pub fn unwrap(
        master: &MasterKey,
        organization: OrganizationId,
        project: ProjectId,
        id: KeyId,
        wrapped: &[u8],
    ) -> Result<Self, OpenSealedError> {
        let bytes = open(&master.derive(Self::PURPOSE), &Self::place(organization, project, id), wrapped)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != key.len() {
            return Err(OpenSealedError::Truncated);
        }
        key.copy_from_slice(&bytes);
        Ok(Self { id, key })
    }

    fn place(organization: OrganizationId, project: ProjectId, id: KeyId) -> Place {
        Place::of(Self::PURPOSE).field(&organization.to_bytes()).field(&project.to_bytes()).field(&id.to_bytes())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_unwraps_only_where_it_belongs() {
        let master = MasterKey::generate();
        let (organization, project) = (OrganizationId::generate(), ProjectId::generate());
        let key = DataKey::generate(KeyId::generate());
        let wrapped = key.wrap(&master, organization, project).unwrap();
        let unwrap = |master: &MasterKey, organization, project, id| {
            DataKey::unwrap(master, organization, project, id, &wrapped)
        };

        assert_eq!(unwrap(&master, organization, project, key.id()).unwrap().bytes(), key.bytes());
        let refused = [
            unwrap(&MasterKey::generate(), organization, project, key.id()),
            unwrap(&master, OrganizationId::generate(), project, key.id()),
            unwrap(&master, organization, ProjectId::generate(), key.id()),
            unwrap(&master, organization, project, KeyId::generate()),
        ];
        for outcome in refused {
            assert_eq!(outcome.unwrap_err(), OpenSealedError::Unauthentic);
        }
    }

    #[test]
    fn the_key_is_not_in_its_debug_form() {
        let key = DataKey::generate(KeyId::generate());
        assert_eq!(format!("{key:?}"), format!("DataKey {{ id: {:?}, .. }}", key.id()));
    }
}
