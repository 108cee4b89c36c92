//! Text in double quotes as both JSON (RFC 8259, 7) and YAML (1.2.2, 5.7 and 7.3.1) read it.

use std::fmt::{self, Write as _};

/// `"…"` on one line.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        while let Some(at) = rest.find(needs_escape) {
            f.write_str(&rest[..at])?;
            rest = &rest[at..];
            let Some(c) = rest.chars().next() else { break };
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                other => write!(f, "\\u{:04x}", u32::from(other))?,
            }
            rest = &rest[c.len_utf8()..];
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\') || !is_printable(c)
}

/// Whether it can stand for itself on a line of both: no control character, no line separator of Unicode's, no byte
/// order mark and no noncharacter of the first plane, which YAML forbids.
pub(super) fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        assert_eq!(
            Quoted("a\"\\\n\r\t\0\u{7f}\u{85}\u{feff}é😀").to_string(),
            r#""a\"\\\n\r\t\u0000\u007f\u0085\ufeffé😀""#
        );
    }

    proptest! {
        #[test]
        fn json_reads_it_back(text in any::<String>()) {
            let quoted = Quoted(&text).to_string();
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).expect("JSON"), text);
        }
    }
}
