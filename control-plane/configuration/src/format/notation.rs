//! The `$`s in front of a `{`, which alone make the difference between text and a reference. The grammar is
//! [`resolve`](crate::resolve)'s: of a run of `$`s directly before a `{`, each pair is one `$`, and one that is left
//! over opens a reference.

use zeroize::Zeroizing;

/// A value, written, in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text that means itself.
    Text(&'a str),
    /// The `${` of a reference; what is referred to comes as text.
    Opening,
}

/// Text as it is written: every `$` of a run before a `{` doubled.
pub(super) fn double_dollars(text: &str) -> Zeroizing<String> {
    let mut written = Zeroizing::new(String::with_capacity(text.len() + text.matches('$').count()));
    let mut rest = text;
    while let Some((before, dollars, after)) = split_at_run(rest) {
        written.push_str(before);
        (0..2 * dollars).for_each(|_| written.push('$'));
        rest = after;
    }
    written.push_str(rest);
    written
}

/// What a written value means where it refers to nothing; `None` where it has a reference.
pub(super) fn text_of(written: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(written.len()));
    for piece in pieces(written) {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Opening => return None,
        }
    }
    Some(text)
}

pub(super) fn pieces(written: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = written;
    let mut opens = false;
    std::iter::from_fn(move || {
        if std::mem::take(&mut opens) {
            return Some(Piece::Opening);
        }
        if rest.is_empty() {
            return None;
        }
        let Some((before, dollars, after)) = split_at_run(rest) else {
            return Some(Piece::Text(std::mem::take(&mut rest)));
        };
        opens = dollars % 2 == 1;
        let text = &rest[..before.len() + dollars / 2];
        // The `{` belongs to the opening, or is the beginning of the text that follows.
        rest = if opens { &after[1..] } else { after };
        Some(Piece::Text(text))
    })
}

/// What is before the first run of `$`s that a `{` follows, how many they are, and what follows, `{` first.
fn split_at_run(text: &str) -> Option<(&str, usize, &str)> {
    let brace = text.find("${")? + 1;
    let before = text[..brace].trim_end_matches('$');
    Some((before, brace - before.len(), &text[brace..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_before_a_brace_is_doubled_and_every_other_dollar_left_alone() {
        for (text, written) in [
            ("", ""),
            ("$HOME $$ {} $", "$HOME $$ {} $"),
            ("${A}", "$${A}"),
            ("a$${A}$", "a$$$${A}$"),
            ("é${${", "é$${$${"),
        ] {
            assert_eq!(double_dollars(text).as_str(), written);
            assert_eq!(text_of(written).expect("no reference").as_str(), text);
        }
    }

    #[test]
    fn a_single_dollar_before_a_brace_opens_a_reference() {
        assert!(text_of("a${B}").is_none());
        assert!(text_of("$$${B}").is_none());
        let found: Vec<_> = pieces("a$$${B}$${").collect();
        assert_eq!(found, [Piece::Text("a$"), Piece::Opening, Piece::Text("B}$"), Piece::Text("{")]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_written(text in "([${}A]|.){0,40}") {
            let read = text_of(&double_dollars(&text)).expect("no reference");
            prop_assert_eq!(read.as_str(), text.as_str());
        }
    }
}
