//! Where the control plane is, and how it is known.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use outrigger_protocol::transport::{Trust, fingerprint};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A CA certificate with text around it; more is some other file.
const CA_FILE_BYTES: u64 = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    #[error("cannot read the CA certificate {path}")]
    ReadCa {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} holds no certificate in PEM")]
    ParseCa {
        path: PathBuf,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    #[error("cannot resolve {address}")]
    Resolve {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} has no address")]
    NoAddress { address: String },
}

/// The control plane that this agent belongs to.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// `HOST:PORT`.
    pub address: String,
    pub server_name: String,
    /// Given by the operator; wins over what was learnt at enrolment.
    pub ca: Option<CertificateDer<'static>>,
}

impl ControlPlane {
    /// # Errors
    /// The CA file cannot be read, or holds no certificate.
    pub fn new(address: String, server_name: String, ca_file: Option<&Path>) -> Result<Self, ControlPlaneError> {
        Ok(Self { address, server_name, ca: ca_file.map(read_ca).transpose()? })
    }

    /// How the server is trusted before this agent knows its CA.
    #[must_use]
    pub fn first_trust(&self, ca_fingerprint: [u8; 32]) -> Trust {
        self.ca.clone().map_or(Trust::Fingerprint(ca_fingerprint), Trust::Ca)
    }

    /// How the server is trusted once a CA was pinned.
    #[must_use]
    pub fn trust(&self, pinned: &CertificateDer<'static>) -> Trust {
        Trust::Ca(self.ca.as_ref().unwrap_or(pinned).clone())
    }
}

/// Whether `ca` is the one that `trust` means.
#[must_use]
pub fn is_trusted(trust: &Trust, ca: &CertificateDer<'_>) -> bool {
    match trust {
        Trust::Ca(trusted) => trusted.as_ref() == ca.as_ref(),
        Trust::Fingerprint(expected) => fingerprint(ca) == *expected,
    }
}

/// The address to try at the `attempt`-th time, counted from 0: names with several addresses take turns.
///
/// # Errors
/// The name cannot be resolved.
pub async fn resolve(address: &str, attempt: usize) -> Result<SocketAddr, ControlPlaneError> {
    // A literal needs no resolver, and so no second thread.
    if let Ok(literal) = address.parse() {
        return Ok(literal);
    }
    let resolved = tokio::net::lookup_host(address).await;
    let found: Vec<SocketAddr> =
        resolved.map_err(|source| ControlPlaneError::Resolve { address: address.to_owned(), source })?.collect();
    let turn = attempt.checked_rem(found.len()).and_then(|turn| found.get(turn));
    turn.copied().ok_or_else(|| ControlPlaneError::NoAddress { address: address.to_owned() })
}

fn read_ca(path: &Path) -> Result<CertificateDer<'static>, ControlPlaneError> {
    use std::io::Read;
    let mut content = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CA_FILE_BYTES).read_to_end(&mut content))
        .map_err(|source| ControlPlaneError::ReadCa { path: path.to_owned(), source })?;
    // A DER certificate begins with a SEQUENCE of a long length; no text does.
    if content.starts_with(&[0x30, 0x82]) {
        return Ok(CertificateDer::from(content));
    }
    CertificateDer::from_pem_slice(&content)
        .map_err(|source| ControlPlaneError::ParseCa { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn several_addresses_take_turns_and_literals_are_not_resolved() {
        let literal: SocketAddr = "127.0.0.1:7701".parse().expect("an address");
        for attempt in 0..3 {
            assert_eq!(resolve("127.0.0.1:7701", attempt).await.expect("a literal"), literal);
        }
        assert!(matches!(resolve("no-port", 0).await, Err(ControlPlaneError::Resolve { .. })));
    }

    #[test]
    fn a_ca_is_read_in_both_forms() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("signed");
        let directory = tempfile::tempdir().expect("a directory");
        for content in [certificate.pem().into_bytes(), certificate.der().to_vec()] {
            let path = directory.path().join("ca");
            std::fs::write(&path, content).expect("written");
            let read = read_ca(&path).expect("a certificate");
            assert_eq!(&read, certificate.der());
            assert!(is_trusted(&Trust::Fingerprint(fingerprint(&read)), &read));
            assert!(!is_trusted(&Trust::Fingerprint([0; 32]), &read));
        }
        let path = directory.path().join("other");
        std::fs::write(&path, "hello").expect("written");
        assert!(matches!(read_ca(&path), Err(ControlPlaneError::ParseCa { .. })));
    }
}
