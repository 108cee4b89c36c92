//! Inheritance: the layers of an environment, and what they come to before any reference is looked at.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;

use super::layer::{Layer, Project, Variable};
use super::limits;
use super::problem::{Circle, ProblemKind, shown};

/// A variable of an effective environment, its value as written.
pub(super) struct Merged<'a> {
    pub(super) value: Option<&'a str>,
    pub(super) expand: bool,
    pub(super) kind: VariableKind,
    pub(super) secret: bool,
    pub(super) required: bool,
    pub(super) description: &'a str,
    /// The layer that gives the value, or the last one that declares the variable.
    pub(super) origin: &'a Layer,
    pub(super) shadows: Vec<EnvironmentId>,
}

/// A chain that cannot be followed to its end, and the layer that is to blame.
pub(super) struct Broken<'a> {
    pub(super) layer: &'a Layer,
    pub(super) kind: ProblemKind,
}

/// The layers of the environment that begins with `layer`, base first. Adds all of them to `looked_at`, also those of
/// a chain that turns out to be broken.
pub(super) fn layers<'a, P: Project + ?Sized>(
    project: &'a P,
    layer: &'a Layer,
    looked_at: &mut BTreeSet<EnvironmentId>,
) -> Result<Vec<&'a Layer>, Broken<'a>> {
    let mut chain: Vec<&Layer> = Vec::new();
    let mut next = Some(layer);
    while let Some(layer) = next {
        if let Some(at) = chain.iter().position(|seen| seen.environment == layer.environment) {
            let circle = Circle::new(chain[at..].iter(), |layer| shown(&layer.label));
            return Err(Broken { layer, kind: ProblemKind::ExtendsLoop { circle } });
        }
        if chain.len() == limits::CHAIN {
            return Err(Broken { layer: chain[0], kind: ProblemKind::ExtendsTooDeep { limit: limits::CHAIN } });
        }
        if !looked_at.contains(&layer.environment) && looked_at.len() == limits::ENVIRONMENTS {
            let kind = ProblemKind::TooManyEnvironments { limit: limits::ENVIRONMENTS };
            return Err(Broken { layer: chain.first().copied().unwrap_or(layer), kind });
        }
        looked_at.insert(layer.environment);
        chain.push(layer);
        next = match layer.extends {
            None => None,
            Some(base) => Some(project.layer(base).ok_or(Broken { layer, kind: ProblemKind::AbsentBase })?),
        };
    }
    chain.reverse();
    Ok(chain)
}

/// The variables of a chain of layers, base first.
pub(super) fn merge<'a>(chain: &[&'a Layer]) -> BTreeMap<&'a str, Merged<'a>> {
    let mut merged = BTreeMap::new();
    let mut secrets = BTreeSet::new();
    for layer in chain {
        for name in &layer.tombstones {
            merged.remove(name.as_str());
        }
        for variable in &layer.variables {
            let name = variable.name.as_str();
            if variable.is_secret() {
                secrets.insert(name);
            }
            let below = merged.remove(name);
            merged.insert(name, Merged::over(below, layer, variable));
        }
    }
    // Not even a tombstone in between makes a name plain again: the secret it once had may be what is written anew.
    for (name, variable) in &mut merged {
        variable.secret = secrets.contains(name);
    }
    merged
}

impl<'a> Merged<'a> {
    /// `variable` of `layer`, over what the layers before it say about the name.
    fn over(below: Option<Self>, layer: &'a Layer, variable: &'a Variable) -> Self {
        let mut merged = Self {
            value: variable.value.as_ref().map(|value| value.as_str()),
            expand: variable.expand,
            kind: variable.kind,
            secret: variable.is_secret(),
            required: variable.required,
            description: &variable.description,
            origin: layer,
            shadows: Vec::new(),
        };
        let Some(mut below) = below else { return merged };
        merged.required |= below.required;
        if merged.description.is_empty() {
            merged.description = below.description;
        }
        match (merged.value, below.value) {
            (None, Some(_)) => Self { required: merged.required, description: merged.description, ..below },
            (None, None) => merged,
            (Some(_), below_value) => {
                if below_value.is_some() {
                    below.shadows.push(below.origin.environment);
                }
                Self { shadows: below.shadows, ..merged }
            }
        }
    }
}

/// The names that a layer writes more than once.
pub(super) fn written_twice(layer: &Layer) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let written = layer.variables.iter().map(|variable| &variable.name).chain(&layer.tombstones);
    written.map(String::as_str).filter(|name| !names.insert(*name)).collect()
}
