//! The control plane's own certificate authority.
//!
//! One key pair and one self-signed certificate, made at the first start and kept sealed by the master key. Agents
//! pin the certificate by its fingerprint, which travels in their join token, so it must stay byte for byte the same.
//!
//! Two kinds of certificate come out: the server's own, for a key that lives only in this process, and agents'
//! client certificates, for a key that was proved by a certificate request. Of such a request the key is taken and
//! nothing else: which agent a certificate names is decided here.

mod request;

use std::fmt;
use std::time::Duration;

use outrigger_protocol::id::AgentId;
use outrigger_protocol::identity::agent_uri;
use outrigger_protocol::time::UnixMillis;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use ring::digest;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

pub(crate) use request::ProvenKey;

/// The CA outlives every deployment: replacing it means enrolling every agent again.
const CA_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates begin this long before now, for sandboxes whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// The last moment that X.509 can name, 9999-12-31T23:59:59Z (RFC 5280, 4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;
/// RFC 5280 allows 20 octets; 16 random ones cannot be guessed and do not collide.
const SERIAL_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("no randomness")]
    Randomness(#[source] getrandom::Error),
    #[error("cannot make the authority's key")]
    Generate(#[source] rcgen::Error),
    #[error("the stored authority is damaged: {0} cannot be read")]
    Damaged(&'static str),
    #[error("`{name}` cannot stand in a certificate: a DNS name or an IP address is expected")]
    ServerName {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
}

/// A certificate for this server and the key it is for.
pub(crate) struct ServerCertificate {
    /// Leaf first, the CA last.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) not_after: UnixMillis,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A certificate for an agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentCertificate {
    /// DER, leaf first, the CA last.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) not_after: UnixMillis,
}

#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    fingerprint: [u8; 32],
}

impl Authority {
    /// A new authority in the form in which it is kept: the private key and the certificate, PEM.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn generate(now: UnixMillis) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Generate)?;
        let mut params = certificate_params("outrigger agents CA", now, CA_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Generate)?;
        let key = Zeroizing::new(key.serialize_pem());
        let certificate = certificate.pem();
        // The exact capacity: a vector that grew would leave the key behind in freed memory.
        let mut kept = Zeroizing::new(Vec::with_capacity(key.len() + certificate.len()));
        kept.extend_from_slice(key.as_bytes());
        kept.extend_from_slice(certificate.as_bytes());
        Ok(kept)
    }

    /// Reads what [`generate`](Self::generate) made.
    ///
    /// # Errors
    /// The bytes are something else.
    pub(crate) fn open(kept: &[u8]) -> Result<Self, AuthorityError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(kept).map_err(|_| AuthorityError::Damaged("its key"))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| AuthorityError::Damaged("its key"))?;
        let certificate =
            CertificateDer::from_pem_slice(kept).map_err(|_| AuthorityError::Damaged("its certificate"))?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|_| AuthorityError::Damaged("its certificate"))?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &certificate).as_ref());
        Ok(Self { issuer, certificate, fingerprint })
    }

    /// The self-signed certificate, DER: what both sides verify against.
    #[must_use]
    pub(crate) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the certificate, DER: what a join token pins.
    #[must_use]
    pub(crate) const fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// A certificate for this server, for a key made on the spot.
    ///
    /// # Errors
    /// A name is neither a DNS name nor an IP address.
    pub(crate) fn issue_server(
        &self,
        names: &[String],
        lifetime: Duration,
        now: UnixMillis,
    ) -> Result<ServerCertificate, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Generate)?;
        let mut params = certificate_params("outrigger control plane", now, lifetime)?;
        params.subject_alt_names = names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
        let leaf = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, &key)?;
        Ok(ServerCertificate {
            chain: vec![leaf, self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            not_after: now.saturating_add(lifetime),
        })
    }

    /// A client certificate that names `agent`, for a key that was proved.
    ///
    /// # Errors
    /// The authority cannot sign.
    pub(crate) fn issue_agent(
        &self,
        agent: AgentId,
        key: &ProvenKey,
        lifetime: Duration,
        now: UnixMillis,
    ) -> Result<AgentCertificate, AuthorityError> {
        let mut params = certificate_params("outrigger agent", now, lifetime)?;
        let uri = Ia5String::try_from(agent_uri(agent)).map_err(AuthorityError::Sign)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let leaf = self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, key.public())?;
        Ok(AgentCertificate {
            chain: vec![leaf.to_vec(), self.certificate.to_vec()],
            not_after: now.saturating_add(lifetime),
        })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(AuthorityError::Sign)?.into())
    }
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    match Ia5String::try_from(name) {
        Ok(dns) if rustls_pki_types::DnsName::try_from(name).is_ok() => Ok(SanType::DnsName(dns)),
        Ok(_) => Err(AuthorityError::ServerName { name: name.to_owned(), source: rcgen::Error::InvalidNameType }),
        Err(source) => Err(AuthorityError::ServerName { name: name.to_owned(), source }),
    }
}

/// What all certificates share: a name, a period, a random serial number.
fn certificate_params(name: &str, now: UnixMillis, lifetime: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(AuthorityError::Randomness)?;
    // A positive integer (RFC 5280, 4.1.2.2) that keeps its length.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = distinguished_name;
    let moment = |at: UnixMillis| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((at.as_millis() / 1_000).min(LAST_SECOND))
    };
    params.not_before = moment(now.saturating_sub(BACKDATE));
    params.not_after = moment(now.saturating_add(lifetime));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::identity::{AgentKey, PeerIdentity, validity};

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn authority() -> Authority {
        Authority::open(&Authority::generate(NOW).unwrap()).unwrap()
    }

    #[test]
    fn the_same_bytes_are_the_same_authority() {
        let kept = Authority::generate(NOW).unwrap();
        let (first, second) = (Authority::open(&kept).unwrap(), Authority::open(&kept).unwrap());
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.certificate(), second.certificate());
        assert!(matches!(Authority::open(&kept[..kept.len() / 3]), Err(AuthorityError::Damaged(_))));
    }

    #[test]
    fn an_agents_certificate_names_the_agent_for_the_lifetime_that_was_given() {
        let agent = AgentId::new(NOW, [3; 10]);
        let key = ProvenKey::from_csr(&AgentKey::generate().unwrap().csr().unwrap()).unwrap();
        let issued = authority().issue_agent(agent, &key, DAY, NOW).unwrap();
        let leaf = CertificateDer::from(issued.chain[0].clone());
        let identity = PeerIdentity::from_certificate(&leaf).unwrap();
        assert_eq!(identity.agent, agent);
        assert_eq!(identity.not_after, NOW.saturating_add(DAY));
        assert_eq!(identity.serial.len(), SERIAL_BYTES);
        assert!(validity(&leaf).unwrap().not_before < NOW);
    }

    #[test]
    fn serial_numbers_are_not_repeated() {
        let authority = authority();
        let key = ProvenKey::from_csr(&AgentKey::generate().unwrap().csr().unwrap()).unwrap();
        let serial = || {
            let issued = authority.issue_agent(AgentId::new(NOW, [3; 10]), &key, DAY, NOW).unwrap();
            PeerIdentity::from_certificate(&issued.chain[0].clone().into()).unwrap().serial
        };
        assert_ne!(serial(), serial());
    }

    #[test]
    fn a_server_is_known_by_names_and_addresses() {
        let names = ["outrigger".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let issued = authority().issue_server(&names, DAY, NOW).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 3);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth);
        let bad = authority().issue_server(&["not a name".to_owned()], DAY, NOW);
        assert!(matches!(bad, Err(AuthorityError::ServerName { .. })));
    }

    #[test]
    fn a_lifetime_beyond_the_calendar_ends_with_it() {
        let far = UnixMillis::from_millis(u64::MAX);
        assert!(certificate_params("x", far, CA_LIFETIME).is_ok());
    }
}
