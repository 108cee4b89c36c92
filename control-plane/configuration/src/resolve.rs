//! Inheritance and references: from the variables of a project, as written, to those that a program gets.
//!
//! An environment is a [`Layer`]. It may extend one other environment of its project, which may extend another: a
//! chain, base first, in which a later layer overrides an earlier one by name. What a value refers to is looked up in
//! the *effective* environment, so a base may write `postgres://${DB_HOST}/app` and leave `DB_HOST` to those who
//! extend it.
//!
//! | in a value      | stands for |
//! |-----------------|------------|
//! | `${KEY}`        | the effective variable `KEY` of the same environment |
//! | `${env:NAME/KEY}` | the effective variable `KEY` of the environment that people call `NAME`, which may contain `/` |
//! | `$${`           | `${`; in front of a `{`, each `$$` stands for one `$`, so `$$${KEY}` is a `$` and a reference |
//! | any other `${`  | an error, with its place and what to write instead |
//!
//! A value that is not to be expanded is taken literally.
//!
//! What must never be true: a reference that cannot be resolved and yet yields a text; a value that contains a secret
//! and is not secret itself; a problem that shows a value; work or memory beyond the [limits], whatever the
//! values say. Nothing here recurses: the depth of a chain of references costs heap, and is bounded.

mod chain;
mod effective;
mod expand;
mod graph;
mod layer;
pub mod limits;
mod problem;
mod reference;

#[cfg(test)]
mod tests;

pub use effective::{Effective, EffectiveEntry, Source};
pub use layer::{Layer, LookupError, Project, Variable};
pub use problem::{Circle, Position, Problem, ProblemKind, Unresolvable};

use std::collections::BTreeSet;

use outrigger_protocol::id::EnvironmentId;

/// What the variables of `environment` come to, and where each of them comes from.
///
/// The values are checked against their kinds and the kernel's limits. Two rules of
/// [`Environment::validate`](outrigger_protocol::environment::Environment::validate) are left to the delivery: a
/// required variable without a value, which a base declares for those who extend it, and a dangerous name, which a
/// deployment may allow.
///
/// # Errors
/// Every problem at once. They carry the [dependencies](Unresolvable::dependencies) all the same: a change of one of
/// them may be what solves the problem.
pub fn resolve<P: Project + ?Sized>(project: &P, environment: EnvironmentId) -> Result<Effective, Unresolvable> {
    expand::Expansion::new(project, environment).run()
}

/// The names that are secret in `environment` because it or one that it extends says so: whatever a layer writes under
/// one of them is to be kept and shown as a secret. Of a chain that is broken, as far as it goes.
pub fn secret_names<P: Project + ?Sized>(project: &P, environment: EnvironmentId) -> BTreeSet<&str> {
    let bases = std::iter::successors(project.layer(environment), |layer| project.layer(layer.extends?));
    let variables = bases.take(limits::CHAIN).flat_map(|layer| &layer.variables);
    variables.filter(|variable| variable.is_secret()).map(|variable| variable.name.as_str()).collect()
}
