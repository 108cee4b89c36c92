use jiff::Timestamp;
use outrigger_catalog::model::{self, KeyKind};
use outrigger_protocol::id::ProjectId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problems;
use crate::error::ApiError;
use crate::text::write_time;

/// Which key is to be replaced.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RotateKey {
    /// `data`: the key of one project's secrets. `master`: the key that protects the installation; the new one is read by
    /// the control plane from where its settings say, and never sent.
    #[schema(example = "data")]
    kind: String,
    /// The project; for `data` alone.
    project_id: Option<String>,
}

/// What [`RotateKey`] asks for.
pub(crate) enum Wanted {
    Data(ProjectId),
    Master,
}

impl RotateKey {
    pub(crate) fn check(self) -> Result<Wanted, ApiError> {
        let mut problems = Problems::default();
        let is_data = problems.parse("kind", Some(&self.kind), "data or master", |kind| match kind {
            "data" => Some(true),
            "master" => Some(false),
            _ => None,
        });
        let project: Option<ProjectId> =
            problems.parse("projectId", self.project_id.as_deref(), "a project's id", |id| id.parse().ok());
        match (is_data, &self.project_id) {
            (Some(true), None) => problems.add("projectId", "is required for a data key"),
            (Some(false), Some(_)) => {
                problems.add("projectId", "is for data keys: the installation has one master key");
            }
            _ => {}
        }
        problems.finish(|| project.map_or(Wanted::Master, Wanted::Data))
    }
}

/// The replacement of a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rotation {
    id: String,
    /// `data` or `master`.
    kind: &'static str,
    organization_id: Option<String>,
    project_id: Option<String>,
    /// `running` or `done`.
    state: &'static str,
    /// Rows that were sealed anew.
    done: u64,
    /// Rows that were under older keys when it began; null until they are counted.
    total: Option<u64>,
    /// Rows that do not open, and are left as they are.
    unreadable: u64,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<model::Rotation> for Rotation {
    fn from(rotation: model::Rotation) -> Self {
        let (kind, home) = match rotation.kind {
            KeyKind::Data { organization, project } => ("data", Some((organization, project))),
            KeyKind::Master => ("master", None),
        };
        Self {
            id: rotation.id.to_string(),
            kind,
            organization_id: home.map(|(organization, _)| organization.to_string()),
            project_id: home.map(|(_, project)| project.to_string()),
            state: if rotation.is_running() { "running" } else { "done" },
            done: rotation.done,
            total: rotation.total,
            unreadable: rotation.unreadable,
            started_at: write_time(rotation.started_at),
            finished_at: rotation.finished_at.map(write_time),
        }
    }
}

/// A data key, without the key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataKey {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `active`: new values are sealed under it. `retiring`: it is there for as long as rows are under it.
    state: &'static str,
    /// Values that were sealed under it so far.
    encryptions: u64,
    /// Rows that are sealed under it now.
    rows: u64,
    /// It has sealed so many values that it should be replaced.
    due: bool,
}

impl From<model::DataKeyInfo> for DataKey {
    fn from(key: model::DataKeyInfo) -> Self {
        Self {
            id: key.id.to_string(),
            created_at: write_time(key.created_at),
            state: if key.is_active { "active" } else { "retiring" },
            encryptions: key.encryptions,
            rows: key.rows,
            due: key.is_due,
        }
    }
}

/// The data keys of one project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectKeys {
    organization_id: String,
    project_id: String,
    /// The project's name.
    project: String,
    /// Oldest first.
    keys: Vec<DataKey>,
    /// The last one, be it over; null when there was none.
    rotation: Option<Rotation>,
}

impl From<model::ProjectKeys> for ProjectKeys {
    fn from(keys: model::ProjectKeys) -> Self {
        Self {
            organization_id: keys.organization.to_string(),
            project_id: keys.project.to_string(),
            project: keys.name,
            keys: keys.keys.into_iter().map(DataKey::from).collect(),
            rotation: keys.rotation.map(Rotation::from),
        }
    }
}

/// The master key, without the key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MasterKey {
    /// Eight digits that tell master keys apart, and say nothing of them.
    name: String,
    /// The one before, while things may still be sealed with it.
    retiring: Option<String>,
    /// The last one, be it over; null when there was none.
    rotation: Option<Rotation>,
}

impl From<model::MasterKeyInfo> for MasterKey {
    fn from(key: model::MasterKeyInfo) -> Self {
        Self { name: key.name, retiring: key.retiring, rotation: key.rotation.map(Rotation::from) }
    }
}
