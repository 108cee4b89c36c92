//! A variable on its way in, and one on its way out.

use std::fmt;

use outrigger_protocol::environment::VariableKind;
use zeroize::Zeroizing;

use super::notation;

/// A variable as a file has it. What the file does not say is `None`.
#[derive(Clone, PartialEq, Eq)]
pub struct ParsedVariable {
    pub name: String,
    /// `None` where the file names the variable and gives it no value; an empty text is a value.
    pub value: Option<Zeroizing<String>>,
    /// Where the name is, from 1.
    pub line: usize,
    /// Whether a `${` in the value is text. It is stored with
    /// [`expand`](crate::resolve::Variable::expand)` = !literal`, or as [`written`](Self::written).
    pub literal: bool,
    pub kind: Option<VariableKind>,
    pub secret: Option<bool>,
    pub required: Option<bool>,
    pub description: Option<String>,
    /// The environment is not to have what it inherits under this name; nothing else is said then.
    pub removed: bool,
}

impl ParsedVariable {
    pub(super) const fn new(name: String, value: Option<Zeroizing<String>>) -> Self {
        Self {
            name,
            value,
            line: 1,
            literal: false,
            kind: None,
            secret: None,
            required: None,
            description: None,
            removed: false,
        }
    }

    /// The value as it is written where `${` begins a reference: equal for two variables that mean the same.
    #[must_use]
    pub fn written(&self) -> Option<Zeroizing<String>> {
        self.value.as_ref().map(|value| if self.literal { notation::double_dollars(value) } else { value.clone() })
    }
}

/// A value is never formatted: files do not say what is secret.
impl fmt::Debug for ParsedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedVariable")
            .field("name", &self.name)
            .field("set", &self.value.is_some())
            .field("line", &self.line)
            .field("literal", &self.literal)
            .field("kind", &self.kind)
            .field("secret", &self.secret)
            .field("required", &self.required)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}

/// A variable to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportedVariable {
    pub name: String,
    /// `None` is a variable that is not set, or whose value is not to be told.
    pub value: Option<Zeroizing<String>>,
    /// Whether a `${` in the value is text, as it is in everything that a program gets.
    pub literal: bool,
    pub kind: VariableKind,
    pub secret: bool,
    pub required: bool,
    /// May be empty. Only the full form has it.
    pub description: String,
    /// What people call the environment that the value comes from, for the reader's information.
    pub origin: Option<String>,
    /// The environment does not have what it inherits under this name. There is no value then; only the full form can
    /// say so, and formats with comments tell it in one.
    pub removed: bool,
}

/// A value is never formatted, not even one that is not secret: its owner may have forgotten to say so.
impl fmt::Debug for ExportedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedVariable")
            .field("name", &self.name)
            .field("set", &self.value.is_some())
            .field("literal", &self.literal)
            .field("kind", &self.kind)
            .field("secret", &self.secret)
            .field("required", &self.required)
            .field("origin", &self.origin)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}
