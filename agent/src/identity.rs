//! Who this agent is, on disk.
//!
//! One file holds it all, so that no crash can leave a key without its certificate: the signing key and the sealing
//! key, made here and never sent anywhere, and, once enrolled, the ids, the certificate chain and the CA. The keys are
//! written before the first enrolment is attempted: when its answer is lost, the next attempt shows the same key and is
//! answered again.
//!
//! Beside them is a digest of the join token that was spent, so that the agent knows a new one from it.
//!
//! What the file looks like is in `format`.

mod format;
mod token;

use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId};
use outrigger_protocol::identity::{AgentKey, IdentityError, Validity, validity};
use outrigger_protocol::limits;
use outrigger_protocol::seal::{SealError, SealKeyPair};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::ClientIdentity;
use rustls_pki_types::CertificateDer;
pub use token::{ParseTokenDigestError, TokenDigest};

use crate::state_dir::{StateDir, StateDirError};

const FILE: &str = "identity";
/// A full chain and two keys in base64 are well below.
const FILE_BYTES: u64 = 128 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("the identity in {path} is damaged: {problem}; delete it and give a new join token")]
    Damaged { path: String, problem: &'static str },
    #[error("cannot make a signing key")]
    Key(#[source] IdentityError),
    #[error("cannot make a sealing key")]
    SealKey(#[source] SealError),
    #[error("the certificate that was issued cannot be used")]
    Certificate(#[source] IdentityError),
    #[error("the certificate chain has {found} certificates, where a leaf and the CA are expected")]
    Chain { found: usize },
}

/// The two private keys.
#[derive(Debug)]
pub struct Keys {
    pub signing: AgentKey,
    pub sealing: SealKeyPair,
}

/// What the control plane made of them.
#[derive(Debug, Clone)]
pub struct Enrollment {
    pub agent: AgentId,
    pub instance: InstanceId,
    pub deployment: DeploymentId,
    /// Leaf first, the CA last; at least two.
    pub chain: Vec<CertificateDer<'static>>,
    /// The join token that this is the answer to; not known of identities that do not say it.
    pub token: Option<TokenDigest>,
}

/// An enrolled agent.
#[derive(Debug)]
pub struct Identity {
    pub keys: Keys,
    pub enrollment: Enrollment,
    pub validity: Validity,
    /// When the certificate came, by this machine's clock; not known of one that was read from disk.
    pub received: Option<UnixMillis>,
}

/// What a state directory holds.
#[derive(Debug)]
pub enum Stored {
    Nothing,
    /// An enrolment was begun; whether it succeeded is not known.
    Keys(Keys),
    Enrolled(Box<Identity>),
}

impl Keys {
    /// Makes both and writes them down.
    ///
    /// # Errors
    /// The system has no randomness, or the directory cannot be written.
    pub fn generate(state: &StateDir) -> Result<Self, IdentityFileError> {
        let keys = Self {
            signing: AgentKey::generate().map_err(IdentityFileError::Key)?,
            sealing: SealKeyPair::generate().map_err(IdentityFileError::SealKey)?,
        };
        state.replace(FILE, &format::render(&keys, None))?;
        Ok(keys)
    }
}

impl Identity {
    /// Completes the keys with what was issued for them, and writes it down.
    ///
    /// # Errors
    /// What was issued is no certificate chain, or the directory cannot be written.
    pub fn establish(
        state: &StateDir,
        keys: Keys,
        enrollment: Enrollment,
        now: UnixMillis,
    ) -> Result<Self, IdentityFileError> {
        let identity = Self { received: Some(now), ..Self::assemble(keys, enrollment)? };
        state.replace(FILE, &format::render(&identity.keys, Some(&identity.enrollment)))?;
        Ok(identity)
    }

    /// Takes a renewed chain for the same key. The CA stays the one that is trusted already.
    ///
    /// # Errors
    /// As [`establish`](Self::establish); the identity is then as before.
    pub fn renew(&mut self, state: &StateDir, chain: Vec<Vec<u8>>, now: UnixMillis) -> Result<(), IdentityFileError> {
        let leaf = chain.into_iter().next().ok_or(IdentityFileError::Chain { found: 0 })?;
        let leaf = CertificateDer::from(leaf);
        let validity = validity(&leaf).map_err(IdentityFileError::Certificate)?;
        let mut enrollment = self.enrollment.clone();
        enrollment.chain[0] = leaf;
        state.replace(FILE, &format::render(&self.keys, Some(&enrollment)))?;
        (self.enrollment, self.validity, self.received) = (enrollment, validity, Some(now));
        Ok(())
    }

    fn assemble(keys: Keys, enrollment: Enrollment) -> Result<Self, IdentityFileError> {
        if enrollment.chain.len() < 2 || enrollment.chain.len() > limits::CHAIN_CERTIFICATES {
            return Err(IdentityFileError::Chain { found: enrollment.chain.len() });
        }
        let validity = validity(&enrollment.chain[0]).map_err(IdentityFileError::Certificate)?;
        Ok(Self { keys, enrollment, validity, received: None })
    }

    /// The CA that was pinned at enrolment.
    #[must_use]
    pub fn ca(&self) -> &CertificateDer<'static> {
        // `assemble` let in chains of two and more alone.
        &self.enrollment.chain[self.enrollment.chain.len() - 1]
    }

    #[must_use]
    pub fn to_tls(&self) -> ClientIdentity {
        ClientIdentity { chain: self.enrollment.chain.clone(), key: self.keys.signing.to_tls() }
    }
}

/// Reads what the directory holds.
///
/// # Errors
/// The file cannot be read or is damaged. It is never overwritten then: it may be the only copy of a key.
pub fn load(state: &StateDir) -> Result<Stored, IdentityFileError> {
    let Some(content) = state.read(FILE, FILE_BYTES)? else { return Ok(Stored::Nothing) };
    let damaged = |problem| IdentityFileError::Damaged { path: state.file(FILE).display().to_string(), problem };
    let text = std::str::from_utf8(&content).map_err(|_| damaged("it is not text"))?;
    let (keys, enrollment) = format::parse(text).map_err(damaged)?;
    match enrollment {
        None => Ok(Stored::Keys(keys)),
        Some(enrollment) => Ok(Stored::Enrolled(Box::new(Identity::assemble(keys, enrollment)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::id::JoinTokenId;
    use outrigger_protocol::join_token::JoinToken;

    const NOW: UnixMillis = UnixMillis::from_millis(1_000);

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("opened");
        (directory, state)
    }

    fn certificate() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().expect("a key");
        rcgen::CertificateParams::default().self_signed(&key).expect("signed").der().clone()
    }

    fn enrollment() -> Enrollment {
        let now = UnixMillis::from_millis(1);
        Enrollment {
            agent: AgentId::new(now, [1; 10]),
            instance: InstanceId::new(now, [2; 10]),
            deployment: DeploymentId::new(now, [3; 10]),
            chain: vec![certificate(), certificate()],
            token: Some(digest()),
        }
    }

    fn digest() -> TokenDigest {
        let id = JoinTokenId::from_bytes([5; 16]);
        TokenDigest::of(&JoinToken { id, secret: [6; 32], ca_fingerprint: [7; 32] })
    }

    #[test]
    fn keys_are_kept_before_and_after_enrolment() {
        let (_directory, state) = state();
        assert!(matches!(load(&state), Ok(Stored::Nothing)));
        let keys = Keys::generate(&state).expect("made");
        let Ok(Stored::Keys(found)) = load(&state) else { panic!("keys") };
        assert_eq!(found.signing.pkcs8_der(), keys.signing.pkcs8_der());
        let made = Identity::establish(&state, keys, enrollment(), NOW).expect("established");
        let Ok(Stored::Enrolled(found)) = load(&state) else { panic!("an identity") };
        assert_eq!(found.keys.signing.pkcs8_der(), made.keys.signing.pkcs8_der());
        assert_eq!(found.keys.sealing.public(), made.keys.sealing.public());
        assert_eq!((found.enrollment.agent, &found.enrollment.chain), (made.enrollment.agent, &made.enrollment.chain));
        assert_eq!(
            (found.received, made.received),
            (None, Some(NOW)),
            "how old a file's certificate is, it does not say"
        );
    }

    #[test]
    fn renewal_changes_the_leaf_and_nothing_else() {
        let (_directory, state) = state();
        let keys = Keys::generate(&state).expect("made");
        let mut identity = Identity::establish(&state, keys, enrollment(), NOW).expect("established");
        let (ca, leaf) = (identity.ca().clone(), certificate());
        let later = UnixMillis::from_millis(9_000);
        identity.renew(&state, vec![leaf.to_vec(), certificate().to_vec()], later).expect("renewed");
        assert_eq!(identity.received, Some(later));
        let Ok(Stored::Enrolled(found)) = load(&state) else { panic!("an identity") };
        assert_eq!((&found.enrollment.chain[0], found.ca()), (&leaf, &ca));
        assert_eq!(found.enrollment.token, Some(digest()), "it is still the identity that this token made");
        assert!(identity.renew(&state, vec![b"nonsense".to_vec()], later).is_err());
        assert_eq!(identity.enrollment.chain[0], leaf);
    }

    #[test]
    fn an_identity_that_does_not_name_its_token_is_one_all_the_same() {
        let (_directory, state) = state();
        let unnamed = Enrollment { token: None, ..enrollment() };
        Identity::establish(&state, Keys::generate(&state).expect("made"), unnamed, NOW).expect("established");
        let Ok(Stored::Enrolled(found)) = load(&state) else { panic!("an identity") };
        assert_eq!(found.enrollment.token, None);
    }

    #[test]
    fn a_damaged_file_is_told_and_left_alone() {
        let (_directory, state) = state();
        let keys = Keys::generate(&state).expect("made");
        Identity::establish(&state, keys, enrollment(), NOW).expect("established");
        let whole = state.read(FILE, FILE_BYTES).expect("read").expect("there");
        let digest = digest().to_string();
        let mistyped = String::from_utf8(whole.to_vec()).expect("text").replace(&digest, "hello").into_bytes();
        for content in [&whole[..whole.len() / 2], b"", b"hello\n", &[0xff; 40], &mistyped] {
            state.replace(FILE, content).expect("written");
            let error = load(&state).expect_err("damaged").to_string();
            assert!(error.contains("damaged") && error.contains("identity"), "{error}");
            assert_eq!(state.read(FILE, FILE_BYTES).expect("read").expect("there").as_slice(), content);
        }
    }
}
