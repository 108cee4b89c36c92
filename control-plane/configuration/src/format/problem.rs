//! What can be wrong with a file, or keep a variable out of one; never with a value, nor with anything that may be a
//! piece of one: a key that spilled out of its quotes looks like any other line.

use std::fmt;

use outrigger_protocol::environment::ProblemKind as Rule;

use super::PROBLEMS;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// From 1; what is wrong with the whole file is wrong at its beginning.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub kind: LineProblemKind,
}

impl LineProblem {
    pub(super) const fn of_file(kind: LineProblemKind) -> Self {
        Self { line: 1, column: 1, kind }
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

impl std::error::Error for LineProblem {}

/// What is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblemKind {
    #[error("the file has {bytes} bytes and at most {limit} are read; split it")]
    FileTooLarge { bytes: usize, limit: usize },
    #[error("this is not UTF-8; save the file as UTF-8")]
    NotUtf8,
    #[error("the file is UTF-16; save it as UTF-8")]
    Utf16,
    #[error("{count} more problems are not listed; mend these first")]
    More { count: usize },

    #[error("a name is a letter or `_`, then letters, digits and `_`")]
    InvalidName,
    #[error("line {first} has the same name; keep one of them")]
    Duplicate { first: usize },
    /// The value breaks a rule that every environment is held to.
    #[error(transparent)]
    Rule(#[from] Rule),

    #[error("this is no `NAME=VALUE`; write `NAME=` for an empty value and `#` in front of a comment")]
    NoEquals,
    #[error("a `=` stands between name and value here; write `NAME=VALUE`")]
    Colon,
    #[error("nothing closes this `{quote}`; write another one at the end of the value")]
    UnclosedQuote { quote: char },
    #[error(
        "there is text after the quote that closes the value of line {opened}; write `\\\"` for a quote within double \
         quotes, and a blank in front of a comment"
    )]
    AfterQuote { opened: usize },
    #[error("a carriage return needs quotes; write \"…\\r…\", or end each line with a line feed")]
    CarriageReturn,

    #[error("Docker would look for this value on its host; write `NAME=VALUE`, or `NAME=` for an empty value")]
    HostValue,
    #[error("Docker does not know `export`; leave it out")]
    ExportPrefix,
    #[error("Docker takes blanks around `=` for a part of name and value; write `NAME=VALUE`")]
    BlankBeforeEquals,

    #[error("this is not JSON: {reason}")]
    NotJson { reason: String },
    #[error("this is not YAML: {reason}")]
    NotYaml { reason: String },
    #[error("the file is empty; write `{{}}` where there are no variables")]
    Empty,
    #[error("more than {limit} levels of nesting; give a nested value as text")]
    TooDeep { limit: usize },
    #[error("more than {limit} values; give nested values as text")]
    TooManyNodes { limit: usize },
    #[error("another document begins here and one is read; put all variables into one")]
    SecondDocument,
    #[error("anchors and aliases are not read; write the value itself")]
    Alias,
    #[error("of tags only `!!str` is read; leave it out, and quote what is to be text")]
    Tag,
    #[error("a key must be text; quote it")]
    KeyNotText,
    #[error("JSON has no such number; quote it")]
    NoJsonNumber,

    #[error("expected {expected}")]
    Expected { expected: &'static str },
    #[error("there is no such field; there are {known}")]
    UnknownField { known: &'static str },
    #[error("`{field}` is missing")]
    MissingField { field: &'static str },
    #[error("another version of this file; version {known} is read")]
    UnknownVersion { known: u32 },

    #[error("`binaryData` is no text, and a variable is; move it out of this object")]
    BinaryData,
    #[error("this is not base64; write text under `stringData`, or encode it")]
    NotBase64,
    #[error("this is base64 of something that is not UTF-8 text, and a variable is text; leave it out")]
    BinaryValue,
}

/// The problems of one file: told one by one as far as they can be of use, then counted.
#[derive(Debug, Default)]
pub(super) struct Problems {
    listed: Vec<LineProblem>,
    more: usize,
}

impl Problems {
    /// `problem` is only made where there is room for it: its place costs time.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> LineProblem) {
        if self.listed.len() < PROBLEMS {
            self.listed.push(problem());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// By place; the number of those that are not listed comes last.
    pub(super) fn into_list(self) -> Vec<LineProblem> {
        let mut list = self.listed;
        list.sort_by_key(|problem| (problem.line, problem.column));
        if self.more > 0
            && let Some(LineProblem { line, column, .. }) = list.last().cloned()
        {
            list.push(LineProblem { line, column, kind: LineProblemKind::More { count: self.more } });
        }
        list
    }
}

/// One reason why a file cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteProblem {
    /// The variable, on one line and cut to a sensible length; empty when it is not about one.
    pub name: String,
    pub kind: WriteProblemKind,
}

impl WriteProblem {
    pub(super) fn new(name: &str, kind: WriteProblemKind) -> Self {
        const SHOWN_CHARS: usize = 128;
        // Control characters would let a name forge lines of a log.
        let shown = name.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Self { name: shown.collect(), kind }
    }
}

impl fmt::Display for WriteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { write!(f, "{}", self.kind) } else { write!(f, "`{}`: {}", self.name, self.kind) }
    }
}

impl std::error::Error for WriteProblem {}

/// What this format cannot carry, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteProblemKind {
    #[error("a name is a letter or `_`, then letters, digits and `_`")]
    InvalidName,
    #[error("it is there more than once")]
    Duplicate,
    #[error("the value contains a NUL byte")]
    NulByte,
    #[error(
        "the value refers to other variables, which nobody resolves who reads this format; export what they come to"
    )]
    Reference,
    #[error("the value has several lines, which this format cannot carry; use dotenv, json, yaml or k8s")]
    SeveralLines,
    #[error("the value ends in a carriage return, which Docker drops; use dotenv, json, yaml or k8s")]
    CarriageReturnAtEnd,
    #[error("its line takes {bytes} bytes and Docker reads {limit}; use dotenv, json, yaml or k8s")]
    LineTooLong { bytes: usize, limit: usize },
    #[error("the objects need a name")]
    NoObjectName,
    #[error("the values of the {kind} take {bytes} bytes and Kubernetes takes {limit}; export fewer variables at once")]
    ObjectTooLarge { kind: &'static str, bytes: usize, limit: usize },
}
