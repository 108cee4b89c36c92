use jiff::Timestamp;
use outrigger_catalog::model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::write_time;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewProject {
    #[schema(example = "shop", min_length = 1)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Project {
    id: String,
    name: String,
    description: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<model::Project> for Project {
    fn from(project: model::Project) -> Self {
        Self {
            id: project.id.to_string(),
            name: project.name,
            description: project.description,
            created_at: write_time(project.created_at),
            updated_at: write_time(project.updated_at),
        }
    }
}
