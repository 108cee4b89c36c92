//! The grammar of references. Its table is in the head of [`resolve`](super).

/// A piece of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Text(&'a str),
    /// `${KEY}`
    Own {
        key: &'a str,
    },
    /// `${env:NAME/KEY}`
    Foreign {
        environment: &'a str,
        key: &'a str,
    },
}

/// What begins like a reference and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value, its line or another `${` comes before a `}`.
    Open,
    /// Neither a name nor `env:`…
    Malformed,
    /// `env:` without a name, a `/` and a key.
    MalformedForeign,
}

/// The pieces of a value, each with the byte at which it begins. After a fault it goes on, so that all faults of a
/// value are found. Every byte is looked at a bounded number of times.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    value: &'a str,
    at: usize,
}

const OPENING: &str = "${";
const FOREIGN: &str = "env:";

impl<'a> Tokens<'a> {
    pub(super) const fn new(value: &'a str) -> Self {
        Self { value, at: 0 }
    }

    /// What follows an opening, up to its `}` and past it.
    fn reference(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at + OPENING.len();
        let (length, is_closed) = extent(&self.value.as_bytes()[start..]);
        let body = &self.value[start..start + length];
        self.at = start + length + usize::from(is_closed);
        if !is_closed {
            return Err(Fault::Open);
        }
        match body.strip_prefix(FOREIGN) {
            // A key has no `/`, and a name may have some.
            Some(path) => match path.rsplit_once('/') {
                Some((environment, key)) if !environment.is_empty() && is_key(key) => {
                    Ok(Token::Foreign { environment, key })
                }
                _ => Err(Fault::MalformedForeign),
            },
            None if is_key(body) => Ok(Token::Own { key: body }),
            None => Err(Fault::Malformed),
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Result<Token<'a>, Fault>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = &self.value[at..];
        if rest.is_empty() {
            return None;
        }
        let Some(opening) = rest.find(OPENING) else {
            self.at = self.value.len();
            return Some((at, Ok(Token::Text(rest))));
        };
        let before = rest[..opening].trim_end_matches('$').len();
        let dollars = opening - before + 1;
        let text = &rest[..before + dollars / 2];
        if text.is_empty() {
            return Some((at, self.reference()));
        }
        // An odd `$` is left over and opens a reference; otherwise the `{` is text, and is where the next piece begins.
        self.at = at + opening + usize::from(dollars.is_multiple_of(2));
        Some((at, Ok(Token::Text(text))))
    }
}

/// How long the body of a reference is, and whether a `}` closes it.
fn extent(body: &[u8]) -> (usize, bool) {
    for (at, byte) in body.iter().enumerate() {
        match byte {
            b'}' => return (at, true),
            b'\n' => return (at, false),
            b'$' if body.get(at + 1) == Some(&b'{') => return (at, false),
            _ => {}
        }
    }
    (body.len(), false)
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(value: &str) -> Vec<Result<Token<'_>, Fault>> {
        Tokens::new(value).map(|(_, token)| token).collect()
    }

    fn text(text: &str) -> Result<Token<'_>, Fault> {
        Ok(Token::Text(text))
    }

    fn own(key: &str) -> Result<Token<'_>, Fault> {
        Ok(Token::Own { key })
    }

    fn foreign<'a>(environment: &'a str, key: &'a str) -> Result<Token<'a>, Fault> {
        Ok(Token::Foreign { environment, key })
    }

    #[test]
    fn references_stand_between_texts() {
        assert_eq!(tokens(""), []);
        assert_eq!(tokens("plain $HOME {x} 100$"), [text("plain $HOME {x} 100$")]);
        assert_eq!(tokens("a${B}c"), [text("a"), own("B"), text("c")]);
        assert_eq!(tokens("${_a1}${B}"), [own("_a1"), own("B")]);
        assert_eq!(tokens("é${B}\nü"), [text("é"), own("B"), text("\nü")]);
    }

    #[test]
    fn a_key_of_another_environment_comes_after_the_last_slash() {
        assert_eq!(tokens("${env:staging/KEY}"), [foreign("staging", "KEY")]);
        assert_eq!(tokens("${env:production/eu west/KEY}"), [foreign("production/eu west", "KEY")]);
        assert_eq!(tokens("${env:a$b/KEY}"), [foreign("a$b", "KEY")]);
        for value in ["${env:}", "${env:KEY}", "${env:/KEY}", "${env:a/}", "${env:a/b c}"] {
            assert_eq!(tokens(value), [Err(Fault::MalformedForeign)], "{value}");
        }
    }

    #[test]
    fn doubled_dollars_in_front_of_a_brace_are_literal() {
        assert_eq!(tokens("$${A}"), [text("$"), text("{A}")]);
        assert_eq!(tokens("$$${A}"), [text("$"), own("A")]);
        assert_eq!(tokens("x$$$${A}"), [text("x$$"), text("{A}")]);
        assert_eq!(tokens("$2b$10$$x"), [text("$2b$10$$x")], "elsewhere a `$` is a `$`");
    }

    #[test]
    fn every_other_opening_is_a_fault_and_the_next_one_is_still_seen() {
        for value in ["${}", "${1A}", "${ A }", "${A:-x}", "${A.B}", "${ä}"] {
            assert_eq!(tokens(value), [Err(Fault::Malformed)], "{value}");
        }
        assert_eq!(tokens("${A"), [Err(Fault::Open)]);
        assert_eq!(tokens("${"), [Err(Fault::Open)]);
        assert_eq!(tokens("${A:-${B}}"), [Err(Fault::Open), own("B"), text("}")]);
        assert_eq!(tokens("${A\n${B}"), [Err(Fault::Open), text("\n"), own("B")]);
        let places: Vec<usize> = Tokens::new("é${} ${").map(|(at, _)| at).collect();
        assert_eq!(places, [0, 2, 5, 6], "bytes, not characters");
    }

    proptest! {
        #[test]
        fn the_pieces_cover_any_text_in_order(value in "([${}/\nA]|env:|.){0,40}") {
            let mut last = None;
            for (at, _) in Tokens::new(&value) {
                prop_assert!(last < Some(at) && value.is_char_boundary(at));
                last = Some(at);
            }
        }

        #[test]
        fn any_text_can_be_written_with_doubled_dollars(value in "([${}A]|.){0,40}") {
            let mut written = String::new();
            for (at, c) in value.char_indices() {
                let opens = c == '$' && value[at..].trim_start_matches('$').starts_with('{');
                written.extend(opens.then_some('$').into_iter().chain([c]));
            }
            let read: Option<String> =
                Tokens::new(&written).map(|(_, token)| if let Ok(Token::Text(text)) = token { Some(text) } else { None }).collect();
            prop_assert_eq!(read, Some(value));
        }
    }
}
