//! Which join token an identity was made with.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outrigger_protocol::join_token::JoinToken;
use ring::digest;

const BYTES: usize = digest::SHA256_OUTPUT_LEN;
/// No other digest of the same token may be equal to this one: the control plane, for one, keeps its own.
const PURPOSE: &[u8] = b"outrigger agent: join token of this identity 1\0";

/// Tells a join token from others without being of any use to enrol with: SHA-256 over all that the token holds, whose
/// secret of 256 random bits cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; BYTES]);

impl TokenDigest {
    #[must_use]
    pub fn of(token: &JoinToken) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(PURPOSE);
        context.update(token.reveal().as_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl std::fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a digest of a join token")]
pub struct ParseTokenDigestError;

impl FromStr for TokenDigest {
    type Err = ParseTokenDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text).map_err(|_| ParseTokenDigestError)?;
        bytes.try_into().map(Self).map_err(|_| ParseTokenDigestError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::id::JoinTokenId;
    use outrigger_protocol::time::UnixMillis;

    fn token() -> JoinToken {
        let id = JoinTokenId::new(UnixMillis::from_millis(1), [3; 10]);
        JoinToken { id, secret: [0xa5; 32], ca_fingerprint: [9; 32] }
    }

    #[test]
    fn every_part_of_a_token_counts_and_its_spelling_does_not() {
        let digest = TokenDigest::of(&token());
        let spelt: JoinToken = format!("  {}\n", *token().reveal()).parse().unwrap();
        assert_eq!(TokenDigest::of(&spelt), digest);
        let other_id = JoinToken { id: JoinTokenId::from_bytes([1; 16]), ..token() };
        let other_secret = JoinToken { secret: [0; 32], ..token() };
        let other_ca = JoinToken { ca_fingerprint: [0; 32], ..token() };
        for other in [other_id, other_secret, other_ca] {
            assert_ne!(TokenDigest::of(&other), digest);
        }
    }

    #[test]
    fn a_digest_is_read_back_and_nothing_else_is_a_digest() {
        let digest = TokenDigest::of(&token());
        assert_eq!(digest.to_string().parse::<TokenDigest>().unwrap(), digest);
        for text in ["", "hello", "AAAA", &STANDARD.encode([0; 33])] {
            assert!(text.parse::<TokenDigest>().is_err(), "{text}");
        }
    }
}
