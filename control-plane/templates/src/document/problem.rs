use std::fmt;

use outrigger_protocol::environment;

use crate::limits;
use crate::nearest::hint;
use crate::template::Unfit;

/// Where in the file something is, as an editor counts: lines and characters, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// One thing that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `variables[3].default.staging`, counted from 0; empty for the file as a whole.
    pub path: String,
    pub place: Option<Place>,
    pub kind: ProblemKind,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    #[error("the file has {bytes} bytes; the limit is {limit}")]
    FileTooLarge { bytes: usize, limit: usize },
    /// Not YAML, or YAML with anchors, aliases, or several documents.
    #[error("not readable: {0}")]
    Unreadable(String),
    #[error("has to be a mapping of names to values")]
    NotMapping,
    #[error("has to be a list")]
    NotList,
    #[error("has to be a text")]
    NotText,
    #[error("has to be true or false")]
    NotBoolean,
    #[error("has to be a whole number from {least} to {most}")]
    NotCount { least: usize, most: usize },
    #[error("required")]
    Missing,
    #[error("unknown{}", hint(*nearest))]
    UnknownField { nearest: Option<&'static str> },
    #[error("there is one already, on line {first}")]
    Repeated { first: u64 },
    #[error("listed more than once")]
    RepeatedValue,
    #[error("must not be empty")]
    Empty,
    #[error("has {length} {unit}; the limit is {limit}")]
    TooLong { length: usize, unit: &'static str, limit: usize },
    #[error("has {count} elements; the limit is {limit}")]
    TooMany { count: usize, limit: usize },
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error("has to be lower-case letters, digits and single hyphens between them, as in `google-cloud`")]
    NotSlug,
    #[error("has to be letters, digits, `.`, `-` and `+`, as in `1.2.0`")]
    NotVersion,
    #[error("has to be a URL that begins with https://")]
    NotHttps,
    #[error("{0}")]
    Name(environment::ProblemKind),
    #[error("{0}")]
    Kind(environment::UnknownVariableKind),
    #[error("contradicts `kind: secret`, which is always secret")]
    SecretByKind,
    #[error("a name that begins with `{prefix}` ends up in every visitor's browser and cannot be secret")]
    BrowserSecret { prefix: &'static str },
    #[error("a secret has no default: a template is no place for one. Let it be generated, or passed in")]
    SecretDefault,
    #[error("only a secret can be generated: set `kind: secret` or `secret: true`")]
    GeneratedPlain,
    #[error("what is generated cannot be held to `values` or a `pattern`, nor to a kind other than string or secret")]
    GeneratedConstrained,
    #[error("no way to generate a secret: expected {}", generators())]
    UnknownGenerator,
    #[error("does not go with `kind: {generator}`, which takes {takes}")]
    GeneratorField { generator: String, takes: &'static str },
    #[error("has to be at least two different printable ASCII characters, each once")]
    NotAlphabet,
    #[error("must not have both `$` and `{{`: what is drawn could read as a reference")]
    ReferringAlphabet,
    #[error("makes secrets of {bits} bits; at least {least} are needed", least = limits::MIN_ENTROPY_BITS)]
    WeakSecret { bits: u32 },
    #[error("not a pattern: {0}")]
    NotPattern(String),
    #[error("{0}")]
    Unfit(Unfit),
}

fn generators() -> String {
    super::variable::GENERATORS.join(", ")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        write!(f, "{}", self.kind)
    }
}

impl std::error::Error for Problem {}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
    /// How many more there are, beyond [`limits::PROBLEMS`].
    pub omitted: usize,
}

impl From<Problem> for TemplateError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], omitted: 0 }
    }
}

/// One line for each problem.
impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a template")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))?;
        if self.omitted > 0 { write!(f, "\nand {} more", self.omitted) } else { Ok(()) }
    }
}

impl std::error::Error for TemplateError {}
