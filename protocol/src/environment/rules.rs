//! What an environment must satisfy before anything is sealed or started.

use std::collections::HashSet;
use std::fmt;

use serde::de::IgnoredAny;

use super::{Entry, Environment, VariableKind, dangerous};
use crate::limits;

/// Names that the agent itself sets.
pub const RESERVED_PREFIX: &str = "OUTRIGGER_";

/// How much of a name goes into a message: a name is a caller's text and may be anything.
const SHOWN_NAME_CHARS: usize = 128;

/// One thing that is wrong, in words and numbers; never with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable; empty when the problem is the whole environment's.
    pub name: String,
    pub kind: ProblemKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    #[error("a name is a letter or `_`, then letters, digits and `_`")]
    InvalidName,
    #[error("names that begin with `{RESERVED_PREFIX}` are reserved")]
    ReservedName,
    #[error("refused because {reason}; the deployment can allow it by name")]
    DangerousName { reason: &'static str },
    #[error("defined more than once")]
    Duplicate,
    #[error("required, but it has no value")]
    Missing,
    #[error("the value contains a NUL byte")]
    NulByte,
    #[error("the value is not a finite number")]
    NotNumber,
    #[error("the value is not true, false, 1, 0, yes, no, on or off")]
    NotBoolean,
    #[error("the value is not JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the value is not a URL (scheme://…)")]
    NotUrl,
    #[error("name and value take {bytes} bytes; the kernel allows {limit}")]
    EntryTooLarge { bytes: usize, limit: usize },
    #[error("all variables together take {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("{count} variables; the limit is {limit}")]
    TooMany { count: usize, limit: usize },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { write!(f, "{}", self.kind) } else { write!(f, "`{}`: {}", self.name, self.kind) }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    fn new(name: &str, kind: ProblemKind) -> Self {
        // Control characters would let a name forge lines of a log.
        let shown = name.chars().take(SHOWN_NAME_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Self { name: shown.collect(), kind }
    }
}

impl Environment {
    /// Checks everything and names every problem at once. `allowed_names` are dangerous names that the
    /// deployment allows.
    ///
    /// # Errors
    /// At least one problem.
    pub fn validate(&self, allowed_names: &[String]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut names = HashSet::with_capacity(self.entries.len());
        for entry in &self.entries {
            if !names.insert(entry.name.as_str()) {
                problems.push(Problem::new(&entry.name, ProblemKind::Duplicate));
            }
            entry.check(allowed_names, |kind| problems.push(Problem::new(&entry.name, kind)));
        }
        self.check_totals(|kind| problems.push(Problem::new("", kind)));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_totals(&self, mut report: impl FnMut(ProblemKind)) {
        let count = self.entries.len();
        if count > limits::ENVIRONMENT_ENTRIES {
            report(ProblemKind::TooMany { count, limit: limits::ENVIRONMENT_ENTRIES });
        }
        let bytes = self.entries.iter().fold(0_usize, |sum, entry| sum.saturating_add(entry.kernel_bytes()));
        if bytes > limits::ENVIRONMENT_BYTES {
            report(ProblemKind::TooLarge { bytes, limit: limits::ENVIRONMENT_BYTES });
        }
    }
}

impl Entry {
    /// Checks this entry alone: everything but duplicates and totals, which need the others.
    ///
    /// # Errors
    /// At least one problem.
    pub fn validate(&self, allowed_names: &[String]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        self.check(allowed_names, |kind| problems.push(Problem::new(&self.name, kind)));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check(&self, allowed_names: &[String], mut report: impl FnMut(ProblemKind)) {
        if !is_name(&self.name) {
            report(ProblemKind::InvalidName);
        }
        if self.name.starts_with(RESERVED_PREFIX) {
            report(ProblemKind::ReservedName);
        }
        if let Some(reason) = dangerous::reason(&self.name)
            && !allowed_names.contains(&self.name)
        {
            report(ProblemKind::DangerousName { reason });
        }
        let bytes = self.kernel_bytes();
        if bytes > limits::ENVIRONMENT_ENTRY_BYTES {
            report(ProblemKind::EntryTooLarge { bytes, limit: limits::ENVIRONMENT_ENTRY_BYTES });
        }
        match &self.value {
            Some(value) => {
                if value.contains('\0') {
                    report(ProblemKind::NulByte);
                }
                if let Err(kind) = self.kind.check(value) {
                    report(kind);
                }
            }
            None if self.required => report(ProblemKind::Missing),
            None => {}
        }
    }

    /// What the kernel counts: `NAME=VALUE` and a NUL (execve(2)). Nothing when the variable is not set.
    fn kernel_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| self.name.len().saturating_add(value.len()).saturating_add(2))
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl VariableKind {
    fn check(self, value: &str) -> Result<(), ProblemKind> {
        match self {
            Self::String | Self::Secret => Ok(()),
            Self::Number => is_number(value).then_some(()).ok_or(ProblemKind::NotNumber),
            Self::Boolean => is_boolean(value).then_some(()).ok_or(ProblemKind::NotBoolean),
            Self::Json => serde_json::from_str::<IgnoredAny>(value)
                .map(|_| ())
                .map_err(|error| ProblemKind::NotJson { line: error.line(), column: error.column() }),
            Self::Url => is_url(value).then_some(()).ok_or(ProblemKind::NotUrl),
        }
    }
}

/// Decimal, with an optional sign, fraction and exponent. Rust's own grammar also takes `inf` and `nan`.
fn is_number(value: &str) -> bool {
    value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && value.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_boolean(value: &str) -> bool {
    ["true", "false", "1", "0", "yes", "no", "on", "off"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// A scheme (RFC 3986, 3.1; several joined by `:` as in `jdbc:postgresql`), `://`, and at least one character;
/// nothing blank or unprintable. What follows is the program's: connection strings are not all strict URIs.
fn is_url(value: &str) -> bool {
    let Some((schemes, rest)) = value.split_once("://") else { return false };
    !rest.is_empty()
        && !value.chars().any(|c| c.is_whitespace() || c.is_control())
        && schemes.split(':').all(|scheme| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn entry(name: &str, kind: VariableKind, value: Option<&str>) -> Entry {
        Entry {
            name: name.to_owned(),
            value: value.map(|value| Zeroizing::new(value.to_owned())),
            kind,
            secret: false,
            required: false,
        }
    }

    fn problems(entries: Vec<Entry>, allowed: &[&str]) -> Vec<(String, ProblemKind)> {
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let found = Environment { entries }.validate(&allowed).err().unwrap_or_default();
        found.into_iter().map(|problem| (problem.name, problem.kind)).collect()
    }

    fn accepts(kind: VariableKind, value: &str) -> bool {
        problems(vec![entry("A", kind, Some(value))], &[]).is_empty()
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut missing = entry("NEEDED", VariableKind::String, None);
        missing.required = true;
        let found = problems(
            vec![
                entry("1BAD", VariableKind::String, Some("x")),
                entry("OUTRIGGER_TOKEN", VariableKind::String, Some("x")),
                entry("LD_PRELOAD", VariableKind::String, Some("/x.so")),
                missing,
                entry("PORT", VariableKind::Number, Some("eighty")),
                entry("TWICE", VariableKind::String, Some("x")),
                entry("TWICE", VariableKind::String, Some("a\0b")),
            ],
            &[],
        );
        let found: Vec<_> = found.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        assert_eq!(found.len(), 7, "{found:?}");
        assert!(found.contains(&("1BAD", ProblemKind::InvalidName)));
        assert!(found.contains(&("OUTRIGGER_TOKEN", ProblemKind::ReservedName)));
        assert!(found.iter().any(|(n, k)| *n == "LD_PRELOAD" && matches!(k, ProblemKind::DangerousName { .. })));
        assert!(found.contains(&("NEEDED", ProblemKind::Missing)));
        assert!(found.contains(&("PORT", ProblemKind::NotNumber)));
        assert!(found.contains(&("TWICE", ProblemKind::Duplicate)));
        assert!(found.contains(&("TWICE", ProblemKind::NulByte)));
    }

    #[test]
    fn a_dangerous_name_is_accepted_when_the_deployment_allows_it() {
        let entries = vec![entry("NODE_OPTIONS", VariableKind::String, Some("--max-old-space-size=256"))];
        assert!(problems(entries, &["NODE_OPTIONS"]).is_empty());
    }

    #[test]
    fn an_empty_text_is_a_value_and_an_absent_optional_is_none() {
        let mut required = entry("A", VariableKind::String, Some(""));
        required.required = true;
        assert!(problems(vec![required, entry("B", VariableKind::Number, None)], &[]).is_empty());
    }

    #[test]
    fn kinds_hold_values_to_their_grammar() {
        for number in ["0", "-1.5", "+3", "1e9", ".5"] {
            assert!(accepts(VariableKind::Number, number), "{number}");
        }
        for text in ["", "inf", "NaN", "1e999", "0x10", "1 ", "1,5"] {
            assert!(!accepts(VariableKind::Number, text), "{text}");
        }
        assert!(accepts(VariableKind::Boolean, "True") && !accepts(VariableKind::Boolean, "maybe"));
        assert!(accepts(VariableKind::Json, r#"{"a":[1,null]}"#) && !accepts(VariableKind::Json, "{a:1}"));
        let deep = "[".repeat(100_000);
        assert!(!accepts(VariableKind::Json, &deep), "nesting is bounded");
        for url in ["https://a.example/x", "postgres://u:p@db/x?y=1", "jdbc:postgresql://db/x", "unix:///run/x"] {
            assert!(accepts(VariableKind::Url, url), "{url}");
        }
        for text in ["localhost:80", "://x", "http://", "http://a b", "1a://x"] {
            assert!(!accepts(VariableKind::Url, text), "{text}");
        }
    }

    #[test]
    fn sizes_are_the_kernels_and_told_in_numbers() {
        let fits = "x".repeat(limits::ENVIRONMENT_ENTRY_BYTES - "A=".len() - 1);
        assert!(accepts(VariableKind::String, &fits));
        let found = problems(vec![entry("A", VariableKind::String, Some(&(fits + "x")))], &[]);
        assert_eq!(found[0].1, ProblemKind::EntryTooLarge { bytes: 131_073, limit: 131_072 });
        assert!(found[0].1.to_string().contains("131073"));
    }

    #[test]
    fn too_much_together_is_refused() {
        let value = "x".repeat(100_000);
        let many: Vec<_> = (0..20).map(|i| entry(&format!("V{i}"), VariableKind::String, Some(&value))).collect();
        let found = problems(many, &[]);
        assert!(matches!(found[..], [(_, ProblemKind::TooLarge { .. })]), "{found:?}");
        let count = limits::ENVIRONMENT_ENTRIES + 1;
        let many = (0..count).map(|i| entry(&format!("V{i}"), VariableKind::String, None)).collect();
        assert_eq!(problems(many, &[])[0].1, ProblemKind::TooMany { count, limit: limits::ENVIRONMENT_ENTRIES });
    }

    #[test]
    fn no_problem_and_no_debug_output_shows_a_value() {
        let mut secret = entry("PORT\n", VariableKind::Number, Some("hunter2"));
        secret.secret = true;
        let environment = Environment { entries: vec![secret] };
        let shown = format!("{environment:?} {:?}", environment.validate(&[]));
        assert!(!shown.contains("hunter2"), "{shown}");
        let problems = environment.validate(&[]).expect_err("two problems");
        assert!(problems.iter().all(|problem| !problem.to_string().contains('\n')));
    }
}
