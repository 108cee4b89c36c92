//! A destination as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use outrigger_secrets::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::{SettingsError, problem};
use crate::otlp;
use crate::stats::Signal;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) protocol: Protocol,
    pub(super) url: String,
    pub(super) signals: Option<Vec<Signal>>,
    pub(super) compression: Option<Compression>,
    #[serde(default)]
    pub(super) external_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, SecretString>,
    pub(super) bearer_token_file: Option<PathBuf>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) batch: Option<usize>,
    pub(super) queue: Option<String>,
    pub(super) flush_interval: Option<String>,
    pub(super) connect_timeout: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) retry_for: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    RemoteWrite,
    Otlp,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Compression {
    None,
    Gzip,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicAuth {
    pub(super) username: String,
    pub(super) password_file: PathBuf,
}

impl From<Compression> for otlp::Compression {
    fn from(written: Compression) -> Self {
        match written {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
        }
    }
}

impl Written {
    pub(super) fn read(value: &Value, path: &str) -> Result<Self, SettingsError> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let inside = error.path().to_string();
            let path = if inside == "." { path.to_owned() } else { format!("{path}.{inside}") };
            let said = error.inner().to_string();
            // What is of the wrong kind is repeated in the message, and may be a password.
            let problem_in_words = match said.rsplit_once(", expected ") {
                Some((what, expected)) if what.starts_with("invalid ") => format!("is not {expected}"),
                _ => format!("cannot be used: {said}"),
            };
            problem(&path, problem_in_words)
        })
    }
}
