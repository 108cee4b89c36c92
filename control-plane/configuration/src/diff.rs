//! What is different between two sets of variables: of one environment at two times, or of two environments; as
//! written, or effective.
//!
//! What must never be true: a secret in a difference. Of a value that is secret on either side, neither side is
//! shown, and whether they are equal is found in a time that does not depend on where they differ.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use outrigger_protocol::environment::VariableKind;
use subtle::ConstantTimeEq;

use crate::resolve::{Effective, EffectiveEntry, Layer, Variable};

/// One variable as a side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub name: &'a str,
    pub value: Value<'a>,
    pub kind: VariableKind,
    pub secret: bool,
    pub required: bool,
    pub description: &'a str,
    pub expand: bool,
}

/// A value to compare. It is not formatted.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// The layer takes away what it would inherit.
    Tombstone,
    Unset,
    Text(&'a str),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tombstone => "Tombstone",
            Self::Unset => "Unset",
            Self::Text(_) => "Text(..)",
        })
    }
}

/// One name that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub name: String,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Added(Shown),
    Removed(Shown),
    Changed {
        before: Shown,
        after: Shown,
        /// At least one, in the order of [`Aspect`].
        aspects: Vec<Aspect>,
    },
}

/// What can be different about a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    Value,
    Kind,
    Secrecy,
    Requiredness,
    Description,
    /// Whether references in the value are expanded.
    Expansion,
}

/// A variable as a reader of the difference may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub value: ShownValue,
    pub kind: VariableKind,
    pub secret: bool,
    pub required: bool,
    pub description: String,
    pub expand: bool,
}

/// A value as a reader may see it. [`Text`](Self::Text) is told to readers, and not to logs: it is not formatted.
#[derive(Clone, PartialEq, Eq)]
pub enum ShownValue {
    /// The layer takes away what it would inherit. Kind, description and the like mean nothing then.
    Tombstone,
    Unset,
    /// There is one, and it is secret: on this side, on the other, or on both.
    Hidden,
    Text(String),
}

impl fmt::Debug for ShownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tombstone => "Tombstone",
            Self::Unset => "Unset",
            Self::Hidden => "Hidden",
            Self::Text(_) => "Text(..)",
        })
    }
}

/// What has to change in `before` to have `after`, by name. Of a name that is given more than once, the last counts.
#[must_use]
pub fn diff<'b, 'a>(
    before: impl IntoIterator<Item = View<'b>>,
    after: impl IntoIterator<Item = View<'a>>,
) -> Vec<Difference> {
    let mut pairs: BTreeMap<&str, (Option<View<'_>>, Option<View<'_>>)> = BTreeMap::new();
    for view in before {
        pairs.entry(view.name).or_default().0 = Some(view);
    }
    for view in after {
        pairs.entry(view.name).or_default().1 = Some(view);
    }
    let difference = |(name, (before, after)): (&str, _)| {
        Some(Difference { name: name.to_owned(), change: Change::between(before, after)? })
    };
    pairs.into_iter().filter_map(difference).collect()
}

impl Change {
    fn between(before: Option<View<'_>>, after: Option<View<'_>>) -> Option<Self> {
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(Self::Added(after.shown(after.is_secret()))),
            (Some(before), None) => Some(Self::Removed(before.shown(before.is_secret()))),
            (Some(before), Some(after)) => {
                let aspects = aspects(before, after);
                let secret = before.is_secret() || after.is_secret();
                let (before, after) = (before.shown(secret), after.shown(secret));
                (!aspects.is_empty()).then_some(Self::Changed { before, after, aspects })
            }
        }
    }
}

fn aspects(before: View<'_>, after: View<'_>) -> Vec<Aspect> {
    let is_tombstone = |view: View<'_>| matches!(view.value, Value::Tombstone);
    if is_tombstone(before) || is_tombstone(after) {
        // Nothing else is there to be compared.
        return if is_tombstone(before) && is_tombstone(after) { Vec::new() } else { vec![Aspect::Value] };
    }
    let different = [
        (Aspect::Value, !before.value.equals(after.value)),
        (Aspect::Kind, before.kind != after.kind),
        (Aspect::Secrecy, before.is_secret() != after.is_secret()),
        (Aspect::Requiredness, before.required != after.required),
        (Aspect::Description, before.description != after.description),
        (Aspect::Expansion, before.expand != after.expand),
    ];
    different.into_iter().filter_map(|(aspect, is_different)| is_different.then_some(aspect)).collect()
}

impl<'a> Value<'a> {
    /// In a time that tells whether the lengths are equal and nothing else about the texts.
    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.as_bytes().ct_eq(other.as_bytes()).into(),
            (Self::Unset, Self::Unset) | (Self::Tombstone, Self::Tombstone) => true,
            _ => false,
        }
    }

    fn of(value: Option<&'a str>) -> Self {
        value.map_or(Self::Unset, Self::Text)
    }
}

impl<'a> View<'a> {
    /// A layer's mark that an inherited variable is not to be there.
    #[must_use]
    pub const fn tombstone(name: &'a str) -> Self {
        let (value, kind) = (Value::Tombstone, VariableKind::String);
        Self { name, value, kind, secret: false, required: false, description: "", expand: false }
    }

    fn is_secret(self) -> bool {
        self.secret || self.kind == VariableKind::Secret
    }

    fn shown(self, hide: bool) -> Shown {
        let value = match self.value {
            Value::Tombstone => ShownValue::Tombstone,
            Value::Unset => ShownValue::Unset,
            Value::Text(_) if hide => ShownValue::Hidden,
            Value::Text(text) => ShownValue::Text(text.to_owned()),
        };
        let (secret, description) = (self.is_secret(), self.description.to_owned());
        Shown { value, kind: self.kind, secret, required: self.required, description, expand: self.expand }
    }
}

impl<'a> From<&'a Variable> for View<'a> {
    fn from(variable: &'a Variable) -> Self {
        let Variable { name, value, kind, secret, required, description, expand } = variable;
        let value = Value::of(value.as_deref().map(String::as_str));
        Self { name, value, kind: *kind, secret: *secret, required: *required, description, expand: *expand }
    }
}

impl<'a> From<&'a EffectiveEntry> for View<'a> {
    /// Where the value comes from is not compared: what a program gets is the same.
    fn from(EffectiveEntry { entry, description, .. }: &'a EffectiveEntry) -> Self {
        let value = Value::of(entry.value.as_deref().map(String::as_str));
        let (kind, secret, required) = (entry.kind, entry.secret, entry.required);
        Self { name: &entry.name, value, kind, secret, required, description, expand: false }
    }
}

impl Layer {
    /// What is written here, for a [`diff`]. `secret_names` are those that the layers below make secret, which this
    /// one need not repeat ([`secret_names`](crate::resolve::secret_names)).
    pub fn views<'a>(&'a self, secret_names: &'a BTreeSet<&str>) -> impl Iterator<Item = View<'a>> {
        let written = self.variables.iter().map(View::from);
        let written = written.map(|view| View { secret: view.secret || secret_names.contains(view.name), ..view });
        written.chain(self.tombstones.iter().map(|name| View::tombstone(name)))
    }
}

impl Effective {
    /// What a program gets, for a [`diff`].
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.entries.iter().map(View::from)
    }
}
