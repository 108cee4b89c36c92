//! How rows look on the storage: one byte of version, then JSON.
//!
//! The domain's types are not serialisable. Each has a counterpart in [`v1`] that is, and this module holds the
//! conversions between the two. A row of a version that this release does not know is a typed error and never a guess;
//! so is a field that it does not know, because writing the row back would lose it. A change of shape is a new module
//! beside [`v1`] and a second arm in [`decode`].

mod account;
mod approval;
mod audit;
mod decision;
mod deployment;
mod environment;
mod event;
mod instance;
mod internal;
mod policy;
mod probe;
mod project;
mod rollout;
mod rollout_state;
mod rotation;
mod scalar;
mod template;
#[cfg(test)]
mod tests;
mod v1;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use approval::{ChangeRow, EnvironmentStep, Outcome, TouchedVariable};
pub(crate) use internal::{
    Address, Content, DataKeyRow, Empty, GenerationRow, Home, IdempotencyRow, InstanceHome, IssuedJoinToken,
    JoinTokenRow, KeptAnswer, KeptResult, KeyCheckRow, NextKeyCheck, OperatorRow, OrganizationRow, PolicyOfDigest,
    ProjectRow, TokenRow, UserRow, Uses, VariableRow,
};
pub(crate) use rollout::RolloutHome;
pub(crate) use rollout_state::{RolloutStateRow, stored_state, without_words};
pub(crate) use rotation::RotationRow;

pub(crate) use template::{TemplateDocument, TemplateRow, TemplateUses};

/// The version that rows are written in.
const VERSION: u8 = 1;

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("it is empty")]
    Empty,
    #[error("it has version {found}; this release reads up to {newest}")]
    Version { found: u8, newest: u8 },
    /// The position is told, the content is not: it may be a value.
    #[error("it is not well-formed at line {line}, column {column}")]
    Malformed { line: usize, column: usize },
    #[error("its {field} is not one that this release knows")]
    Unknown { field: &'static str },
}

/// What can be a row.
pub(crate) trait Record: Sized {
    /// What it is called in an error.
    const ROW: &'static str;
    /// Its serialisable counterpart.
    type Stored: Serialize + DeserializeOwned;

    fn to_stored(&self) -> Self::Stored;

    fn from_stored(stored: Self::Stored) -> Result<Self, RecordError>;
}

pub(crate) fn encode<R: Record>(record: &R) -> Bytes {
    encode_stored(&record.to_stored())
}

/// As [`encode`], of what is in its stored form already.
pub(crate) fn encode_stored<S: Serialize>(stored: &S) -> Bytes {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, stored)
        .expect("records hold texts, numbers and lists of them, which all have a JSON form");
    Bytes::from(bytes)
}

pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    let (&version, body) = bytes.split_first().ok_or(RecordError::Empty)?;
    match version {
        1 => {
            let stored = serde_json::from_slice(body)
                .map_err(|error| RecordError::Malformed { line: error.line(), column: error.column() })?;
            R::from_stored(stored)
        }
        found => Err(RecordError::Version { found, newest: VERSION }),
    }
}
