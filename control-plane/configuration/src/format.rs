//! Configuration files: what people keep variables in elsewhere, read and written.
//!
//! | format      | file | references | not set | secrets |
//! |-------------|------|------------|---------|---------|
//! | [`Dotenv`]  | `.env`, grammar in [`dotenv`] | in double quotes and without quotes | a comment | not told |
//! | [`Json`]    | names to values, or the full form, in [`document`] | as in the product | `null` | full form |
//! | [`Yaml`]    | the same in YAML 1.2 | as in the product | `null` | full form |
//! | [`Docker`]  | `docker run --env-file`, in [`docker`] | none: text is text | a comment | not told |
//! | [`K8s`]     | `ConfigMap` and `Secret`, in [`kubernetes`] | none: text is text | a comment | by kind of object |
//!
//! # `${`
//!
//! A value that is kept here is *written*: `${KEY}` refers to another variable, and in front of a `{` each `$$` stands
//! for one `$` (the grammar is [`resolve`](crate::resolve)'s). A value in a file is written too, or it is *literal*:
//! text in which a `${` means itself. [`ParsedVariable::literal`] and [`ExportedVariable::literal`] say which, and
//! [`ParsedVariable::written`] turns both into the one that is kept.
//!
//! | where | `${KEY}` in the file is | a literal `${` in the file is |
//! |-------|-------------------------|-------------------------------|
//! | dotenv, `"…"` or no quotes | a reference | `\${` or `$${` |
//! | dotenv, `'…'` or `` `…` `` | text | `${` |
//! | JSON and YAML, [flat](Form::Flat) and [full](Form::Full) | a reference | `$${` |
//! | JSON and YAML, full, `literal: true` | text | `${` |
//! | JSON and YAML, [plain](Form::Plain) (never read as such) | not possible | `${` |
//! | Docker, Kubernetes | text | `${` |
//!
//! A file for a program cannot hold a reference: nobody would resolve it. Writing says which variable has one.
//!
//! # What must never be true
//!
//! A file with anything wrong in it yields a variable; a problem contains a value, or a part of one, or a name that may
//! be a stray piece of one; a value changes on its way through a file and back; work or memory goes beyond
//! [`FILE_BYTES`] and the limits of `outrigger_protocol`, times a constant. What the parsers of JSON and YAML put into
//! buffers of their own is not zeroised; everything else that holds a value is.
//!
//! [`Dotenv`]: Format::Dotenv
//! [`Json`]: Format::Json
//! [`Yaml`]: Format::Yaml
//! [`Docker`]: Format::Docker
//! [`K8s`]: Format::K8s

pub mod docker;
pub mod document;
pub mod dotenv;
mod exact;
mod export;
mod intake;
mod json;
pub mod kubernetes;
mod name;
mod notation;
mod problem;
mod quoted;
mod source;
mod tree;
mod variable;
mod yaml;

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

pub use export::{Form, WriteOptions};
pub use kubernetes::{InvalidObjectName, ObjectName};
pub use problem::{LineProblem, LineProblemKind, WriteProblem, WriteProblemKind};
pub use variable::{ExportedVariable, ParsedVariable};

use export::Prepared;
use intake::Intake;
use source::Source;

/// Largest file that is read: as much as Kubernetes puts into one object. The largest environments take two files.
pub const FILE_BYTES: usize = 1024 * 1024;
/// Problems of one file that are told one by one; the others are counted.
pub const PROBLEMS: usize = 1000;
/// How deeply mappings and sequences of JSON and YAML may be nested.
pub const NESTING: usize = 64;
/// Values, keys and collections of one JSON or YAML file.
pub const NODES: usize = 128 * 1024;

/// A kind of configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Dotenv,
    Json,
    Yaml,
    /// `docker run --env-file`
    Docker,
    /// Kubernetes `ConfigMap` and `Secret`
    K8s,
}

impl Format {
    pub const ALL: &'static [Self] = &[Self::Dotenv, Self::Json, Self::Yaml, Self::Docker, Self::K8s];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dotenv => "dotenv",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Docker => "docker",
            Self::K8s => "k8s",
        }
    }

    /// RFC 8259 and RFC 9512; the others are text without a registered type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Dotenv | Self::Docker => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Yaml | Self::K8s => "application/yaml",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown format: expected dotenv, json, yaml, docker or k8s")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.iter().copied().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// Reads a file. Its variables come in the order in which it has them, each name once, each within the rules of
/// [`Entry::validate`](outrigger_protocol::environment::Entry::validate), of which two are left to the caller: a
/// dangerous name, which a deployment may allow, and a required variable without a value.
///
/// # Errors
/// Every wrong line, by line and column, in that order; after [`PROBLEMS`] of them only their number. Where the syntax
/// of JSON or YAML is broken, nothing after that place can be judged.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Vec<ParsedVariable>, Vec<LineProblem>> {
    let source = Source::new(bytes)?;
    let mut intake = Intake::new(&source);
    match format {
        Format::Dotenv => dotenv::read(&mut intake),
        Format::Docker => docker::read(&mut intake),
        Format::Json => document::read(json::read(&mut intake), &mut intake),
        Format::Yaml => document::read(yaml::read_one(&mut intake), &mut intake),
        Format::K8s => kubernetes::read(yaml::read_all(&mut intake), &mut intake),
    }
    intake.finish()
}

/// Writes a file with the variables in the given order. What a format cannot express, it does not tell: a dotenv file
/// has no kinds, and a variable without a value is a comment in it.
///
/// # Errors
/// Every variable that this format cannot carry, and why; nothing is written then.
pub fn write(
    format: Format,
    variables: &[ExportedVariable],
    options: &WriteOptions,
) -> Result<Zeroizing<String>, Vec<WriteProblem>> {
    let prepared = Prepared::all(variables)?;
    match format {
        Format::Dotenv => Ok(dotenv::write(&prepared)),
        Format::Docker => docker::write(&prepared),
        Format::Json => document::check(&prepared, options.form).map(|()| json::write(&prepared, options.form)),
        Format::Yaml => document::check(&prepared, options.form).map(|()| yaml::write(&prepared, options.form)),
        Format::K8s => kubernetes::write(&prepared, options.object.as_ref()),
    }
}
