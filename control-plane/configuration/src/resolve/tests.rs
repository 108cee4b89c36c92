mod bounds;
mod inheritance;
mod model;
mod references;

use std::collections::BTreeMap;

use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;
use outrigger_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use super::*;

/// A project whose environments are found by their label or, where only one has it, by the part after the last `/`.
#[derive(Debug, Default)]
struct World {
    layers: BTreeMap<EnvironmentId, Layer>,
    by_label: BTreeMap<String, EnvironmentId>,
}

impl World {
    fn with(mut self, label: &str, extends: Option<&str>, variables: Vec<Variable>) -> Self {
        let (environment, label) = (id(label), label.to_owned());
        let layer = Layer { environment, label, extends: extends.map(id), variables, tombstones: Vec::new() };
        self.by_label.insert(layer.label.clone(), environment);
        self.layers.insert(environment, layer);
        self
    }

    /// Takes a name away in the environment that was added last.
    fn without(mut self, label: &str, name: &str) -> Self {
        self.layers.get_mut(&id(label)).unwrap().tombstones.push(name.to_owned());
        self
    }

    fn resolve(&self, label: &str) -> Result<Effective, Unresolvable> {
        let resolved = resolve(self, id(label));
        let dependencies = match &resolved {
            Ok(effective) => &effective.dependencies,
            Err(unresolvable) => {
                assert!(!unresolvable.problems.is_empty());
                &unresolvable.dependencies
            }
        };
        assert!(!dependencies.contains(&id(label)));
        resolved
    }

    /// The value of a variable of an environment that can be resolved.
    fn value(&self, label: &str, name: &str) -> Option<String> {
        let effective = self.resolve(label).unwrap_or_else(|error| panic!("{error}"));
        effective.entry(name).and_then(|found| found.entry.value.as_ref()).map(|value| value.to_string())
    }

    /// What is wrong with an environment, each problem in its words.
    fn problems(&self, label: &str) -> Vec<String> {
        self.resolve(label).expect_err("there is a problem").problems.iter().map(ToString::to_string).collect()
    }
}

impl Project for World {
    fn layer(&self, environment: EnvironmentId) -> Option<&Layer> {
        self.layers.get(&environment)
    }

    fn find(&self, name: &str) -> Result<EnvironmentId, LookupError> {
        if let Some(environment) = self.by_label.get(name) {
            return Ok(*environment);
        }
        let meant: Vec<_> = self.by_label.iter().filter(|(label, _)| label.ends_with(&format!("/{name}"))).collect();
        match meant[..] {
            [] => Err(LookupError::Unknown),
            [(_, environment)] => Ok(*environment),
            _ => {
                Err(LookupError::Ambiguous { candidates: meant.into_iter().map(|(label, _)| label.clone()).collect() })
            }
        }
    }
}

/// The same for the same label.
fn id(label: &str) -> EnvironmentId {
    let mut entropy = [0_u8; 10];
    label.bytes().enumerate().for_each(|(at, byte)| entropy[at % 10] = byte ^ entropy[at % 10].rotate_left(3));
    EnvironmentId::new(UnixMillis::from_millis(label.len() as u64), entropy)
}

fn set(name: &str, value: &str) -> Variable {
    Variable { value: Some(Zeroizing::new(value.to_owned())), ..declared(name) }
}

fn declared(name: &str) -> Variable {
    let kind = VariableKind::String;
    let (name, description) = (name.to_owned(), String::new());
    Variable { name, value: None, kind, secret: false, required: false, description, expand: true }
}

fn secret(variable: Variable) -> Variable {
    Variable { secret: true, ..variable }
}

fn required(variable: Variable) -> Variable {
    Variable { required: true, ..variable }
}

fn literal(variable: Variable) -> Variable {
    Variable { expand: false, ..variable }
}

fn of_kind(kind: VariableKind, variable: Variable) -> Variable {
    Variable { kind, ..variable }
}
