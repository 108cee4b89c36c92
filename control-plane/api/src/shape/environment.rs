use std::fmt;

use jiff::Timestamp;
use outrigger_catalog::model;
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::ProjectId;
use outrigger_secrets::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problems;
use crate::error::ApiError;
use crate::text::{write_hex, write_time};

const STAGES: &str = "one of development, staging, production";
const KINDS: &str = "one of string, number, boolean, json, url, secret";

pub(crate) fn parse_stage(text: &str) -> Option<model::Stage> {
    model::Stage::ALL.into_iter().find(|stage| stage.name() == text)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewEnvironment {
    /// development, staging or production
    #[schema(example = "production")]
    environment: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default = "yes")]
    is_active: bool,
}

fn yes() -> bool {
    true
}

impl NewEnvironment {
    pub(crate) fn check(self, project: ProjectId) -> Result<outrigger_catalog::NewEnvironment, ApiError> {
        let mut problems = Problems::default();
        let stage = problems.parse("environment", Some(&self.environment), STAGES, parse_stage);
        problems.finish(|| outrigger_catalog::NewEnvironment {
            project,
            stage: stage.expect("an absent stage is a problem"),
            name: self.name.unwrap_or(self.environment),
            description: self.description,
            is_active: self.is_active,
        })
    }
}

/// What may be changed of an environment; absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnvironmentChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) is_active: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Environment {
    id: String,
    project_id: String,
    environment: &'static str,
    name: String,
    description: String,
    is_active: bool,
    /// The newest generation; 0 before the first variable.
    generation: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<model::Environment> for Environment {
    fn from(environment: model::Environment) -> Self {
        Self {
            id: environment.id.to_string(),
            project_id: environment.project.to_string(),
            environment: environment.stage.name(),
            name: environment.name,
            description: environment.description,
            is_active: environment.is_active,
            generation: environment.generation,
            created_at: write_time(environment.created_at),
            updated_at: write_time(environment.updated_at),
        }
    }
}

/// A value as JSON may write it: text, or a number or boolean for what it looks like.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Text(String),
    Boolean(bool),
    Number(serde_json::Number),
}

impl Value {
    fn into_secret(self) -> SecretString {
        SecretString::from(match self {
            Self::Text(text) => text,
            Self::Boolean(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A variable's new state. Without `value` the present value stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VariableChange {
    #[schema(value_type = Option<String>)]
    value: Option<Value>,
    /// Kept encrypted and never read back, except by reveal.
    #[serde(default)]
    is_encrypted: bool,
    /// A deployment does not start without it.
    #[serde(default)]
    is_required: bool,
    #[serde(default)]
    description: String,
    /// string, number, boolean, json, url or secret
    variable_type: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamedVariableChange {
    key: String,
    #[schema(value_type = Option<String>)]
    value: Option<Value>,
    #[serde(default)]
    is_encrypted: bool,
    #[serde(default)]
    is_required: bool,
    #[serde(default)]
    description: String,
    variable_type: Option<String>,
}

/// Many changes that become one generation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VariablesChange {
    #[serde(default)]
    variables: Vec<NamedVariableChange>,
    /// Keys to remove.
    #[serde(default)]
    delete: Vec<String>,
    /// Why, for the history.
    #[serde(default)]
    pub(crate) message: String,
}

impl VariableChange {
    pub(crate) fn check(self, key: String) -> Result<Vec<model::VariableChange>, ApiError> {
        let Self { value, is_encrypted, is_required, description, variable_type } = self;
        let named = NamedVariableChange { key, value, is_encrypted, is_required, description, variable_type };
        VariablesChange { variables: vec![named], delete: Vec::new(), message: String::new() }.check()
    }
}

impl VariablesChange {
    pub(crate) fn check(self) -> Result<Vec<model::VariableChange>, ApiError> {
        let mut problems = Problems::default();
        let mut changes = Vec::with_capacity(self.variables.len() + self.delete.len());
        for variable in self.variables {
            let field = format!("{}.variableType", variable.key);
            let kind = problems.parse(&field, variable.variable_type.as_deref(), KINDS, |text| text.parse().ok());
            let default = if variable.is_encrypted { VariableKind::Secret } else { VariableKind::String };
            let kind = kind.unwrap_or(default);
            changes.push(model::VariableChange::Put {
                key: variable.key,
                value: variable.value.map(Value::into_secret),
                is_secret: variable.is_encrypted || kind == VariableKind::Secret,
                is_required: variable.is_required,
                kind,
                description: variable.description,
            });
        }
        changes.extend(self.delete.into_iter().map(|key| model::VariableChange::Delete { key }));
        problems.finish(|| changes)
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    key: String,
    /// Null for a secret, and for a variable that has no value yet.
    value: Option<String>,
    /// The value is there but is not shown.
    masked: bool,
    is_encrypted: bool,
    is_required: bool,
    description: String,
    variable_type: &'static str,
    /// The generation in which it got its present value.
    changed_in: u64,
}

impl From<model::Variable> for Variable {
    fn from(variable: model::Variable) -> Self {
        Self {
            key: variable.key,
            value: variable.value,
            masked: variable.is_secret,
            is_encrypted: variable.is_secret,
            is_required: variable.is_required,
            description: variable.description,
            variable_type: variable.kind.name(),
            changed_in: variable.changed_in,
        }
    }
}

/// A variable after a change, with the generation that the change made.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedVariable {
    #[serde(flatten)]
    pub(crate) variable: Variable,
    pub(crate) generation: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generation {
    generation: u64,
    author: String,
    message: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// SHA-256 of all variables in canonical form, hexadecimal.
    content_hash: String,
}

impl From<model::Generation> for Generation {
    fn from(generation: model::Generation) -> Self {
        Self {
            generation: generation.number,
            author: generation.author,
            message: generation.message,
            created_at: write_time(generation.created_at),
            content_hash: write_hex(&generation.content_hash),
        }
    }
}

/// A secret in clear, because somebody with the right asked for it; audited.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revealed {
    pub(crate) key: String,
    pub(crate) value: String,
}
