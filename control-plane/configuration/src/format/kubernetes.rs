//! Kubernetes `ConfigMap` and `Secret`, as YAML or JSON.
//!
//! Read: any number of documents, each a `ConfigMap`, a `Secret`, or a `List` of them (what `kubectl get -o yaml`
//! prints), all of version `v1`.
//!
//! | field | is |
//! |-------|----|
//! | `ConfigMap` `data` | variables that are not secret; a value must be a string, as it must be for Kubernetes |
//! | `Secret` `data` | secrets, base64 of UTF-8 text |
//! | `Secret` `stringData` | secrets as text |
//! | `binaryData` | refused unless it is empty |
//! | `metadata`, `immutable`, `type` | not read |
//!
//! Keys must be names of variables, each once in the whole file. All values are literal: Kubernetes resolves nothing in
//! them.
//!
//! Written: a `ConfigMap` with what is not secret and a `Secret` with what is, under one name; of the two, an empty one
//! is left out. A variable without a value is a comment.

mod object_name;
mod read;
mod write;

pub use object_name::{InvalidObjectName, ObjectName};
pub(super) use read::read;
pub(super) use write::write;

/// The version of both kinds of object.
const API_VERSION: &str = "v1";
const CONFIG_MAP: &str = "ConfigMap";
const SECRET: &str = "Secret";
