//! TLS 1.3 on both sides, with ring named explicitly: this crate neither needs nor installs a process-wide provider.
//!
//! Sessions are never resumed: a resumed one would carry a certificate past its end or its revocation.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::{ALPN_AGENT, ALPN_ENROLL, ALPN_FETCH, TransportError, fingerprint};

/// How an agent knows its control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The CA that the server's certificate must come from.
    Ca(CertificateDer<'static>),
    /// The [`fingerprint`] of that CA; the server presents the certificate itself in its chain.
    Fingerprint([u8; 32]),
}

/// An enrolled agent's certificate chain, leaf first, and its key.
pub struct ClientIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for ClientIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca: CertificateDer<'_>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.into_owned())?;
    Ok(Arc::new(roots))
}

/// A client certificate is optional here, because an enrolling agent has none; what is presented must verify.
/// That an agent connection has one is checked after the handshake, when the application protocol is known.
pub(super) fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_ca: CertificateDer<'static>,
) -> Result<QuicServerConfig, TransportError> {
    let roots = roots(client_ca).map_err(|error| TransportError::tls("client CA", error))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TransportError::tls("client CA", error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| TransportError::tls("TLS 1.3", error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| TransportError::tls("server certificate", error))?;
    config.alpn_protocols = vec![ALPN_AGENT.to_vec(), ALPN_ENROLL.to_vec(), ALPN_FETCH.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|error| TransportError::tls("initial cipher suite", error))
}

pub(super) fn client(
    trust: &Trust,
    identity: Option<&ClientIdentity>,
    alpn: &[u8],
) -> Result<QuicClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| TransportError::tls("TLS 1.3", error))?;
    let builder = match trust {
        Trust::Ca(ca) => {
            let roots = roots(ca.clone()).map_err(|error| TransportError::tls("server CA", error))?;
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| TransportError::tls("server CA", error))?;
            builder.with_webpki_verifier(verifier)
        }
        Trust::Fingerprint(fingerprint) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedCa { fingerprint: *fingerprint, provider: provider() })),
    };
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| TransportError::tls("client certificate", error))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|error| TransportError::tls("initial cipher suite", error))
}

/// Trusts the one CA that has this fingerprint, once the server has presented it; then everything is verified
/// against it as usual: signatures, validity, the server's name.
#[derive(Debug)]
struct PinnedCa {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| fingerprint(certificate) == self.fingerprint)
            .ok_or(CertificateError::UnknownIssuer)?;
        WebPkiServerVerifier::builder_with_provider(roots(ca.clone())?, Arc::clone(&self.provider))
            .build()
            .map_err(|_| CertificateError::UnknownIssuer)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
