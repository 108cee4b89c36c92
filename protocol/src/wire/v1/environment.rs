//! The plaintext that is sealed to an agent. Its bytes are hashed, so the same entries give the same bytes.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec::{CodecError, Discarded};
use crate::environment as domain;
use crate::limits;
use crate::wire::Counterpart;
use crate::wire::bounded::{Seq, within};

#[derive(Serialize, Deserialize)]
pub(crate) struct Environment<'a> {
    #[serde(borrow)]
    entries: Seq<Entry<'a>, { limits::ENVIRONMENT_ENTRIES }>,
}

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    name: &'a str,
    value: Option<&'a str>,
    kind: VariableKind,
    secret: bool,
    required: bool,
}

#[derive(Serialize, Deserialize)]
enum VariableKind {
    String,
    Number,
    Boolean,
    Json,
    Url,
    Secret,
}

impl<'a> Environment<'a> {
    /// The entries in their canonical order, however many they are.
    pub(crate) fn canonical(environment: &'a domain::Environment) -> Self {
        let mut entries: Vec<_> = environment.entries.iter().map(Entry::from).collect();
        entries.sort_by_key(|entry| entry.name);
        Self { entries: Seq::unbounded(entries) }
    }
}

impl<'a> Counterpart<'a> for Environment<'a> {
    type Domain = domain::Environment;

    fn from_domain(environment: &'a domain::Environment) -> Result<Self, CodecError> {
        within("variables of an environment", environment.entries.len(), limits::ENVIRONMENT_ENTRIES)?;
        Ok(Self::canonical(environment))
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::Environment, CodecError> {
        let entries = self.entries.into_items("variables of an environment")?;
        if !entries.is_sorted_by_key(|entry| entry.name) {
            return Err(CodecError::Invalid { what: "the order of an environment's variables" });
        }
        Ok(domain::Environment { entries: entries.into_iter().map(Into::into).collect() })
    }
}

impl<'a> From<&'a domain::Entry> for Entry<'a> {
    fn from(entry: &'a domain::Entry) -> Self {
        Self {
            name: &entry.name,
            value: entry.value.as_ref().map(|value| value.as_str()),
            kind: match entry.kind {
                domain::VariableKind::String => VariableKind::String,
                domain::VariableKind::Number => VariableKind::Number,
                domain::VariableKind::Boolean => VariableKind::Boolean,
                domain::VariableKind::Json => VariableKind::Json,
                domain::VariableKind::Url => VariableKind::Url,
                domain::VariableKind::Secret => VariableKind::Secret,
            },
            secret: entry.secret,
            required: entry.required,
        }
    }
}

impl From<Entry<'_>> for domain::Entry {
    fn from(entry: Entry<'_>) -> Self {
        Self {
            name: entry.name.to_owned(),
            value: entry.value.map(|value| Zeroizing::new(value.to_owned())),
            kind: match entry.kind {
                VariableKind::String => domain::VariableKind::String,
                VariableKind::Number => domain::VariableKind::Number,
                VariableKind::Boolean => domain::VariableKind::Boolean,
                VariableKind::Json => domain::VariableKind::Json,
                VariableKind::Url => domain::VariableKind::Url,
                VariableKind::Secret => domain::VariableKind::Secret,
            },
            secret: entry.secret,
            required: entry.required,
        }
    }
}
