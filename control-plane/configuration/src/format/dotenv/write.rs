use std::fmt::{self, Write as _};

use zeroize::Zeroizing;

use crate::format::exact::{self, By};
use crate::format::export::{Content, Prepared};
use crate::format::notation::{self, Piece};

pub(in crate::format) fn write(prepared: &[Prepared<'_>]) -> Zeroizing<String> {
    exact::text(&By(|f: &mut fmt::Formatter<'_>| {
        prepared.iter().try_for_each(|each| match &each.content {
            Content::Unset => write!(f, "{}", each.unset_comment()),
            Content::Text(text) => writeln!(f, "{}{}={}", each.origin_comment(), each.name(), Literal(text)),
            Content::Expression(written) => {
                writeln!(f, "{}{}={}", each.origin_comment(), each.name(), Expression(written))
            }
        })
    }))
}

/// Text in the quotes that most readers agree on.
struct Literal<'a>(&'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.bytes().all(is_safe) {
            f.write_str(text)
        } else if !text.contains(['\'', '\r']) && !text.ends_with('\\') {
            write!(f, "'{text}'")
        } else {
            write!(f, "\"{}\"", Escaped(text))
        }
    }
}

/// Nothing to any reader: no `~` and no glob, which a shell expands, and no `=`, at which some split again.
fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:@%+,-".contains(&byte)
}

struct Expression<'a>(&'a str);

impl fmt::Display for Expression<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for piece in notation::pieces(self.0) {
            match piece {
                Piece::Text(text) => Escaped(text).fmt(f)?,
                Piece::Opening => f.write_str("${")?,
            }
        }
        f.write_char('"')
    }
}

/// What stands between double quotes. A line feed does for itself: a shell knows no escape for it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '$', '`', '\r']) {
            let (before, special) = rest.split_at(at);
            let (special, after) = special.split_at(1);
            f.write_str(before)?;
            f.write_char('\\')?;
            f.write_str(if special == "\r" { "r" } else { special })?;
            rest = after;
        }
        f.write_str(rest)
    }
}
