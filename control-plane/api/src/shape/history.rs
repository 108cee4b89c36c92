//! States of environments: with origins, compared, and gone back to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use outrigger_catalog::{At, EffectiveVariable, Side};
use outrigger_configuration::diff;
use outrigger_protocol::id::EnvironmentId;
use outrigger_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problems;
use crate::error::ApiError;

/// Which state of the variables.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StateParameters {
    /// With what is inherited, with references expanded, and with the origin of each value.
    #[serde(default)]
    pub(crate) effective: bool,
    /// As this generation had them; the newest if absent.
    generation: Option<u64>,
    /// As they were at this time, RFC 3339.
    at: Option<String>,
}

impl StateParameters {
    pub(crate) fn at(&self) -> Result<At, ApiError> {
        let mut problems = Problems::default();
        let time = problems.parse("at", self.at.as_deref(), "a time such as 2026-01-31T12:00:00Z", |text| {
            let time: Timestamp = text.parse().ok()?;
            u64::try_from(time.as_millisecond()).ok().map(UnixMillis::from_millis)
        });
        if self.generation.is_some() && self.at.is_some() {
            problems.add("at", "and generation exclude each other");
        }
        let generation = self.generation.map(At::Generation);
        problems.finish(|| generation.or(time.map(At::Time)).unwrap_or_default())
    }
}

/// What is compared with what.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffParameters {
    /// A generation of this environment. If absent, the one before `to`; against another environment, the newest.
    from: Option<u64>,
    /// A generation of this environment, or of the other; the newest if absent.
    to: Option<u64>,
    /// Another environment, by its id.
    environment: Option<String>,
    /// Compare what programs get. If absent, true against another environment and false otherwise: then what the
    /// environment itself writes is compared.
    effective: Option<bool>,
}

impl DiffParameters {
    /// Both sides and whether what programs get is compared. `newest` is the newest generation of `own`.
    pub(crate) fn sides(&self, own: EnvironmentId, newest: u64) -> Result<(Side, Side, bool), ApiError> {
        let mut problems = Problems::default();
        let expected = "the id of an environment";
        let other = problems.parse("environment", self.environment.as_deref(), expected, |text| text.parse().ok());
        let at = |number: Option<u64>| number.map_or(At::Now, At::Generation);
        let from = match other {
            Some(_) => at(self.from),
            None => At::Generation(self.from.unwrap_or_else(|| self.to.unwrap_or(newest).saturating_sub(1))),
        };
        let to = Side { environment: other.unwrap_or(own), at: at(self.to) };
        let effective = self.effective.unwrap_or(other.is_some());
        problems.finish(|| (Side { environment: own, at: from }, to, effective))
    }
}

/// An environment that something comes from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Source {
    id: String,
    /// `production/eu`; null for one that is gone.
    name: Option<String>,
}

/// A variable that a value is put together from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reference {
    key: String,
    environment: Source,
    /// The environment that gives that variable its value.
    origin: Source,
}

/// Where an effective value comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Provenance {
    /// The environment that gives the value.
    pub(crate) origin: Source,
    /// It comes from an environment that this one extends.
    inherited: bool,
    /// The environments whose values this one overrides, base first.
    overrides: Vec<Source>,
    /// What the value refers to.
    references: Vec<Reference>,
}

/// What environments are called.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) BTreeMap<EnvironmentId, String>);

impl Names {
    pub(crate) fn source(&self, id: EnvironmentId) -> Source {
        Source { id: id.to_string(), name: self.0.get(&id).cloned() }
    }

    /// Every environment that the provenance of a variable names.
    pub(crate) fn needed(variable: &EffectiveVariable) -> impl Iterator<Item = EnvironmentId> + '_ {
        let references = variable.references.iter().flat_map(|reference| [reference.environment, reference.origin]);
        std::iter::once(variable.origin).chain(variable.overrides.iter().copied()).chain(references)
    }

    pub(crate) fn provenance(&self, environment: EnvironmentId, variable: &EffectiveVariable) -> Provenance {
        let reference = |reference: &outrigger_catalog::Reference| Reference {
            key: reference.key.clone(),
            environment: self.source(reference.environment),
            origin: self.source(reference.origin),
        };
        Provenance {
            origin: self.source(variable.origin),
            inherited: variable.origin != environment,
            overrides: variable.overrides.iter().map(|id| self.source(*id)).collect(),
            references: variable.references.iter().map(reference).collect(),
        }
    }
}

/// One variable that is different.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    key: String,
    /// added, removed or changed
    change: &'static str,
    /// What is different about one that is changed: value, type, secrecy, required, description, expansion.
    aspects: Vec<&'static str>,
    before: Option<Shown>,
    after: Option<Shown>,
}

/// One side of a difference.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// Null for one that has none, and for one that is secret on either side.
    value: Option<String>,
    masked: bool,
    /// The environment does not have what it inherits under the name; nothing else is said then.
    removed: bool,
    is_encrypted: bool,
    is_required: bool,
    description: String,
    variable_type: &'static str,
}

impl From<diff::Difference> for Difference {
    fn from(difference: diff::Difference) -> Self {
        let diff::Difference { name: key, change } = difference;
        let (change, before, after, aspects) = match change {
            diff::Change::Added(after) => ("added", None, Some(after), Vec::new()),
            diff::Change::Removed(before) => ("removed", Some(before), None, Vec::new()),
            diff::Change::Changed { before, after, aspects } => ("changed", Some(before), Some(after), aspects),
        };
        let aspects = aspects.into_iter().map(aspect).collect();
        Self { key, change, aspects, before: before.map(Shown::from), after: after.map(Shown::from) }
    }
}

impl From<diff::Shown> for Shown {
    fn from(shown: diff::Shown) -> Self {
        let removed = shown.value == diff::ShownValue::Tombstone;
        let (value, masked) = match shown.value {
            diff::ShownValue::Text(text) => (Some(text), false),
            diff::ShownValue::Hidden => (None, true),
            diff::ShownValue::Unset | diff::ShownValue::Tombstone => (None, false),
        };
        Self {
            value,
            masked,
            removed,
            is_encrypted: shown.secret,
            is_required: shown.required,
            description: shown.description,
            variable_type: shown.kind.name(),
        }
    }
}

const fn aspect(aspect: diff::Aspect) -> &'static str {
    match aspect {
        diff::Aspect::Value => "value",
        diff::Aspect::Kind => "type",
        diff::Aspect::Secrecy => "secrecy",
        diff::Aspect::Requiredness => "required",
        diff::Aspect::Description => "description",
        diff::Aspect::Expansion => "expansion",
    }
}

/// To which generation to go back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    pub(crate) generation: u64,
    /// Why, for the history.
    #[serde(default)]
    pub(crate) message: String,
}
