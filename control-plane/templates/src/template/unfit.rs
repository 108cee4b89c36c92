use std::fmt;

use outrigger_protocol::environment::{Entry, ProblemKind, VariableKind};
use zeroize::Zeroizing;

use super::Variable;

/// Why a text cannot be a variable's value; never with the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// Not of its kind, or not what the kernel takes.
    Value(ProblemKind),
    /// None of the values that it may have.
    NotAllowed { allowed: Vec<String> },
    /// Not what it has to look like.
    NotMatching { pattern: String },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(problem) => write!(f, "{problem}"),
            Self::NotAllowed { allowed } => write!(f, "the value is none of: {}", allowed.join(", ")),
            Self::NotMatching { pattern } => write!(f, "the value does not match `{pattern}`"),
        }
    }
}

impl std::error::Error for Unfit {}

impl Variable {
    /// Everything that keeps `value` from being this variable's.
    ///
    /// A text with a reference (`${…}`) is taken as it is, within the kernel's limits: what it comes to is known, and
    /// checked, when the environment is resolved.
    #[must_use]
    pub fn unfit(&self, value: &str) -> Vec<Unfit> {
        let refers = value.contains("${");
        let kind = if refers { VariableKind::String } else { self.kind };
        let mut found: Vec<Unfit> = value_problems(&self.key, kind, value).into_iter().map(Unfit::Value).collect();
        if refers {
            return found;
        }
        if !self.values.is_empty() && !self.values.iter().any(|allowed| allowed == value) {
            found.push(Unfit::NotAllowed { allowed: self.values.clone() });
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.matches(value)) {
            found.push(Unfit::NotMatching { pattern: pattern.as_str().to_owned() });
        }
        found
    }
}

/// What the protocol says of the value. What it says of the name was settled when the template was read.
fn value_problems(key: &str, kind: VariableKind, value: &str) -> Vec<ProblemKind> {
    let entry = Entry {
        name: key.to_owned(),
        value: Some(Zeroizing::new(value.to_owned())),
        kind,
        secret: true,
        required: false,
    };
    let found = entry.validate(&[key.to_owned()]).err().unwrap_or_default();
    found.into_iter().map(|problem| problem.kind).filter(|kind| !is_about_name(*kind)).collect()
}

fn is_about_name(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::InvalidName | ProblemKind::ReservedName | ProblemKind::DangerousName { .. })
}

/// What the protocol says of the name, but for dangerous ones: a deployment may allow those.
pub(crate) fn name_problem(key: &str) -> Option<ProblemKind> {
    let entry = Entry { name: key.to_owned(), value: None, kind: VariableKind::String, secret: false, required: false };
    let found = entry.validate(&[key.to_owned()]).err()?;
    found.into_iter().map(|problem| problem.kind).find(|kind| is_about_name(*kind))
}
