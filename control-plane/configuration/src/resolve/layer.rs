use std::collections::BTreeSet;
use std::fmt;

use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;
use zeroize::Zeroizing;

use super::reference::{Token, Tokens};

/// One variable as a layer writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// `None` declares the variable: it is not set here, and keeps what the layers before have given it. An empty text
    /// is a value.
    pub value: Option<Zeroizing<String>>,
    /// Goes with the value: a declaration does not change the kind of a value that is inherited.
    pub kind: VariableKind,
    /// Only ever tightened along a chain: what is secret in one layer is secret in all that extend it.
    pub secret: bool,
    /// Only ever tightened along a chain.
    pub required: bool,
    /// Empty: that of the layer before.
    pub description: String,
    /// Whether references in the value are expanded; otherwise it is taken literally.
    pub expand: bool,
}

impl Variable {
    /// Whether the value must never be shown: marked so, or secret by its kind.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret || self.kind == VariableKind::Secret
    }
}

/// A value is never formatted, not even one that is not secret: its owner may have forgotten to say so.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name)
            .field("set", &self.value.is_some())
            .field("kind", &self.kind)
            .field("secret", &self.secret)
            .field("required", &self.required)
            .field("expand", &self.expand)
            .finish_non_exhaustive()
    }
}

/// What one environment writes itself: its contribution to every environment that extends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub environment: EnvironmentId,
    /// What people call the environment, and what problems call it; `production/eu`.
    pub label: String,
    /// The environment whose variables this one starts with.
    pub extends: Option<EnvironmentId>,
    /// In any order, each name once.
    pub variables: Vec<Variable>,
    /// Inherited variables that are not to be there. One that is not inherited (any more) is no error.
    pub tombstones: Vec<String>,
}

impl Layer {
    /// The environments that the values here refer to, as they are written. Together with [`extends`](Self::extends),
    /// what has to be loaded before this layer can be resolved; maybe more than a resolution looks at, since a value
    /// may be overridden. A name from a secret value may be part of a secret: look it up, never show it.
    #[must_use]
    pub fn mentions(&self) -> BTreeSet<&str> {
        let expanded = self.variables.iter().filter(|variable| variable.expand);
        let values = expanded.filter_map(|variable| variable.value.as_ref());
        let tokens = values.flat_map(|value| Tokens::new(value));
        let named = |token| if let Ok(Token::Foreign { environment, .. }) = token { Some(environment) } else { None };
        tokens.filter_map(|(_, token)| named(token)).collect()
    }
}

/// The environments of one project, as far as they are loaded.
pub trait Project {
    /// What the environment writes; `None` when the project does not have it.
    fn layer(&self, environment: EnvironmentId) -> Option<&Layer>;

    /// The environment that people call `name`. Called for each reference: to be quick.
    ///
    /// # Errors
    /// There is none, or more than one.
    fn find(&self, name: &str) -> Result<EnvironmentId, LookupError>;
}

/// A name that does not lead to one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    Unknown,
    /// All that it could mean, each by a name that is not ambiguous.
    Ambiguous {
        candidates: Vec<String>,
    },
}
