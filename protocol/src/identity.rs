//! Who an agent is: the key it made, the request by which it asks for a certificate, and the name that the
//! certificate gives it.
//!
//! The control plane reads an agent's identity from its certificate and from nowhere else. The CA that issues them
//! lives in the control plane; this module only knows the form.

mod validity;

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

pub use validity::{Validity, validity};

use crate::id::AgentId;
use crate::time::UnixMillis;

const URI_PREFIX: &str = "outrigger://agent/";

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot generate a key")]
    Generate(#[source] rcgen::Error),
    #[error("not a P-256 private key in PKCS#8")]
    Key(#[source] rcgen::Error),
    #[error("not a private key in PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("cannot sign a certificate request")]
    Request(#[source] rcgen::Error),
    #[error("not an X.509 certificate")]
    Certificate(#[source] webpki::Error),
    #[error("the certificate's period of validity cannot be read")]
    Validity,
    #[error("the certificate names {found} agents where one is expected")]
    Names { found: usize },
}

/// The URI that names `agent` in its certificate: `outrigger://agent/agt_…`.
#[must_use]
pub fn agent_uri(agent: AgentId) -> String {
    format!("{URI_PREFIX}{agent}")
}

/// The agent that a URI names; `None` for any other URI.
#[must_use]
pub fn parse_agent_uri(uri: &str) -> Option<AgentId> {
    uri.strip_prefix(URI_PREFIX)?.parse().ok()
}

/// An agent's signing key: ECDSA on P-256, made where it is used.
pub struct AgentKey {
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentKey").finish_non_exhaustive()
    }
}

impl AgentKey {
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Generate)?;
        Ok(Self { pkcs8: Zeroizing::new(pair.serialize_der()) })
    }

    /// # Errors
    /// The bytes are not a P-256 key in PKCS#8.
    pub fn from_pkcs8_der(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, IdentityError> {
        let key = Self { pkcs8 };
        key.pair()?;
        Ok(key)
    }

    /// # Errors
    /// The text is not a P-256 key in PKCS#8, PEM.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(IdentityError::Pem)?;
        Self::from_pkcs8_der(Zeroizing::new(der.secret_pkcs8_der().to_vec()))
    }

    /// The private key, PKCS#8 DER.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The private key, PKCS#8 PEM.
    ///
    /// # Errors
    /// Never for a key that this type holds.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, IdentityError> {
        Ok(Zeroizing::new(self.pair()?.serialize_pem()))
    }

    /// The private key as TLS takes it.
    #[must_use]
    pub fn to_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()).into()
    }

    /// A certificate request (PKCS#10, DER) that proves possession of this key. It asks for no name: the control
    /// plane decides which agent this is.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn csr(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "outrigger agent");
        params.distinguished_name = name;
        let request = params.serialize_request(&self.pair()?).map_err(IdentityError::Request)?;
        Ok(request.der().to_vec())
    }

    fn pair(&self) -> Result<KeyPair, IdentityError> {
        let der = PrivatePkcs8KeyDer::from(&self.pkcs8[..]);
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Key)
    }
}

/// Who is at the other end, as its verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    pub agent: AgentId,
    /// Big-endian, as in the certificate.
    pub serial: Vec<u8>,
    pub not_after: UnixMillis,
}

impl PeerIdentity {
    /// Reads an agent's certificate. The chain must have been verified before: this only reads.
    ///
    /// # Errors
    /// It is not a certificate that names exactly one agent.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(IdentityError::Certificate)?;
        let mut agents = parsed.valid_uri_names().filter_map(parse_agent_uri);
        let agent = agents.next().ok_or(IdentityError::Names { found: 0 })?;
        let others = agents.count();
        if others > 0 {
            return Err(IdentityError::Names { found: others + 1 });
        }
        Ok(Self { agent, serial: parsed.serial().to_vec(), not_after: validity(certificate)?.not_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{SanType, string::Ia5String};

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI(Ia5String::try_from(*uri).expect("ASCII"))).collect();
        params.not_after = rcgen::date_time_ymd(2055, 3, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().clone()
    }

    #[test]
    fn the_name_in_the_certificate_is_the_identity() {
        let agent = AgentId::new(UnixMillis::from_millis(5), [4; 10]);
        let found = PeerIdentity::from_certificate(&certificate(&[&agent_uri(agent), "https://x.example"]));
        let found = found.expect("an agent's certificate");
        assert_eq!(found.agent, agent);
        assert!(!found.serial.is_empty());
        assert_eq!(found.not_after, UnixMillis::from_millis(2_687_472_000_000));
    }

    #[test]
    fn none_or_several_names_are_refused() {
        let uri = |byte| agent_uri(AgentId::new(UnixMillis::from_millis(5), [byte; 10]));
        let none = PeerIdentity::from_certificate(&certificate(&["outrigger://agent/agt_x"]));
        assert!(matches!(none, Err(IdentityError::Names { found: 0 })));
        let two = PeerIdentity::from_certificate(&certificate(&[&uri(1), &uri(2)]));
        assert!(matches!(two, Err(IdentityError::Names { found: 2 })));
    }

    #[test]
    fn a_key_survives_pem_and_der() {
        let key = AgentKey::generate().expect("a key");
        let pem = key.to_pem().expect("PEM");
        assert_eq!(AgentKey::from_pem(&pem).expect("a key").pkcs8_der(), key.pkcs8_der());
        assert!(AgentKey::from_pkcs8_der(Zeroizing::new(vec![1, 2, 3])).is_err());
        assert!(AgentKey::from_pem("hello").is_err());
        assert!(key.csr().expect("a request").len() < crate::limits::CSR_BYTES);
    }
}
