use jiff::Timestamp;
use outrigger_catalog::model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::{write_hex, write_time};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    id: String,
    name: String,
    version: String,
    /// SHA-256 of the component, hexadecimal.
    digest: String,
    size_bytes: u64,
    builtin: bool,
    /// JSON Schema of the configuration.
    #[schema(value_type = Object)]
    config_schema: serde_json::Value,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<model::PolicyInfo> for Policy {
    fn from(policy: model::PolicyInfo) -> Self {
        Self {
            id: policy.id.to_string(),
            name: policy.name,
            version: policy.version,
            digest: write_hex(&policy.digest),
            size_bytes: policy.size_bytes,
            builtin: policy.organization.is_none(),
            config_schema: serde_json::from_str(&policy.config_schema).unwrap_or_default(),
            created_at: write_time(policy.created_at),
        }
    }
}

/// A question to a policy. `input` has the fields of the WIT record `input` in camelCase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Evaluate {
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
    #[schema(value_type = Object)]
    pub(crate) input: serde_json::Value,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evaluation {
    /// The proposal; null after a fault.
    #[schema(value_type = Option<Object>)]
    pub(crate) proposal: Option<serde_json::Value>,
    /// Why there is no proposal.
    pub(crate) fault: Option<String>,
    pub(crate) fuel: u64,
    pub(crate) elapsed_us: u64,
    /// What the policy logged.
    pub(crate) log: Vec<String>,
}
