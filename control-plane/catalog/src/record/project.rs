use outrigger_protocol::time::UnixMillis;

use super::scalar::Text;
use super::{ProjectRow, Record, RecordError, v1};
use crate::model::Project;

impl Record for ProjectRow {
    const ROW: &'static str = "project";
    type Stored = v1::Project;

    fn to_stored(&self) -> v1::Project {
        let Project { id, organization, name, description, created_at, updated_at } = &self.project;
        v1::Project {
            id: Text(*id),
            organization: Text(*organization),
            name: name.clone(),
            description: description.clone(),
            data_key: Text(self.data_key),
            created_at: created_at.as_millis(),
            updated_at: updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::Project) -> Result<Self, RecordError> {
        let v1::Project { id, organization, name, description, data_key, created_at, updated_at } = stored;
        let project = Project {
            id: id.0,
            organization: organization.0,
            name,
            description,
            created_at: UnixMillis::from_millis(created_at),
            updated_at: UnixMillis::from_millis(updated_at),
        };
        Ok(Self { project, data_key: data_key.0 })
    }
}

/// What `create_project` and `update_project` keep of their result: whoever repeats the call needs no key's id.
impl Record for Project {
    const ROW: &'static str = "project result";
    type Stored = v1::ProjectResult;

    fn to_stored(&self) -> v1::ProjectResult {
        let Self { id, organization, name, description, created_at, updated_at } = self;
        v1::ProjectResult {
            id: Text(*id),
            organization: Text(*organization),
            name: name.clone(),
            description: description.clone(),
            created_at: created_at.as_millis(),
            updated_at: updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::ProjectResult) -> Result<Self, RecordError> {
        let v1::ProjectResult { id, organization, name, description, created_at, updated_at } = stored;
        Ok(Self {
            id: id.0,
            organization: organization.0,
            name,
            description,
            created_at: UnixMillis::from_millis(created_at),
            updated_at: UnixMillis::from_millis(updated_at),
        })
    }
}
