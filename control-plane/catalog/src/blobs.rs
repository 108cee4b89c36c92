//! Secrets of the installation: the certificate authority's key, the endpoints' keys.

use outrigger_secrets::{SecretBytes, open_blob, seal_blob};
use outrigger_store::{Compare, StoreError, Transaction};
use zeroize::Zeroizing;

use crate::catalog::{Catalog, READ};
use crate::error::CatalogError;
use crate::keys;
use crate::mutation::MAX_ATTEMPTS;

const BLOB: &str = "installation secret";
/// Well below what a value may be; keys and certificates are a few kilobytes.
const MAX_BLOB_BYTES: usize = 256 * 1024;
const MAX_LABEL_BYTES: usize = 128;

impl Catalog {
    /// The bytes that are kept under a label, sealed by the master key. The first call makes them; when two are first,
    /// both get the same. For the control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::Open`] when what is there was sealed under another label or changed.
    pub async fn get_or_create_blob<F>(&self, label: &str, make: F) -> Result<SecretBytes, CatalogError>
    where
        F: FnOnce() -> Vec<u8> + Send,
    {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            return Err(CatalogError::invalid("label", format!("must have 1 to {MAX_LABEL_BYTES} bytes")));
        }
        if let Some(present) = self.blob(label).await? {
            return Ok(present);
        }
        let made = Zeroizing::new(make());
        if made.len() > MAX_BLOB_BYTES {
            return Err(CatalogError::invalid("blob", format!("must have at most {MAX_BLOB_BYTES} bytes")));
        }
        let key = keys::blob(label);
        for _ in 0..MAX_ATTEMPTS {
            let keyring = self.keyring();
            let sealed = seal_blob(keyring.sealing(), label, &made)
                .map_err(|source| CatalogError::Seal { row: BLOB, source })?;
            let transaction = Transaction::new().when(keyring.unchanged()).when(Compare::Absent(key.clone()));
            match self.store().commit(transaction.put(key.clone(), sealed)).await {
                Ok(_) => return Ok(SecretBytes::from(made)),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(CatalogError::store("storing an installation secret")(error)),
            }
            // Either somebody was faster, or the master key is another one now.
            if let Some(present) = self.blob(label).await? {
                return Ok(present);
            }
            self.renew_keyring(&keyring).await?;
        }
        Err(CatalogError::Overloaded)
    }

    async fn blob(&self, label: &str) -> Result<Option<SecretBytes>, CatalogError> {
        loop {
            let keyring = self.keyring();
            let Some(entry) = self.store().get(&keys::blob(label)).await.map_err(READ)? else { return Ok(None) };
            match keyring.open(|master| open_blob(master, label, &entry.value)) {
                Ok(plain) => return Ok(Some(SecretBytes::from(plain))),
                Err(_) if self.renew_keyring(&keyring).await? => {}
                Err(source) => return Err(CatalogError::Open { row: BLOB, source }),
            }
        }
    }
}
