//! Who this agent is, on disk.
//!
//! One file holds it all, so that no crash can leave a key without its certificate: the signing key and the sealing
//! key, made here and never sent anywhere, and, once enrolled, the ids, the certificate chain and the CA. The keys are
//! written before the first enrolment is attempted: when its answer is lost, the next attempt shows the same key and is
//! answered again.
//!
//! The form is lines of `name value`, so that an operator can look at a copy without a tool; what is binary is base64.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId};
use outrigger_protocol::identity::{AgentKey, IdentityError, Validity, validity};
use outrigger_protocol::limits;
use outrigger_protocol::seal::{SealError, SealKeyPair};
use outrigger_protocol::transport::ClientIdentity;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::state_dir::{StateDir, StateDirError};

const FILE: &str = "identity";
const HEAD: &str = "outrigger-agent identity 1";
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
}

/// An enrolled agent.
#[derive(Debug)]
pub struct Identity {
    pub keys: Keys,
    pub enrollment: Enrollment,
    pub validity: Validity,
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
        state.replace(FILE, &render(&keys, None))?;
        Ok(keys)
    }
}

impl Identity {
    /// Completes the keys with what was issued for them, and writes it down.
    ///
    /// # Errors
    /// What was issued is no certificate chain, or the directory cannot be written.
    pub fn establish(state: &StateDir, keys: Keys, enrollment: Enrollment) -> Result<Self, IdentityFileError> {
        let identity = Self::assemble(keys, enrollment)?;
        state.replace(FILE, &render(&identity.keys, Some(&identity.enrollment)))?;
        Ok(identity)
    }

    /// Takes a renewed chain for the same key. The CA stays the one that is trusted already.
    ///
    /// # Errors
    /// As [`establish`](Self::establish); the identity is then as before.
    pub fn renew(&mut self, state: &StateDir, chain: Vec<Vec<u8>>) -> Result<(), IdentityFileError> {
        let leaf = chain.into_iter().next().ok_or(IdentityFileError::Chain { found: 0 })?;
        let leaf = CertificateDer::from(leaf);
        let validity = validity(&leaf).map_err(IdentityFileError::Certificate)?;
        let mut enrollment = self.enrollment.clone();
        enrollment.chain[0] = leaf;
        state.replace(FILE, &render(&self.keys, Some(&enrollment)))?;
        (self.enrollment, self.validity) = (enrollment, validity);
        Ok(())
    }

    fn assemble(keys: Keys, enrollment: Enrollment) -> Result<Self, IdentityFileError> {
        if enrollment.chain.len() < 2 || enrollment.chain.len() > limits::CHAIN_CERTIFICATES {
            return Err(IdentityFileError::Chain { found: enrollment.chain.len() });
        }
        let validity = validity(&enrollment.chain[0]).map_err(IdentityFileError::Certificate)?;
        Ok(Self { keys, enrollment, validity })
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
    let (keys, enrollment) = parse(text).map_err(damaged)?;
    match enrollment {
        None => Ok(Stored::Keys(keys)),
        Some(enrollment) => Ok(Stored::Enrolled(Box::new(Identity::assemble(keys, enrollment)?))),
    }
}

fn render(keys: &Keys, enrollment: Option<&Enrollment>) -> Zeroizing<Vec<u8>> {
    // More than the longest content: a buffer that grew would leave keys behind in freed memory.
    let chain: usize = enrollment.map_or(0, |enrolled| enrolled.chain.iter().map(|der| der.len() * 2).sum());
    let mut text = Zeroizing::new(String::with_capacity(2048 + chain));
    let mut line = |name: &str, value: &dyn fmt::Display| {
        use fmt::Write;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {value}");
    };
    line("outrigger-agent", &"identity 1");
    line("signing-key", &*encode(keys.signing.pkcs8_der()));
    line("sealing-key", &*encode(&*keys.sealing.to_bytes()));
    if let Some(enrolled) = enrollment {
        line("agent", &enrolled.agent);
        line("instance", &enrolled.instance);
        line("deployment", &enrolled.deployment);
        for certificate in &enrolled.chain {
            line("certificate", &*encode(certificate));
        }
        line("end", &"");
    }
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn parse(text: &str) -> Result<(Keys, Option<Enrollment>), &'static str> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err("it does not begin as an identity of this version");
    }
    let mut fields = Fields(lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).peekable());
    let signing = AgentKey::from_pkcs8_der(fields.bytes("signing-key")?).map_err(|_| "the signing key is not a key")?;
    let sealing = fields.bytes("sealing-key")?;
    let sealing: [u8; 32] = sealing.as_slice().try_into().map_err(|_| "the sealing key is not a key")?;
    let sealing = SealKeyPair::from_bytes(Zeroizing::new(sealing)).map_err(|_| "the sealing key is not a key")?;
    let keys = Keys { signing, sealing };
    if fields.0.peek().is_none() {
        return Ok((keys, None));
    }
    let agent = fields.id("agent")?;
    let instance = fields.id("instance")?;
    let deployment = fields.id("deployment")?;
    let mut chain = Vec::new();
    while fields.0.peek().is_some_and(|(name, _)| *name == "certificate") && chain.len() <= limits::CHAIN_CERTIFICATES {
        chain.push(CertificateDer::from(fields.bytes("certificate")?.to_vec()));
    }
    fields.value("end")?;
    Ok((keys, Some(Enrollment { agent, instance, deployment, chain })))
}

struct Fields<'a, I: Iterator<Item = (&'a str, &'a str)>>(std::iter::Peekable<I>);

impl<'a, I: Iterator<Item = (&'a str, &'a str)>> Fields<'a, I> {
    fn value(&mut self, name: &str) -> Result<&'a str, &'static str> {
        match self.0.next() {
            Some((found, value)) if found == name => Ok(value),
            _ => Err("a line is missing"),
        }
    }

    fn bytes(&mut self, name: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        STANDARD.decode(self.value(name)?).map(Zeroizing::new).map_err(|_| "a line is not base64")
    }

    fn id<T: FromStr>(&mut self, name: &str) -> Result<T, &'static str> {
        self.value(name)?.parse().map_err(|_| "a line is not an id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;

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
        }
    }

    #[test]
    fn keys_are_kept_before_and_after_enrolment() {
        let (_directory, state) = state();
        assert!(matches!(load(&state), Ok(Stored::Nothing)));
        let keys = Keys::generate(&state).expect("made");
        let Ok(Stored::Keys(found)) = load(&state) else { panic!("keys") };
        assert_eq!(found.signing.pkcs8_der(), keys.signing.pkcs8_der());
        let made = Identity::establish(&state, keys, enrollment()).expect("established");
        let Ok(Stored::Enrolled(found)) = load(&state) else { panic!("an identity") };
        assert_eq!(found.keys.signing.pkcs8_der(), made.keys.signing.pkcs8_der());
        assert_eq!(found.keys.sealing.public(), made.keys.sealing.public());
        assert_eq!((found.enrollment.agent, &found.enrollment.chain), (made.enrollment.agent, &made.enrollment.chain));
    }

    #[test]
    fn renewal_changes_the_leaf_and_nothing_else() {
        let (_directory, state) = state();
        let mut identity =
            Identity::establish(&state, Keys::generate(&state).expect("made"), enrollment()).expect("established");
        let (ca, leaf) = (identity.ca().clone(), certificate());
        identity.renew(&state, vec![leaf.to_vec(), certificate().to_vec()]).expect("renewed");
        let Ok(Stored::Enrolled(found)) = load(&state) else { panic!("an identity") };
        assert_eq!((&found.enrollment.chain[0], found.ca()), (&leaf, &ca));
        assert!(identity.renew(&state, vec![b"nonsense".to_vec()]).is_err());
        assert_eq!(identity.enrollment.chain[0], leaf);
    }

    #[test]
    fn a_damaged_file_is_told_and_left_alone() {
        let (_directory, state) = state();
        let keys = Keys::generate(&state).expect("made");
        Identity::establish(&state, keys, enrollment()).expect("established");
        let whole = state.read(FILE, FILE_BYTES).expect("read").expect("there");
        for content in [&whole[..whole.len() / 2], b"", b"hello\n", &[0xff; 40]] {
            state.replace(FILE, content).expect("written");
            let error = load(&state).expect_err("damaged").to_string();
            assert!(error.contains("damaged") && error.contains("identity"), "{error}");
            assert_eq!(state.read(FILE, FILE_BYTES).expect("read").expect("there").as_slice(), content);
        }
    }
}
