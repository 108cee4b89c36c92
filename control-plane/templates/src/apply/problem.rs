use std::fmt;

use crate::generate::Exhausted;
use crate::nearest::hint;
use crate::template::Unfit;

/// How much of a name goes into a message: an override's is a caller's text and may be anything.
const SHOWN_KEY_CHARS: usize = 128;

/// Why a template was not applied. Nothing was, then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("the template cannot be applied{}", lines(problems))]
    Refused {
        /// At least one.
        problems: Vec<ApplyProblem>,
    },
    #[error("no random value for `{key}`")]
    Randomness {
        key: String,
        #[source]
        source: Exhausted,
    },
}

fn lines(problems: &[ApplyProblem]) -> String {
    problems.iter().map(|problem| format!("\n{problem}")).collect()
}

/// One reason. Never with a value that a caller passed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyProblem {
    /// The variable; empty when the problem is that of all overrides.
    pub key: String,
    pub refusal: Refusal,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "is required, and nothing says what it should be: pass a value in{}{}",
        for_example(example.as_deref()),
        if *can_be_generated { ", or have it generated" } else { "" }
    )]
    Missing { example: Option<String>, can_be_generated: bool },
    #[error("is not a variable of the template{}", hint(nearest.as_deref()))]
    Unknown { nearest: Option<String> },
    #[error("has a value already: leave the override out to keep it, or ask for it to be replaced")]
    AlreadySet,
    #[error("{0}")]
    Unfit(Unfit),
    #[error("{count} overrides; the limit is {limit}")]
    TooManyOverrides { count: usize, limit: usize },
}

fn for_example(example: Option<&str>) -> String {
    example.map(|example| format!(", such as `{example}`")).unwrap_or_default()
}

impl ApplyProblem {
    pub(super) fn new(key: &str, refusal: Refusal) -> Self {
        // Control characters would let a name forge lines of a log.
        let shown = key.chars().take(SHOWN_KEY_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Self { key: shown.collect(), refusal }
    }
}

impl fmt::Display for ApplyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() { write!(f, "{}", self.refusal) } else { write!(f, "`{}`: {}", self.key, self.refusal) }
    }
}

impl std::error::Error for ApplyProblem {}
