use std::fmt::{self, Display as _};

use zeroize::Zeroizing;

use crate::format::document::{self, VARIABLES_FIELD, VERSION, VERSION_FIELD};
use crate::format::exact::{self, By};
use crate::format::export::{Form, Prepared};
use crate::format::name::OneLine;
use crate::format::quoted::{Quoted, is_printable};

/// Words that some reader takes for a boolean or for null, in any case (YAML 1.1, 10.2 of the type repository).
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

pub(in crate::format) fn write(prepared: &[Prepared<'_>], form: Form) -> Zeroizing<String> {
    exact::text(&By(|f: &mut fmt::Formatter<'_>| match form {
        Form::Full => full(prepared, f),
        Form::Flat | Form::Plain => flat(prepared, form, f),
    }))
}

fn flat(prepared: &[Prepared<'_>], form: Form, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for each in prepared.iter().filter(|each| each.variable.removed) {
        each.unset_comment().fmt(f)?;
    }
    if prepared.iter().all(|each| each.variable.removed) {
        return f.write_str("{}\n");
    }
    for each in prepared.iter().filter(|each| !each.variable.removed) {
        let told = document::told(each, form);
        let value = ScalarAt { text: told.as_deref(), indent: 2 };
        writeln!(f, "{}{}: {value}", each.origin_comment(), KeyName(each.name()))?;
    }
    Ok(())
}

fn full(prepared: &[Prepared<'_>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{VERSION_FIELD}: {VERSION}")?;
    writeln!(f, "{VARIABLES_FIELD}:{}", if prepared.is_empty() { " {}" } else { "" })?;
    for each in prepared {
        let variable = each.variable;
        writeln!(f, "  {}:", KeyName(each.name()))?;
        if variable.removed {
            writeln!(f, "    removed: true")?;
            continue;
        }
        let told = document::told(each, Form::Full);
        writeln!(f, "    value: {}", ScalarAt { text: told.as_deref(), indent: 6 })?;
        if variable.literal {
            writeln!(f, "    literal: true")?;
        }
        writeln!(f, "    type: {}", variable.kind)?;
        writeln!(f, "    secret: {}", variable.secret)?;
        writeln!(f, "    required: {}", variable.required)?;
        writeln!(f, "    description: {}", Quoted(&variable.description))?;
        if let Some(origin) = &variable.origin {
            writeln!(f, "    origin: {}", Quoted(&OneLine(origin).to_string()))?;
        }
    }
    Ok(())
}

/// The name of a variable as a key.
pub(in crate::format) struct KeyName<'a>(pub(in crate::format) &'a str);

impl fmt::Display for KeyName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if WORDS.iter().any(|word| self.0.eq_ignore_ascii_case(word)) {
            Quoted(self.0).fmt(f)
        } else {
            f.write_str(self.0)
        }
    }
}

/// Text that every reader takes for text, or null: lines as a block where that is exact, quotes otherwise.
pub(in crate::format) struct ScalarAt<'a> {
    pub(in crate::format) text: Option<&'a str>,
    /// Blanks in front of each line of a block.
    pub(in crate::format) indent: usize,
}

impl fmt::Display for ScalarAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.text else { return f.write_str("null") };
        if !is_block(text) {
            return Quoted(text).fmt(f);
        }
        // `|-` drops the last line break, `|` keeps one (YAML 1.2.2, 8.1.1.2).
        let lines = text.strip_suffix('\n');
        f.write_str(if lines.is_some() { "|" } else { "|-" })?;
        for line in lines.unwrap_or(text).split('\n') {
            let indent = if line.is_empty() { 0 } else { self.indent };
            write!(f, "\n{:indent$}{line}", "")?;
        }
        Ok(())
    }
}

/// Whether the lines of a block would say the same to every reader, and to everybody's eyes: no blank at either end of
/// a line, no line break at an end but one, and nothing that cannot be seen.
fn is_block(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !lines.starts_with('\n')
        && !lines.ends_with('\n')
        && !lines.is_empty()
        && !lines.starts_with(' ')
        && lines.split('\n').all(|line| !line.starts_with('\t') && !line.ends_with([' ', '\t']))
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> String {
        ScalarAt { text: Some(text), indent: 2 }.to_string()
    }

    #[test]
    fn lines_are_a_block_where_that_is_exact() {
        assert_eq!(scalar("a\n  b\n\nc"), "|-\n  a\n    b\n\n  c");
        assert_eq!(scalar("a\nb\n"), "|\n  a\n  b");
        for text in ["a", "", "\n", "a\n\n", " a\nb", "\na", "a \nb", "a\n \nb", "a\r\nb", "a\n\tb", "a\n\u{85}"] {
            assert!(scalar(text).starts_with('"'), "{text:?}");
        }
    }

    #[test]
    fn names_that_are_words_are_quoted() {
        assert_eq!(KeyName("NO").to_string(), "\"NO\"");
        assert_eq!(KeyName("NOT").to_string(), "NOT");
    }
}
