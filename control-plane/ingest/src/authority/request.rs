//! Certificate requests. The only thing believed of one is its key, once the request's signature proves possession.

use outrigger_protocol::limits;
use rcgen::SubjectPublicKeyInfo;
use ring::digest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// An uncompressed point of P-256 and its algorithm (RFC 5480) take 91 bytes: other keys are not accepted, because
/// every certificate is kept in memory for as long as its connection.
const P256_INFO_BYTES: usize = 91;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{length} bytes are more than a certificate request may have")]
    TooLarge { length: usize },
    #[error("not a certificate request (PKCS#10, DER)")]
    Malformed,
    #[error("the request's signature does not prove its key")]
    Signature,
    #[error("the request's key is not on the curve P-256")]
    Key,
}

/// A public key whose holder signed a request with it.
#[derive(Debug)]
pub(crate) struct ProvenKey {
    public: SubjectPublicKeyInfo,
    fingerprint: [u8; 32],
}

impl ProvenKey {
    /// Takes the key out of a request (PKCS#10, DER).
    ///
    /// # Errors
    /// The bytes are no request, its signature is not by its key, or the key is of another kind.
    pub(crate) fn from_csr(csr: &[u8]) -> Result<Self, RequestError> {
        if csr.len() > limits::CSR_BYTES {
            return Err(RequestError::TooLarge { length: csr.len() });
        }
        let (rest, request) = X509CertificationRequest::from_der(csr).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = request.certification_request_info.subject_pki.raw;
        if info.len() != P256_INFO_BYTES {
            return Err(RequestError::Key);
        }
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let public = SubjectPublicKeyInfo::from_der(info).map_err(|_| RequestError::Key)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, info).as_ref());
        Ok(Self { public, fingerprint })
    }

    pub(super) const fn public(&self) -> &SubjectPublicKeyInfo {
        &self.public
    }

    /// SHA-256 of the SubjectPublicKeyInfo, DER: by which an enrolment is known again.
    #[must_use]
    pub(crate) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::identity::AgentKey;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn the_key_of_a_request_is_known_by_its_fingerprint() {
        let key = AgentKey::generate().unwrap();
        let (first, second) = (key.csr().unwrap(), key.csr().unwrap());
        let fingerprint = |csr: &[u8]| ProvenKey::from_csr(csr).unwrap().fingerprint();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_ne!(fingerprint(&first), fingerprint(&AgentKey::generate().unwrap().csr().unwrap()));
    }

    #[test]
    fn a_request_whose_signature_was_touched_is_refused() {
        let mut csr = AgentKey::generate().unwrap().csr().unwrap();
        let last = csr.len() - 1;
        csr[last] ^= 1;
        assert!(matches!(ProvenKey::from_csr(&csr), Err(RequestError::Signature | RequestError::Malformed)));
    }

    #[test]
    fn bytes_that_are_no_request_are_refused() {
        assert!(matches!(ProvenKey::from_csr(b""), Err(RequestError::Malformed)));
        assert!(matches!(ProvenKey::from_csr(&[0x30; 300]), Err(RequestError::Malformed)));
        let huge = vec![0; limits::CSR_BYTES + 1];
        assert!(matches!(ProvenKey::from_csr(&huge), Err(RequestError::TooLarge { .. })));
        let mut trailing = AgentKey::generate().unwrap().csr().unwrap();
        trailing.push(0);
        assert!(matches!(ProvenKey::from_csr(&trailing), Err(RequestError::Malformed)));
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let key = KeyPair::generate_for(kind).unwrap();
            let csr = CertificateParams::default().serialize_request(&key).unwrap();
            assert!(matches!(ProvenKey::from_csr(csr.der()), Err(RequestError::Key)));
        }
    }
}
