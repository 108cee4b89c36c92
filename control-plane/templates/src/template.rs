//! What a template is, once it has been read and checked.

mod pattern;
mod unfit;

use std::fmt;
use std::str::FromStr;

use outrigger_protocol::environment::VariableKind;

pub use pattern::Pattern;
pub use unfit::Unfit;
pub(crate) use unfit::name_problem;

use crate::document::{self, TemplateError};
use crate::generate::Generator;

/// What bundlers put into the JavaScript that every visitor gets, by the beginning of the name: Next.js, Vite, Create
/// React App, Expo, Gatsby, Nuxt. Nothing that begins so can be a secret.
pub const BROWSER_PREFIXES: &[&str] =
    &["NEXT_PUBLIC_", "VITE_", "REACT_APP_", "EXPO_PUBLIC_", "GATSBY_", "NUXT_PUBLIC_"];

/// Which kind of environment a template is applied to; defaults differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Development,
    Staging,
    Production,
}

impl Stage {
    pub const ALL: [Self; 3] = [Self::Development, Self::Staging, Self::Production];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`Stage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown stage: expected development, staging or production")]
pub struct UnknownStage;

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Self, UnknownStage> {
        Self::ALL.into_iter().find(|stage| stage.name() == name).ok_or(UnknownStage)
    }
}

/// A set of variables. Only ever made by [`parse`](Self::parse), so that it holds to the format's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) documentation: Option<String>,
    pub(crate) variables: Vec<Variable>,
}

impl Template {
    /// Reads a template from YAML, or JSON, which is YAML too.
    ///
    /// # Errors
    /// Everything that is wrong with it, with place and path.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        document::read(source)
    }

    /// The canonical YAML: what [`parse`](Self::parse) reads back to an equal template.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        document::write(self)
    }

    /// Lower-case letters, digits and hyphens; unique among the official ones.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `framework`, `database`, `cloud`, `monitoring`, `container`, or one's own; written like an id.
    #[must_use]
    pub fn category(&self) -> &str {
        &self.category
    }

    /// The template's own, not that of what it is for.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// May be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where the vendor documents these variables; begins with `https://`.
    #[must_use]
    pub fn documentation(&self) -> Option<&str> {
        self.documentation.as_deref()
    }

    /// At least one, in the author's order, each name once.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.key == key)
    }
}

/// One variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub(crate) key: String,
    pub(crate) kind: VariableKind,
    pub(crate) required: bool,
    /// Also true where the kind says it.
    pub(crate) secret: bool,
    pub(crate) description: String,
    pub(crate) documentation: Option<String>,
    pub(crate) default: Defaults,
    pub(crate) example: Option<String>,
    pub(crate) generate: Option<Generator>,
    pub(crate) values: Vec<String>,
    pub(crate) pattern: Option<Pattern>,
}

impl Variable {
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    #[must_use]
    pub fn kind(&self) -> VariableKind {
        self.kind
    }

    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Marked so, or secret by its kind.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// May be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where this one is documented, if not where the template's others are.
    #[must_use]
    pub fn documentation(&self) -> Option<&str> {
        self.documentation.as_deref()
    }

    /// Empty for a secret.
    #[must_use]
    pub fn default(&self) -> &Defaults {
        &self.default
    }

    /// What a value looks like. For people: never used as a value.
    #[must_use]
    pub fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    /// How the value is made where nobody gives one; only for secrets.
    #[must_use]
    pub fn generate(&self) -> Option<&Generator> {
        self.generate.as_ref()
    }

    /// All that the value may be; empty where that is not fixed.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    #[must_use]
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }
}

/// The default of each stage, where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults([Option<String>; Stage::ALL.len()]);

impl Defaults {
    pub(crate) fn everywhere(value: &str) -> Self {
        Self(std::array::from_fn(|_| Some(value.to_owned())))
    }

    pub(crate) fn set(&mut self, stage: Stage, value: String) {
        self.0[stage as usize] = Some(value);
    }

    #[must_use]
    pub fn at(&self, stage: Stage) -> Option<&str> {
        self.0[stage as usize].as_deref()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The one default that every stage has.
    #[must_use]
    pub fn common(&self) -> Option<&str> {
        let first = self.0.first()?.as_deref()?;
        self.0.iter().all(|value| value.as_deref() == Some(first)).then_some(first)
    }
}
