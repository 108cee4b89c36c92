//! The one-time ticket by which an agent enrols.
//!
//! It carries its public id, the secret that proves it, and the fingerprint of the control plane's CA, so that a
//! first connection already knows whom to trust. The text form is for a file of mode 0400 or an inherited descriptor;
//! it is shown only by [`JoinToken::reveal`].

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::id::JoinTokenId;

/// How every token begins, so that scanners for leaked secrets can know it.
pub const PREFIX: &str = "ogr_join_";

const ID: usize = 16;
const SECRET: usize = 32;
const FINGERPRINT: usize = 32;
const CHECKSUM: usize = 4;
const CONTENT: usize = ID + SECRET + FINGERPRINT;
const BYTES: usize = CONTENT + CHECKSUM;
const DIGITS: usize = BYTES / 3 * 4;
const _: () = assert!(BYTES.is_multiple_of(3), "the text form has no partial last group");

/// Why a text is not a join token. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseJoinTokenError {
    #[error("not a join token: it does not begin with `{PREFIX}`")]
    Prefix,
    #[error("not a join token: {found} characters after `{PREFIX}` where {DIGITS} are expected; was it cut?")]
    Length { found: usize },
    #[error("not a join token: a character that is not URL-safe base64")]
    Digits,
    #[error("not a join token: the checksum does not match; was it mistyped?")]
    Checksum,
}

/// A join token. Zeroised when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct JoinToken {
    #[zeroize(skip)]
    pub id: JoinTokenId,
    pub secret: [u8; SECRET],
    /// SHA-256 of the CA certificate, DER.
    #[zeroize(skip)]
    pub ca_fingerprint: [u8; FINGERPRINT],
}

impl JoinToken {
    /// The text form. Whoever has it can enrol once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        bytes[..ID].copy_from_slice(&self.id.to_bytes());
        bytes[ID..ID + SECRET].copy_from_slice(&self.secret);
        bytes[ID + SECRET..CONTENT].copy_from_slice(&self.ca_fingerprint);
        let checksum = checksum(&bytes[..CONTENT]);
        bytes[CONTENT..].copy_from_slice(&checksum);
        // The exact capacity: a string that grew would leave the secret behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + DIGITS));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*bytes, &mut text);
        text
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = ParseJoinTokenError;

    /// Blanks around the text are ignored: files end with a newline.
    fn from_str(text: &str) -> Result<Self, ParseJoinTokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(ParseJoinTokenError::Prefix)?;
        if digits.len() != DIGITS {
            return Err(ParseJoinTokenError::Length { found: digits.chars().count() });
        }
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(digits, &mut *bytes) {
            Ok(BYTES) => {}
            Ok(_) | Err(_) => return Err(ParseJoinTokenError::Digits),
        }
        let (content, given) = bytes.split_at(CONTENT);
        if given != checksum(content) {
            return Err(ParseJoinTokenError::Checksum);
        }
        let mut id = [0; ID];
        let mut token = Self { id: JoinTokenId::from_bytes(id), secret: [0; SECRET], ca_fingerprint: [0; FINGERPRINT] };
        id.copy_from_slice(&content[..ID]);
        token.id = JoinTokenId::from_bytes(id);
        token.secret.copy_from_slice(&content[ID..ID + SECRET]);
        token.ca_fingerprint.copy_from_slice(&content[ID + SECRET..]);
        Ok(token)
    }
}

/// Against typing errors only; the secret is what is hard to guess.
fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(PREFIX.as_bytes());
    context.update(content);
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&context.finish().as_ref()[..CHECKSUM]);
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn token() -> JoinToken {
        let id = JoinTokenId::new(UnixMillis::from_millis(1), [3; 10]);
        JoinToken { id, secret: [0xa5; 32], ca_fingerprint: [9; 32] }
    }

    #[test]
    fn the_text_parses_back_also_from_a_file_with_a_newline() {
        let text = format!("{}\n", *token().reveal());
        assert_eq!(text.parse::<JoinToken>(), Ok(token()));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        let text = token().reveal();
        assert_eq!("x".parse::<JoinToken>(), Err(ParseJoinTokenError::Prefix));
        assert!(matches!(text[..40].parse::<JoinToken>(), Err(ParseJoinTokenError::Length { found: 31 })));
        let typo = text.replacen("paW", "pbW", 1);
        assert_ne!(typo, *text);
        assert_eq!(typo.parse::<JoinToken>(), Err(ParseJoinTokenError::Checksum));
        let blank = format!("{}!", &text[..text.len() - 1]);
        assert_eq!(blank.parse::<JoinToken>(), Err(ParseJoinTokenError::Digits));
    }

    #[test]
    fn debug_shows_the_id_alone() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("jtk_") && !shown.contains("165"), "{shown}");
    }
}
