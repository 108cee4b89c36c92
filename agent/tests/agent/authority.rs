//! Who the control plane of the tests is, and the certificates that it issues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use outrigger_protocol::id::{AgentId, DeploymentId};
use outrigger_protocol::identity::agent_uri;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The CA and the ids, which survive a restart of the control plane.
#[derive(Clone)]
pub(crate) struct Authority {
    ca_key: Arc<KeyPair>,
    ca_params: CertificateParams,
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) deployment: DeploymentId,
    /// Agents by the public key in their request.
    agents: Arc<Mutex<HashMap<Vec<u8>, AgentId>>>,
    pub(crate) reset_key: [u8; 64],
}

impl Authority {
    pub(crate) fn new() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::default();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = ca_params.self_signed(&ca_key).unwrap().der().clone();
        Self {
            ca_key: Arc::new(ca_key),
            ca_params,
            ca,
            deployment: DeploymentId::generate(),
            agents: Arc::default(),
            reset_key: [7; 64],
        }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.ca_params, &*self.ca_key)
    }

    pub(crate) fn server(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["outrigger".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        (vec![leaf, self.ca.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    /// A certificate that is valid since and for these times around now.
    pub(crate) fn issue(&self, csr: Vec<u8>, (begun, life): (Duration, Duration)) -> (AgentId, Vec<Vec<u8>>) {
        let mut request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).unwrap();
        let key = rcgen::PublicKeyData::der_bytes(&request.public_key).to_vec();
        let agent = *self.agents.lock().unwrap().entry(key).or_insert_with(AgentId::generate);
        let not_before = SystemTime::now() - begun;
        request.params = CertificateParams::default();
        request.params.not_before = not_before.into();
        request.params.not_after = (not_before + life).into();
        request.params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(agent_uri(agent)).unwrap())];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = request.signed_by(&self.issuer()).unwrap().der().to_vec();
        (agent, vec![leaf, self.ca.to_vec()])
    }

    /// Whoever has enrolled until now.
    pub(crate) fn agents(&self) -> Vec<AgentId> {
        self.agents.lock().unwrap().values().copied().collect()
    }
}
