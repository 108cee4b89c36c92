//! An environment closed to one key, an agent's or that of one call: HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM.
//!
//! What was sealed for one [`Purpose`] (for an agent: its id, its deployment and the generation) opens as nothing else.
//! Neither the store, nor the wire, nor the cache on the agent's disk can read it; only the process that holds the
//! private key can. Base mode does not say who sealed: that the offer came over the mutually authenticated connection
//! does, and the last-known-good cache is protected by its owner's file mode.

use std::fmt;

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::id::{AgentId, DeploymentId, EnvironmentId, ProjectId};

type Suite = X25519HkdfSha256;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot draw a key pair: no randomness")]
    Randomness(#[source] getrandom::Error),
    #[error("not an X25519 key")]
    Key(#[source] hpke::HpkeError),
    #[error("cannot seal to this public key")]
    Seal(#[source] hpke::HpkeError),
    /// Another key, another context, or a changed ciphertext: cryptography does not tell which.
    #[error("cannot open: not sealed to this key and context, or damaged")]
    Open(#[source] hpke::HpkeError),
}

/// What a ciphertext is for: it opens for nothing else.
pub trait Purpose {
    /// Separates these ciphertexts from any other use of the same key; carries the version.
    const INFO: &'static [u8];

    /// What is authenticated along with the ciphertext.
    fn additional_data(&self) -> [u8; 40];
}

/// An agent's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext {
    pub agent: AgentId,
    pub deployment: DeploymentId,
    pub generation: u64,
}

impl Purpose for SealContext {
    const INFO: &'static [u8] = b"outrigger environment 1";

    fn additional_data(&self) -> [u8; 40] {
        bound_to(self.agent.to_bytes(), self.deployment.to_bytes(), self.generation)
    }
}

/// An environment that was fetched for one call. The key is of that call alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchContext {
    pub project: ProjectId,
    pub environment: EnvironmentId,
    pub generation: u64,
}

impl Purpose for FetchContext {
    const INFO: &'static [u8] = b"outrigger fetched environment 1";

    fn additional_data(&self) -> [u8; 40] {
        bound_to(self.project.to_bytes(), self.environment.to_bytes(), self.generation)
    }
}

fn bound_to(owner: [u8; 16], place: [u8; 16], generation: u64) -> [u8; 40] {
    let mut data = [0; 40];
    data[..16].copy_from_slice(&owner);
    data[16..32].copy_from_slice(&place);
    data[32..].copy_from_slice(&generation.to_be_bytes());
    data
}

/// A ciphertext and what its receiver needs to derive the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub encapsulated: [u8; 32],
    /// As long as the plaintext and 16 bytes of tag.
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("bytes", &self.ciphertext.len()).finish_non_exhaustive()
    }
}

/// An agent's X25519 key pair. The private half never leaves the agent.
#[derive(Clone)]
pub struct SealKeyPair {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl fmt::Debug for SealKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKeyPair").finish_non_exhaustive()
    }
}

impl SealKeyPair {
    /// A fresh pair from the system's random source.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, SealError> {
        let mut private = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *private).map_err(SealError::Randomness)?;
        Self::from_bytes(private)
    }

    /// # Errors
    /// The bytes are not a private key.
    pub fn from_bytes(private: Zeroizing<[u8; 32]>) -> Result<Self, SealError> {
        let key = private_key(&private)?;
        let public = Suite::sk_to_pk(&key).to_bytes().into();
        Ok(Self { private, public })
    }

    /// The private key, to be stored where only the agent reads.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.private.clone()
    }

    #[must_use]
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The plaintext, once it is certain that it was sealed to this key for this context.
    ///
    /// # Errors
    /// It was not, or it was damaged.
    pub fn open<P: Purpose>(&self, sealed: &Sealed, context: &P) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let encapsulated = <Suite as Kem>::EncappedKey::from_bytes(&sealed.encapsulated).map_err(SealError::Open)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, Suite>(
            &OpModeR::Base,
            &private_key(&self.private)?,
            &encapsulated,
            P::INFO,
            &sealed.ciphertext,
            &context.additional_data(),
        )
        .map(Zeroizing::new)
        .map_err(SealError::Open)
    }
}

fn private_key(bytes: &[u8; 32]) -> Result<<Suite as Kem>::PrivateKey, SealError> {
    <Suite as Kem>::PrivateKey::from_bytes(bytes).map_err(SealError::Key)
}

/// Seals `plaintext` to the holder of `public`, with a fresh key each time.
///
/// # Errors
/// `public` is not a key that can be sealed to (for example a point of small order).
///
/// # Panics
/// When the operating system has no random source.
pub fn seal<P: Purpose>(public: &[u8; 32], plaintext: &[u8], context: &P) -> Result<Sealed, SealError> {
    let public = <Suite as Kem>::PublicKey::from_bytes(public).map_err(SealError::Key)?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, Suite>(
        &OpModeS::Base,
        &public,
        P::INFO,
        plaintext,
        &context.additional_data(),
    )
    .map_err(SealError::Seal)?;
    Ok(Sealed { encapsulated: encapsulated.to_bytes().into(), ciphertext })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn context() -> SealContext {
        let now = UnixMillis::from_millis(1);
        SealContext { agent: AgentId::new(now, [1; 10]), deployment: DeploymentId::new(now, [2; 10]), generation: 7 }
    }

    #[test]
    fn what_was_sealed_opens_with_the_key_and_the_context() {
        let pair = SealKeyPair::generate().expect("randomness");
        let restored = SealKeyPair::from_bytes(pair.to_bytes()).expect("a key");
        assert_eq!(restored.public(), pair.public());
        for plaintext in [&b""[..], b"A=1", &[7; 100_000]] {
            let sealed = seal(&pair.public(), plaintext, &context()).expect("sealed");
            assert_eq!(*restored.open(&sealed, &context()).expect("opened"), plaintext);
        }
    }

    #[test]
    fn another_context_key_or_byte_does_not_open() {
        let pair = SealKeyPair::generate().expect("randomness");
        let sealed = seal(&pair.public(), b"A=1", &context()).expect("sealed");
        let now = UnixMillis::from_millis(2);
        for other in [
            SealContext { agent: AgentId::new(now, [1; 10]), ..context() },
            SealContext { deployment: DeploymentId::new(now, [2; 10]), ..context() },
            SealContext { generation: 8, ..context() },
        ] {
            assert!(matches!(pair.open(&sealed, &other), Err(SealError::Open(_))));
        }
        let stranger = SealKeyPair::generate().expect("randomness");
        assert!(stranger.open(&sealed, &context()).is_err());
        for at in 0..sealed.ciphertext.len() {
            let mut damaged = sealed.clone();
            damaged.ciphertext[at] ^= 1;
            assert!(pair.open(&damaged, &context()).is_err());
        }
        let mut damaged = sealed.clone();
        damaged.encapsulated = [0; 32];
        assert!(pair.open(&damaged, &context()).is_err());
        assert!(pair.open(&Sealed { ciphertext: Vec::new(), ..sealed }, &context()).is_err());
    }

    #[test]
    fn what_was_fetched_is_no_agents_environment() {
        let pair = SealKeyPair::generate().expect("randomness");
        let fetched = FetchContext {
            project: ProjectId::from_bytes(context().agent.to_bytes()),
            environment: EnvironmentId::from_bytes(context().deployment.to_bytes()),
            generation: context().generation,
        };
        let sealed = seal(&pair.public(), b"A=1", &fetched).expect("sealed");
        assert_eq!(*pair.open(&sealed, &fetched).expect("opened"), b"A=1");
        assert!(pair.open(&sealed, &context()).is_err(), "although the same bytes are authenticated");
    }

    #[test]
    fn a_point_of_small_order_is_refused() {
        assert!(seal(&[0; 32], b"x", &context()).is_err());
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let pair = SealKeyPair::generate().expect("randomness");
        let seal = || seal(&pair.public(), b"A=1", &context()).expect("sealed");
        assert_ne!(seal(), seal());
    }
}
