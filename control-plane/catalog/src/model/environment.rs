use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{EnvironmentId, KeyId, ProjectId};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::SecretString;

use super::Risk;

/// Which kind of environment a configuration is for.
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

/// A named configuration of a project. Its variables live in generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    pub id: EnvironmentId,
    pub project: ProjectId,
    pub stage: Stage,
    pub name: String,
    pub description: String,
    pub is_active: bool,
    /// The environment of the same project whose variables this one begins with.
    pub extends: Option<EnvironmentId>,
    /// The newest generation; 0 before the first variable.
    pub generation: u64,
    /// A change of at least this risk is published only once somebody else has approved it.
    pub approval: Option<Risk>,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}

impl Environment {
    /// What people call it, and what no other environment of the project is called: `production/eu`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.stage.name(), self.name)
    }
}

/// A variable as a reader may see it: a secret's value is absent, a plain one's is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub key: String,
    pub value: Option<String>,
    /// It has a value, which may be one that is not told here.
    pub is_set: bool,
    /// It is not a variable but says that there is to be none: what the environment inherits under this name, it does
    /// not have.
    pub is_removed: bool,
    /// The value is kept encrypted and never read back except by reveal.
    pub is_secret: bool,
    pub is_required: bool,
    pub kind: VariableKind,
    pub description: String,
    /// Whether references in the value are expanded; otherwise it is taken literally.
    pub expand: bool,
    /// The generation in which it got its present value.
    pub changed_in: u64,
}

/// One change of one variable, as a caller asks for it.
#[derive(Debug)]
pub enum VariableChange {
    Put {
        key: String,
        /// `None` keeps the present value, which is how a description changes without knowing the secret; for a
        /// new variable it declares one that has no value yet.
        value: Option<SecretString>,
        is_secret: bool,
        is_required: bool,
        kind: VariableKind,
        description: String,
        /// Whether references in the value are expanded; otherwise it is taken literally.
        expand: bool,
    },
    /// What the environment itself says under this name goes: a variable, or that an inherited one is removed.
    Delete { key: String },
    /// The environment is not to have what it inherits under this name.
    Remove { key: String },
}

impl VariableChange {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Remove { key } => key,
        }
    }
}

/// One immutable state of all variables: of those that the environment writes, and of all that it takes from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub environment: EnvironmentId,
    pub number: u64,
    pub author: String,
    /// Who approved it, if somebody had to.
    pub approver: Option<String>,
    pub message: String,
    pub created_at: UnixMillis,
    /// SHA-256 of the canonical plaintext, as the agent computes it ([`outrigger_protocol::environment`]).
    pub content_hash: [u8; 32],
}

/// A sealed value as a table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    pub key: KeyId,
    pub generation: u64,
    pub ciphertext: Vec<u8>,
}
