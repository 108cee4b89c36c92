//! Names of variables.

use std::fmt;

use super::quoted::is_printable;

/// Whether `text` is a letter or `_`, then letters, digits and `_`: the rule of
/// [`Entry::validate`](outrigger_protocol::environment::Entry::validate).
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Text on one line: in a comment, a line break would begin a line of the file.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.split(|c| !is_printable(c)).enumerate() {
            if index > 0 {
                f.write_str("\u{fffd}")?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::environment::{Entry, ProblemKind, VariableKind};
    use proptest::prelude::*;

    fn protocol_takes(name: &str) -> bool {
        let entry =
            Entry { name: name.to_owned(), value: None, kind: VariableKind::String, secret: false, required: false };
        let problems = entry.validate(&[]).err().unwrap_or_default();
        !problems.iter().any(|problem| problem.kind == ProblemKind::InvalidName)
    }

    proptest! {
        #[test]
        fn names_are_those_of_the_protocol(name in "[A-Za-z0-9_.é -]{0,4}|.{0,4}") {
            prop_assert_eq!(is_name(&name), protocol_takes(&name));
        }
    }

    #[test]
    fn a_comment_stays_on_its_line() {
        assert_eq!(OneLine("a\r\nb\u{85}c\u{2028}d\u{fffe}").to_string(), "a��b�c�d�");
    }
}
