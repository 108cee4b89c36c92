//! The file format. Its reference is `docs/templates.md`.
//!
//! Reading has two steps: YAML to a tree that knows the place of everything in it, and the tree to a template. Only the
//! first ends at its first problem, because what is not YAML has no further parts; the second finds them all.

mod fields;
mod problem;
mod read;
mod tree;
mod variable;
mod write;

#[cfg(test)]
mod tests;

pub use problem::{Place, Problem, ProblemKind, TemplateError};
pub(crate) use read::read;
pub(crate) use write::write;
