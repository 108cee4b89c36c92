//! Rows that have no type in the model: what the catalog keeps for itself.

use std::fmt;

use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{DeploymentId, EnvironmentId, KeyId, OrganizationId, PolicyId, UserId};
use outrigger_protocol::time::UnixMillis;

use super::scalar::{Base64, Digest, Text};
use super::{Record, RecordError, v1};
use crate::model::{Generation, JoinTokenInfo, Project, SealedValue, TokenInfo, User};

/// A row whose key says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Empty;

impl Record for Empty {
    const ROW: &'static str = "index";
    type Stored = v1::Empty;

    fn to_stored(&self) -> v1::Empty {
        v1::Empty {}
    }

    fn from_stored(_: v1::Empty) -> Result<Self, RecordError> {
        Ok(Self)
    }
}

/// The outcome of a call that returns nothing.
impl Record for () {
    const ROW: &'static str = "result";
    type Stored = v1::Empty;

    fn to_stored(&self) -> v1::Empty {
        v1::Empty {}
    }

    fn from_stored(_: v1::Empty) -> Result<Self, RecordError> {
        Ok(())
    }
}

/// Which master key protects the database. See [`outrigger_secrets::KeyCheck`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyCheckRow {
    pub(crate) check: Vec<u8>,
    /// What the key is called; unknown in databases from before keys had names.
    pub(crate) name: Option<String>,
    /// The key that takes its place. While it is here, what is sealed may be so by either.
    pub(crate) next: Option<NextKeyCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextKeyCheck {
    pub(crate) check: Vec<u8>,
    pub(crate) name: String,
}

impl Record for KeyCheckRow {
    const ROW: &'static str = "key check";
    type Stored = v1::KeyCheck;

    fn to_stored(&self) -> v1::KeyCheck {
        let Self { check, name, next } = self;
        let next =
            next.as_ref().map(|next| v1::NextKeyCheck { check: Base64(next.check.clone()), name: next.name.clone() });
        v1::KeyCheck { check: Base64(check.clone()), name: name.clone(), next }
    }

    fn from_stored(stored: v1::KeyCheck) -> Result<Self, RecordError> {
        let v1::KeyCheck { check, name, next } = stored;
        let next = next.map(|next| NextKeyCheck { check: next.check.0, name: next.name });
        Ok(Self { check: check.0, name, next })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OperatorRow {
    pub(crate) organization: OrganizationId,
    pub(crate) user: UserId,
    /// SHA-256 of the operator's token.
    pub(crate) token_hash: [u8; 32],
}

impl Record for OperatorRow {
    const ROW: &'static str = "operator";
    type Stored = v1::Operator;

    fn to_stored(&self) -> v1::Operator {
        v1::Operator {
            organization: Text(self.organization),
            user: Text(self.user),
            token_hash: Digest(self.token_hash),
        }
    }

    fn from_stored(stored: v1::Operator) -> Result<Self, RecordError> {
        let v1::Operator { organization, user, token_hash } = stored;
        Ok(Self { organization: organization.0, user: user.0, token_hash: token_hash.0 })
    }
}

/// Which organisation something belongs to that is found without knowing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(pub(crate) OrganizationId);

impl Record for Home {
    const ROW: &'static str = "directory";
    type Stored = v1::Home;

    fn to_stored(&self) -> v1::Home {
        v1::Home { organization: Text(self.0) }
    }

    fn from_stored(stored: v1::Home) -> Result<Self, RecordError> {
        Ok(Self(stored.organization.0))
    }
}

/// Whom an e-mail address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) organization: OrganizationId,
    pub(crate) user: UserId,
}

impl Record for Address {
    const ROW: &'static str = "e-mail address";
    type Stored = v1::Address;

    fn to_stored(&self) -> v1::Address {
        v1::Address { organization: Text(self.organization), user: Text(self.user) }
    }

    fn from_stored(stored: v1::Address) -> Result<Self, RecordError> {
        Ok(Self { organization: stored.organization.0, user: stored.user.0 })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrganizationRow {
    pub(crate) name: String,
    pub(crate) created_at: UnixMillis,
}

impl Record for OrganizationRow {
    const ROW: &'static str = "organisation";
    type Stored = v1::Organization;

    fn to_stored(&self) -> v1::Organization {
        v1::Organization { name: self.name.clone(), created_at: self.created_at.as_millis() }
    }

    fn from_stored(stored: v1::Organization) -> Result<Self, RecordError> {
        Ok(Self { name: stored.name, created_at: UnixMillis::from_millis(stored.created_at) })
    }
}

/// A user with what proves the password; absent for who cannot sign in with one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) user: User,
    /// PHC string of an Argon2id hash.
    pub(crate) password: Option<String>,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) info: TokenInfo,
    /// SHA-256 of the token's text.
    pub(crate) hash: [u8; 32],
}

/// A project and the data key that its values are sealed under now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectRow {
    pub(crate) project: Project,
    pub(crate) data_key: KeyId,
}

/// A data key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataKeyRow {
    pub(crate) id: KeyId,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) created_at: UnixMillis,
}

impl Record for DataKeyRow {
    const ROW: &'static str = "data key";
    type Stored = v1::DataKey;

    fn to_stored(&self) -> v1::DataKey {
        v1::DataKey {
            id: Text(self.id),
            wrapped: Base64(self.wrapped.clone()),
            created_at: self.created_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::DataKey) -> Result<Self, RecordError> {
        Ok(Self { id: stored.id.0, wrapped: stored.wrapped.0, created_at: UnixMillis::from_millis(stored.created_at) })
    }
}

/// A generation and the versions that make it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GenerationRow {
    pub(crate) generation: Generation,
    /// Sorted by name; beside each the generation that its version was written in.
    pub(crate) variables: Vec<(String, u64)>,
    /// What the environment extended then.
    pub(crate) extends: Option<EnvironmentId>,
    /// Every other environment that it was put together from, with the generation that it had then. Sorted.
    pub(crate) inputs: Vec<(EnvironmentId, u64)>,
    /// What the names of environments stood for that its values, and those of its inputs, refer to. Sorted.
    pub(crate) names: Vec<(String, EnvironmentId)>,
    /// The generation whose whole content this one has. While it is the newest, it is put together from its inputs as
    /// they were, and not as they are.
    pub(crate) restores: Option<u64>,
}

impl GenerationRow {
    /// A generation without anything that it is made of.
    pub(crate) const fn alone(generation: Generation) -> Self {
        Self { generation, variables: Vec::new(), extends: None, inputs: Vec::new(), names: Vec::new(), restores: None }
    }
}

/// A variable's value as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Declared, without a value.
    Unset,
    /// Not a variable, but that there is to be none: what is inherited under the name is not to be there.
    Removed,
    Plain(String),
    Sealed(SealedValue),
}

/// No value is formatted: its owner may have forgotten to call it secret.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "Unset",
            Self::Removed => "Removed",
            Self::Plain(_) => "Plain([redacted])",
            Self::Sealed(_) => "Sealed([redacted])",
        })
    }
}

/// One version of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableRow {
    /// The generation that this version was written in; part of what a sealed value is bound to.
    pub(crate) generation: u64,
    /// The generation in which the value became what it is.
    pub(crate) changed_in: u64,
    pub(crate) content: Content,
    pub(crate) is_secret: bool,
    pub(crate) is_required: bool,
    pub(crate) kind: VariableKind,
    pub(crate) description: String,
    pub(crate) expand: bool,
}

/// The deployment of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstanceHome(pub(crate) DeploymentId);

impl Record for InstanceHome {
    const ROW: &'static str = "instance directory";
    type Stored = v1::InstanceHome;

    fn to_stored(&self) -> v1::InstanceHome {
        v1::InstanceHome { deployment: Text(self.0) }
    }

    fn from_stored(stored: v1::InstanceHome) -> Result<Self, RecordError> {
        Ok(Self(stored.deployment.0))
    }
}

/// The policy of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyOfDigest(pub(crate) PolicyId);

impl Record for PolicyOfDigest {
    const ROW: &'static str = "policy digest";
    type Stored = v1::PolicyRef;

    fn to_stored(&self) -> v1::PolicyRef {
        v1::PolicyRef { policy: Text(self.0) }
    }

    fn from_stored(stored: v1::PolicyRef) -> Result<Self, RecordError> {
        Ok(Self(stored.policy.0))
    }
}

/// How often a data key was used for an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uses(pub(crate) u64);

impl Record for Uses {
    const ROW: &'static str = "data key use";
    type Stored = v1::Uses;

    fn to_stored(&self) -> v1::Uses {
        v1::Uses { encryptions: self.0 }
    }

    fn from_stored(stored: v1::Uses) -> Result<Self, RecordError> {
        Ok(Self(stored.encryptions))
    }
}

/// A join token with what proves its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinTokenRow {
    pub(crate) info: JoinTokenInfo,
    /// SHA-256 of the secret.
    pub(crate) secret_hash: [u8; 32],
}

/// A join token as its creator gets it; a row only inside a sealed [`KeptResult`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IssuedJoinToken {
    pub(crate) row: JoinTokenRow,
    pub(crate) secret: [u8; 32],
}

/// What an idempotency key was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyRow {
    pub(crate) request_digest: [u8; 32],
    pub(crate) at: UnixMillis,
    /// A request may take several mutations; each keeps its result under its name.
    pub(crate) results: Vec<KeptResult>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptResult {
    pub(crate) operation: String,
    /// Some results hold secrets that are shown once, so all are sealed.
    pub(crate) sealed: Vec<u8>,
}

/// What a request was answered that is more than one mutation; a row only inside a sealed [`KeptResult`]. Its form is
/// its maker's, not the catalog's.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeptAnswer(pub(crate) serde_json::Value);

impl Record for KeptAnswer {
    const ROW: &'static str = "answer";
    type Stored = serde_json::Value;

    fn to_stored(&self) -> serde_json::Value {
        self.0.clone()
    }

    fn from_stored(stored: serde_json::Value) -> Result<Self, RecordError> {
        Ok(Self(stored))
    }
}

impl Record for IdempotencyRow {
    const ROW: &'static str = "idempotency";
    type Stored = v1::Idempotency;

    fn to_stored(&self) -> v1::Idempotency {
        let results = self.results.iter().map(|result| v1::KeptResult {
            operation: result.operation.clone(),
            sealed: Base64(result.sealed.clone()),
        });
        v1::Idempotency {
            request_digest: Digest(self.request_digest),
            at: self.at.as_millis(),
            results: results.collect(),
        }
    }

    fn from_stored(stored: v1::Idempotency) -> Result<Self, RecordError> {
        let results = stored
            .results
            .into_iter()
            .map(|result| KeptResult { operation: result.operation, sealed: result.sealed.0 });
        Ok(Self {
            request_digest: stored.request_digest.0,
            at: UnixMillis::from_millis(stored.at),
            results: results.collect(),
        })
    }
}
