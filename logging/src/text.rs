//! Texts as JSON has them.

use std::fmt::{self, Display, Formatter, Write as _};

/// Bytes of one text; of a longer one the beginning is written, and an ellipsis.
pub const LONGEST: usize = 16 * 1024;

/// A JSON string.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = beginning(self.0);
        f.write_char('"')?;
        let mut plain = 0;
        for (at, byte) in shown.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            // What is escaped is ASCII, so both ends are between characters.
            f.write_str(&shown[plain..at])?;
            plain = at + 1;
            match byte {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                control => write!(f, "\\u{control:04x}")?,
            }
        }
        f.write_str(&shown[plain..])?;
        f.write_str(if shown.len() < self.0.len() { "…\"" } else { "\"" })
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_one_line_of_json_that_reads_back(text in any::<String>()) {
            let quoted = Quoted(&text).to_string();
            prop_assert!(!quoted.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let quoted = Quoted(&"é".repeat(LONGEST)).to_string();
        let read: String = serde_json::from_str(&quoted).unwrap();
        assert_eq!(read.len(), LONGEST + '…'.len_utf8());
        assert!(read.ends_with("é…"));
    }
}
