use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::limits;

/// What a whole value has to match: a regular expression in the syntax of the `regex` crate, which has neither
/// look-around nor back-references and takes time proportional to the value, whoever wrote it.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    anchored: Regex,
}

impl Pattern {
    /// # Errors
    /// What the compiler says of it, on one line.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .size_limit(limits::PATTERN_PROGRAM_BYTES)
                .nest_limit(limits::PATTERN_DEPTH)
                .build()
                .map_err(|error| last_line(&error.to_string()))
        };
        // By itself first: `a)|(b` is nothing that may be put between brackets.
        compile(source)?;
        Ok(Self { source: source.to_owned(), anchored: compile(&format!(r"\A(?:{source})\z"))? })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.anchored.is_match(value)
    }
}

/// The compiler draws the pattern with an arrow below it; what is wrong comes last.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_has_to_match() {
        let pattern = Pattern::compile("a|bc").expect("a pattern");
        assert!(pattern.matches("a") && pattern.matches("bc"));
        assert!(!pattern.matches("ab") && !pattern.matches("abc") && !pattern.matches("") && !pattern.matches("a\n"));
    }

    #[test]
    fn brackets_cannot_be_closed_from_within() {
        for source in ["a)|(b", "(?x)a#", "[", "a{99999}", &"(".repeat(200), "(?:a{200}){200}"] {
            let problem = Pattern::compile(source).expect_err(source);
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem}");
        }
    }
}
