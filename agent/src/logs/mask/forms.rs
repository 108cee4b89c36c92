//! The forms in which programs print a secret.
//!
//! Besides the value itself: as a JSON string has it, percent-encoded as URLs have it, and in base64, alone or somewhere
//! within something longer (`user:password` of HTTP's basic authentication). Encoded forms are of secrets of at least
//! [`MIN_ENCODED_BYTES`]: those of shorter ones would be found where they are not. What is encoded is at most
//! [`MAX_ENCODED_BYTES`] long, and all encoded forms together take at most a budget: they are many times what they
//! are made of, and the agent is small.

use std::fmt::Write as _;

use base64::Engine;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, PAD};
use zeroize::Zeroizing;

/// Shorter secrets are looked for as they are, and in JSON, alone.
pub(super) const MIN_ENCODED_BYTES: usize = 8;
/// Longer ones as well: certificates and keys are not put into URLs.
pub(super) const MAX_ENCODED_BYTES: usize = 4 * 1024;

type Form = Zeroizing<Vec<u8>>;

/// The value as it stands in a JSON string, where that differs: as most libraries write it, with everything that is not
/// ASCII escaped (Python), and with slashes escaped (PHP). A line's end stays one: lines are looked for each by itself.
pub(super) fn json(secret: &str) -> impl Iterator<Item = Form> + use<> {
    let escapes = |byte: &u8| matches!(byte, b'"' | b'\\' | b'/' | 0x7f) || !matches!(byte, b' '..0x7f | b'\n' | b'\r');
    let ways: &[(bool, bool)] = match secret.bytes().any(|byte| escapes(&byte)) {
        true => &[(false, false), (true, false), (true, true)],
        false => &[],
    };
    let forms: Vec<Form> = ways.iter().map(|(ascii, slashes)| json_as(secret, *ascii, *slashes)).collect();
    let secret = Zeroizing::new(secret.as_bytes().to_vec());
    forms.into_iter().filter(move |form| **form != *secret)
}

fn json_as(secret: &str, ascii: bool, slashes: bool) -> Form {
    // The longest is `\u0000` for one byte.
    let mut form = Zeroizing::new(String::with_capacity(6 * secret.len()));
    for character in secret.chars() {
        match character {
            '"' => form.push_str("\\\""),
            '\\' => form.push_str("\\\\"),
            '/' if slashes => form.push_str("\\/"),
            '\t' => form.push_str("\\t"),
            '\u{8}' => form.push_str("\\b"),
            '\u{c}' => form.push_str("\\f"),
            '\n' | '\r' => form.push(character),
            _ if character < ' ' || (ascii && !character.is_ascii()) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // A string takes every digit.
                    let _ = write!(form, "\\u{unit:04x}");
                }
            }
            _ => form.push(character),
        }
    }
    Zeroizing::new(std::mem::take(&mut *form).into_bytes())
}

/// The value as it stands in a URL or a form, where that differs: with the characters of RFC 3986 (section 2.3) kept, with
/// those that JavaScript's `encodeURIComponent` keeps too, and with slashes kept; with digits of either case, and blanks
/// as `%20` or `+`.
pub(super) fn percent(secret: &[u8]) -> Vec<Form> {
    const KEPT: [&[u8]; 3] = [b"-._~", b"-._~!'()*", b"-._~/"];
    let mut forms = Vec::new();
    if secret.iter().all(|byte| byte.is_ascii_alphanumeric() || KEPT[0].contains(byte)) {
        return forms;
    }
    for kept in KEPT {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            forms.push(percent_as(secret, kept, digits, false));
            if secret.contains(&b' ') {
                forms.push(percent_as(secret, kept, digits, true));
            }
        }
    }
    forms.retain(|form| **form != secret);
    forms
}

fn percent_as(secret: &[u8], kept: &[u8], digits: &[u8; 16], plus: bool) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    for byte in secret {
        match byte {
            b' ' if plus => form.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || kept.contains(byte) => form.push(*byte),
            _ => form.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
        }
    }
    form
}

/// The value in base64, in both alphabets: alone, with and without padding; and as it stands within something longer,
/// where it may begin at three places of a group. There the digits at its ends that its neighbours have a part in are
/// left out: they tell up to four bits of its first and of its last byte.
pub(super) fn base64(secret: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        forms.push(encode(&GeneralPurpose::new(alphabet, PAD), secret));
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        forms.push(encode(&engine, secret));
        for before in 0..3 {
            let padded: Form = Zeroizing::new([&[0; 2][..before], secret].concat());
            let digits = encode(&engine, &padded);
            // Six bits a digit: the first that belongs to the secret alone, and the one behind the last.
            let (first, end) = ((8 * before).div_ceil(6), 8 * padded.len() / 6);
            forms.push(Zeroizing::new(digits[first..end].to_vec()));
        }
    }
    forms
}

fn encode(engine: &GeneralPurpose, bytes: &[u8]) -> Form {
    // The exact capacity or more: text that grew would leave the secret behind in freed memory.
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    engine.encode_string(bytes, &mut text);
    Zeroizing::new(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(forms: impl IntoIterator<Item = Form>) -> Vec<String> {
        forms.into_iter().map(|form| String::from_utf8(form.to_vec()).expect("ASCII or the text itself")).collect()
    }

    #[test]
    fn json_strings_are_what_libraries_write() {
        assert_eq!(texts(json("plain-text_1")), Vec::<String>::new());
        let forms = texts(json("a\"b\\c\td\u{1}/\u{e9}\u{1f600}\nx"));
        assert_eq!(
            forms,
            [
                "a\\\"b\\\\c\\td\\u0001/\u{e9}\u{1f600}\nx",
                "a\\\"b\\\\c\\td\\u0001/\\u00e9\\ud83d\\ude00\nx",
                "a\\\"b\\\\c\\td\\u0001\\/\\u00e9\\ud83d\\ude00\nx",
            ]
        );
    }

    #[test]
    fn urls_and_forms_are_what_browsers_and_libraries_write() {
        assert!(percent(b"plain-text_1.~").is_empty());
        let forms = texts(percent("p@ss w/rd\u{e9}!".as_bytes()));
        for expected in
            ["p%40ss%20w%2Frd%C3%A9%21", "p%40ss+w%2Frd%C3%A9%21", "p%40ss%20w%2frd%c3%a9!", "p%40ss+w/rd%C3%A9%21"]
        {
            assert!(forms.iter().any(|form| form == expected), "{expected} in {forms:?}");
        }
    }

    #[test]
    fn base64_is_found_wherever_the_secret_stands_in_what_was_encoded() {
        let secret = b"correct horse \xff\xfe battery?>";
        let forms = texts(base64(secret));
        for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
            let engine = GeneralPurpose::new(alphabet, PAD);
            for before in 0..7 {
                for after in 0..4 {
                    let whole = [&b"user::x"[..before], secret, &b"tail"[..after]].concat();
                    let encoded = engine.encode(whole);
                    let found = forms.iter().filter(|form| encoded.contains(form.as_str())).map(String::len).max();
                    let least = 8 * secret.len() / 6 - 1;
                    assert!(found.is_some_and(|found| found >= least), "{before} {after} {encoded} {forms:?}");
                }
            }
        }
    }
}
