use std::collections::BTreeSet;

use outrigger_protocol::environment::{Entry, Environment};
use outrigger_protocol::id::EnvironmentId;

/// The variables of an environment with everything inherited and expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    pub environment: EnvironmentId,
    /// By name.
    pub entries: Vec<EffectiveEntry>,
    /// The other environments that were looked at: those that this one extends, those that are referred to, and those
    /// that these extend. The entries change only when one of them does, in its layer or in the name it is found by, or
    /// when another one takes such a name.
    pub dependencies: BTreeSet<EnvironmentId>,
}

/// A variable as a program gets it, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveEntry {
    /// Secret if any layer of the chain says so, or if anything is that the value was put together from.
    pub entry: Entry,
    pub description: String,
    /// The environment that gives the value; for a variable that is not set, the last one that declares it.
    pub origin: EnvironmentId,
    /// The environments of the chain whose values this one overrides, base first.
    pub shadows: Vec<EnvironmentId>,
    /// What the value refers to itself, in the order in which it does; what that refers to in turn is told there.
    pub references: Vec<Source>,
}

/// A variable that a value was put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The environment whose effective variable it is.
    pub environment: EnvironmentId,
    pub key: String,
    /// The environment that gives that variable its value: the same, or one that it extends.
    pub origin: EnvironmentId,
}

impl Effective {
    /// What is sealed for an agent.
    #[must_use]
    pub fn to_environment(&self) -> Environment {
        Environment { entries: self.entries.iter().map(|effective| effective.entry.clone()).collect() }
    }

    /// Whether `entry` comes from an environment that this one extends.
    #[must_use]
    pub fn is_inherited(&self, entry: &EffectiveEntry) -> bool {
        entry.origin != self.environment
    }

    /// The variable of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&EffectiveEntry> {
        let at = self.entries.binary_search_by(|effective| effective.entry.name.as_str().cmp(name)).ok()?;
        self.entries.get(at)
    }
}
