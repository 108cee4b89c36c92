//! Ready-made sets of variables: for a framework, a database, a cloud, or whatever an organisation writes one for.
//!
//! A [`Template`] says which variables a program reads, what they look like, which of them it needs, and what they
//! should be where nobody says otherwise. The [official] ones are the files of `official/`, compiled in; organisations
//! write their own in the same format, which [`Template::parse`] reads and [`Template::to_yaml`] writes back.
//! [`apply`] turns a template and what a caller says about it into variables to be written.
//!
//! What must never be true:
//! - a template that holds a secret: a secret has no default, it is [generated](Generator) or passed in;
//! - an example that becomes a value;
//! - a variable that was set and is overwritten without the caller's saying so;
//! - half an application: either all its variables can be written, or every reason why not is told;
//! - an error or a `Debug` output with a value that a caller passed in or that was generated.
//!
//! Nothing here reads a file, a clock or a source of randomness: random bytes come from a closure.

mod apply;
mod document;
mod generate;
pub mod limits;
mod nearest;
mod official;
mod template;

pub use apply::{Application, Applied, AppliedVariable, ApplyError, ApplyProblem, Origin, Refusal, apply};
pub use document::{Place, Problem, ProblemKind, TemplateError};
pub use generate::{Alphabet, Encoding, Exhausted, Generator};
pub use official::{official, official_by_id};
pub use template::{BROWSER_PREFIXES, Defaults, Pattern, Stage, Template, Unfit, UnknownStage, Variable};
