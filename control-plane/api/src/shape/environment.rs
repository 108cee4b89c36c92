use std::fmt;

use jiff::Timestamp;
use outrigger_catalog::{EffectiveVariable, model};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::ProjectId;
use outrigger_secrets::SecretString;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::Problems;
use super::change::Protection;
use super::history::Provenance;
use crate::error::ApiError;
use crate::text::{write_hex, write_time};

const STAGES: &str = "one of development, staging, production";
const RISKS: &str = "one of low, medium, high";
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
    /// The id of the environment of the same project whose variables this one begins with.
    #[serde(default)]
    extends: Option<String>,
}

const BASE: &str = "the id of an environment";

fn yes() -> bool {
    true
}

impl NewEnvironment {
    pub(crate) fn check(self, project: ProjectId) -> Result<outrigger_catalog::NewEnvironment, ApiError> {
        let mut problems = Problems::default();
        let stage = problems.parse("environment", Some(&self.environment), STAGES, parse_stage);
        let extends = problems.parse("extends", self.extends.as_deref(), BASE, |text| text.parse().ok());
        problems.finish(|| outrigger_catalog::NewEnvironment {
            project,
            stage: stage.expect("an absent stage is a problem"),
            name: self.name.unwrap_or(self.environment),
            description: self.description,
            is_active: self.is_active,
            extends,
        })
    }
}

/// What may be changed of an environment; absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnvironmentChange {
    name: Option<String>,
    description: Option<String>,
    is_active: Option<bool>,
    /// The id of the environment of the same project whose variables this one begins with; null for none.
    #[serde(default, deserialize_with = "given_or_null")]
    #[schema(value_type = Option<String>)]
    extends: Option<Option<String>>,
    /// Which changes somebody else has to approve; null for none.
    #[serde(default, deserialize_with = "given_or_null")]
    #[schema(value_type = Option<Protection>)]
    approval: Option<Option<Protection>>,
}

/// A field that may be left out, which is not the same as null.
fn given_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl EnvironmentChange {
    pub(crate) fn check(self) -> Result<outrigger_catalog::EnvironmentUpdate, ApiError> {
        let mut problems = Problems::default();
        let extends =
            self.extends.map(|base| problems.parse("extends", base.as_deref(), BASE, |text| text.parse().ok()));
        let approval = self.approval.map(|protection| {
            let from = protection.as_ref().map(|protection| protection.from.as_str());
            problems.parse("approval.from", from, RISKS, model::Risk::from_name)
        });
        problems.finish(|| outrigger_catalog::EnvironmentUpdate {
            stage: None,
            name: self.name,
            description: self.description,
            is_active: self.is_active,
            extends,
            approval,
        })
    }
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
    /// The id of the environment whose variables this one begins with.
    extends: Option<String>,
    /// The newest generation; 0 before the first variable.
    generation: u64,
    /// Which changes somebody else than their author has to approve.
    approval: Option<Protection>,
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
            extends: environment.extends.map(|base| base.to_string()),
            generation: environment.generation,
            approval: environment.approval.map(Protection::from),
            created_at: write_time(environment.created_at),
            updated_at: write_time(environment.updated_at),
        }
    }
}

/// A value as JSON may write it: text, or a number or boolean for what it looks like.
pub(crate) struct Value(pub(crate) SecretString);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

/// Above it, not every whole number is a double, and the one that was written may have become another.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number or a boolean")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value(SecretString::from(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value(SecretString::from(text)))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        self.visit_string(flag.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        self.visit_string(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        self.visit_string(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        if number.abs() < EXACT {
            self.visit_string(number.to_string())
        } else {
            Err(E::custom("has to be text: as a number it would not be kept digit by digit"))
        }
    }
}

/// What is to be different about a variable; absent fields stay as they are. A new variable is plain, optional and a
/// string unless it is said otherwise, and has no value before it is given one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VariableChange {
    /// Its name: required in a list of changes, and not taken where the path names the variable.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    key: Option<String>,
    #[schema(value_type = Option<String>)]
    value: Option<Value>,
    /// Kept encrypted and never read back, except by reveal.
    is_encrypted: Option<bool>,
    /// A deployment does not start without it.
    is_required: Option<bool>,
    description: Option<String>,
    /// string, number, boolean, json, url or secret
    variable_type: Option<String>,
    /// The environment is not to have what it inherits under this name; nothing else is said then. Deleting the key lets
    /// it in again.
    removed: Option<bool>,
    /// Expand the references in the value, `${KEY}` and `${env:NAME/KEY}`; false takes it literally. True if it is not
    /// said otherwise.
    expand: Option<bool>,
}

/// A field that may be left out; one that is there has a value.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// Many changes that become one generation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VariablesChange {
    #[serde(default)]
    variables: Vec<VariableChange>,
    /// Keys to remove.
    #[serde(default)]
    delete: Vec<String>,
    /// Why, for the history.
    #[serde(default)]
    message: String,
}

impl VariableChange {
    /// A change of the variable that the path names.
    pub(crate) fn check(self, key: &str, present: &[model::Variable]) -> Result<Vec<model::VariableChange>, ApiError> {
        let mut problems = Problems::default();
        if self.key.is_some() {
            problems.add("key", "is not a field of this request: the path names the variable");
        }
        let change = self.checked(key.to_owned(), "", present, &mut problems);
        problems.finish(|| vec![change])
    }

    fn says_more(&self) -> bool {
        let Self { key: _, value, is_encrypted, is_required, description, variable_type, removed: _, expand } = self;
        value.is_some()
            || is_encrypted.is_some()
            || is_required.is_some()
            || description.is_some()
            || variable_type.is_some()
            || expand.is_some()
    }

    /// What is not said stays as it is now: above all, a secret that gets a new value stays a secret.
    fn checked(
        self,
        key: String,
        path: &str,
        present: &[model::Variable],
        problems: &mut Problems,
    ) -> model::VariableChange {
        if self.removed == Some(true) {
            if self.says_more() {
                problems.add(format!("{path}removed"), "excludes everything else that is said of the variable");
            }
            return model::VariableChange::Remove { key };
        }
        let present = present.iter().find(|variable| variable.key == key && !variable.is_removed);
        let kind = problems
            .parse(&format!("{path}variableType"), self.variable_type.as_deref(), KINDS, |text| text.parse().ok());
        let kind = kind.unwrap_or(match (self.is_encrypted, present.map(|variable| variable.kind)) {
            // It is one by its type alone, which has to go for it to become plain.
            (Some(false), Some(VariableKind::Secret)) | (Some(false) | None, None) => VariableKind::String,
            (_, Some(kind)) => kind,
            (Some(true), None) => VariableKind::Secret,
        });
        let is_encrypted = self.is_encrypted.unwrap_or_else(|| present.is_some_and(|variable| variable.is_secret));
        model::VariableChange::Put {
            key,
            value: self.value.map(|value| value.0),
            is_secret: is_encrypted || kind == VariableKind::Secret,
            is_required: self.is_required.unwrap_or_else(|| present.is_some_and(|variable| variable.is_required)),
            kind,
            expand: self.expand.unwrap_or_else(|| present.is_none_or(|variable| variable.expand)),
            description: self
                .description
                .unwrap_or_else(|| present.map(|variable| variable.description.clone()).unwrap_or_default()),
        }
    }
}

impl VariablesChange {
    /// Names of a kind in a message that the caller did not write, and letters of each: the message has to fit, whatever
    /// the names are.
    const NAMED: usize = 5;
    const NAME_CHARS: usize = 60;

    /// Why, for the history: the caller's words, or else what is changed.
    pub(crate) fn reason(&self) -> String {
        if !self.message.is_empty() {
            return self.message.clone();
        }
        let name = |key: &str| key.chars().filter(char::is_ascii_graphic).take(Self::NAME_CHARS).collect();
        let (removed, set): (Vec<_>, Vec<_>) =
            self.variables.iter().partition(|variable| variable.removed == Some(true));
        let keys = |variables: Vec<&VariableChange>| -> Vec<String> {
            variables.into_iter().filter_map(|variable| variable.key.as_deref()).map(name).collect()
        };
        let deleted: Vec<String> = self.delete.iter().map(|key| name(key)).collect();
        let parts = [("set", keys(set)), ("remove", keys(removed)), ("delete", deleted)];
        let told = parts.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(verb, keys)| {
            let first = keys[..keys.len().min(Self::NAMED)].join(", ");
            match keys.len().saturating_sub(Self::NAMED) {
                0 => format!("{verb} {first}"),
                more => format!("{verb} {first} and {more} more"),
            }
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// The first of the keys to delete that is not there.
    pub(crate) fn absent(&self, present: &[model::Variable]) -> Option<String> {
        self.delete.iter().find(|key| !present.iter().any(|variable| variable.key == **key)).cloned()
    }

    pub(crate) fn check(self, present: &[model::Variable]) -> Result<Vec<model::VariableChange>, ApiError> {
        let mut problems = Problems::default();
        let mut changes = Vec::with_capacity(self.variables.len() + self.delete.len());
        for (at, mut variable) in self.variables.into_iter().enumerate() {
            match variable.key.take() {
                Some(key) => {
                    let path = format!("variables[{at}].");
                    changes.push(variable.checked(key, &path, present, &mut problems));
                }
                None => problems.add(format!("variables[{at}].key"), "is required"),
            }
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
    /// There is a value, and it is not shown. False with a value of null, there is none yet.
    masked: bool,
    /// It is not a variable: the environment does not have what it inherits under this name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    is_encrypted: bool,
    is_required: bool,
    description: String,
    variable_type: &'static str,
    /// Whether references in the value are expanded. Not told of effective variables, whose are.
    #[serde(skip_serializing_if = "Option::is_none")]
    expand: Option<bool>,
    /// The generation in which it got its present value. Not told of effective variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_in: Option<u64>,
    /// Of effective variables.
    #[serde(flatten)]
    provenance: Option<Provenance>,
}

impl Variable {
    pub(crate) fn effective(variable: EffectiveVariable, provenance: Provenance) -> Self {
        Self {
            key: variable.key,
            value: variable.value,
            masked: variable.is_secret && variable.is_set,
            removed: false,
            is_encrypted: variable.is_secret,
            is_required: variable.is_required,
            description: variable.description,
            variable_type: variable.kind.name(),
            expand: None,
            changed_in: None,
            provenance: Some(provenance),
        }
    }
}

impl From<model::Variable> for Variable {
    fn from(variable: model::Variable) -> Self {
        Self {
            key: variable.key,
            value: variable.value,
            masked: variable.is_secret && variable.is_set,
            removed: variable.is_removed,
            is_encrypted: variable.is_secret,
            is_required: variable.is_required,
            description: variable.description,
            variable_type: variable.kind.name(),
            expand: Some(variable.expand),
            changed_in: Some(variable.changed_in),
            provenance: None,
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

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generation {
    generation: u64,
    author: String,
    /// Who approved it, where somebody had to.
    approved_by: Option<String>,
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
            approved_by: generation.approver,
            message: generation.message,
            created_at: write_time(generation.created_at),
            content_hash: write_hex(&generation.content_hash),
        }
    }
}

/// A generation with the variables that the environment itself had then; secrets are masked.
#[derive(Serialize, ToSchema)]
pub(crate) struct GenerationWithVariables {
    #[serde(flatten)]
    generation: Generation,
    variables: Vec<Variable>,
}

impl GenerationWithVariables {
    pub(crate) fn new(generation: model::Generation, variables: Vec<model::Variable>) -> Self {
        Self { generation: generation.into(), variables: variables.into_iter().map(Variable::from).collect() }
    }
}

/// Which value to show.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reveal {
    /// As a program gets it, inherited and expanded, instead of as it is written.
    #[serde(default)]
    pub(crate) effective: bool,
}

/// A secret in clear, because somebody with the right asked for it; audited.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revealed {
    pub(crate) key: String,
    pub(crate) value: String,
}
