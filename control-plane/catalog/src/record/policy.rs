use outrigger_protocol::time::UnixMillis;

use super::scalar::{Digest, Text};
use super::{Record, RecordError, v1};
use crate::model::PolicyInfo;

impl Record for PolicyInfo {
    const ROW: &'static str = "policy";
    type Stored = v1::Policy;

    fn to_stored(&self) -> v1::Policy {
        v1::Policy {
            id: Text(self.id),
            organization: self.organization.map(Text),
            name: self.name.clone(),
            version: self.version.clone(),
            digest: Digest(self.digest),
            size_bytes: self.size_bytes,
            config_schema: self.config_schema.clone(),
            created_at: self.created_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Policy) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.map(|organization| organization.0),
            name: stored.name,
            version: stored.version,
            digest: stored.digest.0,
            size_bytes: stored.size_bytes,
            config_schema: stored.config_schema,
            created_at: UnixMillis::from_millis(stored.created_at),
        })
    }
}
