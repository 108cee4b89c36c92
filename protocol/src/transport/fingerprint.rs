//! How a CA is named without being shown: in a join token, and on a developer's command line.

use std::fmt::Write as _;

use ring::digest;
use rustls::pki_types::CertificateDer;

const BYTES: usize = digest::SHA256_OUTPUT_LEN;
const PREFIX: &str = "sha256:";

/// SHA-256 of a certificate, DER.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; BYTES] {
    let mut fingerprint = [0; BYTES];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    fingerprint
}

/// The text form, `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn display_fingerprint(fingerprint: &[u8; BYTES]) -> String {
    let mut text = String::with_capacity(PREFIX.len() + 2 * BYTES);
    text.push_str(PREFIX);
    for byte in fingerprint {
        // A string takes every digit.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: expected `sha256:` and 64 hexadecimal digits, as `outrigger whoami` shows it")]
pub struct ParseFingerprintError;

/// Reads the text form; also without its prefix, and with the colons and the capitals of `openssl x509 -fingerprint`.
///
/// # Errors
/// It is something else.
pub fn parse_fingerprint(text: &str) -> Result<[u8; BYTES], ParseFingerprintError> {
    let text = text.trim();
    let digits = match text.split_at_checked(PREFIX.len()) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case(PREFIX) => digits,
        _ => text,
    };
    let mut digits = digits.chars().filter(|digit| *digit != ':');
    let mut fingerprint = [0; BYTES];
    for byte in &mut fingerprint {
        let mut digit =
            || digits.next().and_then(|digit| digit.to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(ParseFingerprintError) };
        *byte = high << 4 | low;
    }
    if digits.next().is_some() { Err(ParseFingerprintError) } else { Ok(fingerprint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back_in_every_form_that_tools_write() {
        let fingerprint: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).expect("small"));
        let text = display_fingerprint(&fingerprint);
        assert!(text.starts_with("sha256:00070e15"), "{text}");
        let digits = text.strip_prefix(PREFIX).expect("its prefix");
        let pairs: Vec<&str> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
        for form in [text.clone(), digits.to_owned(), format!(" {text}\n"), pairs.join(":").to_uppercase()] {
            assert_eq!(parse_fingerprint(&form), Ok(fingerprint), "{form}");
        }
        for other in ["", "sha256:", &digits[1..], &format!("{digits}0"), &digits.replace('e', "g"), "é"] {
            assert_eq!(parse_fingerprint(other), Err(ParseFingerprintError), "{other}");
        }
    }
}
