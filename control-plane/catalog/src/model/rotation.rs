use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use outrigger_protocol::time::UnixMillis;

/// Which key is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// The one under which a project's secrets are sealed.
    Data { organization: OrganizationId, project: ProjectId },
    /// The one that protects the installation.
    Master,
}

/// The replacement of a key, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Of a data key the one that is brought in.
    pub id: KeyId,
    pub kind: KeyKind,
    pub started_at: UnixMillis,
    /// Rows that were under older keys when it began; absent until they are counted. Some of them may be replaced or
    /// deleted by others before their turn comes.
    pub total: Option<u64>,
    /// Rows that were sealed anew.
    pub done: u64,
    /// Rows that do not open, and so cannot be sealed anew: they were damaged before.
    pub unreadable: u64,
    pub finished_at: Option<UnixMillis>,
}

impl Rotation {
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.finished_at.is_none()
    }
}

/// A data key, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyInfo {
    pub id: KeyId,
    pub created_at: UnixMillis,
    /// New values are sealed under it. Another one is there for as long as rows refer to it.
    pub is_active: bool,
    /// Values that were sealed under it so far, those that are gone included.
    pub encryptions: u64,
    /// Rows that are sealed under it now.
    pub rows: u64,
    /// It has sealed so many that it should be replaced.
    pub is_due: bool,
}

/// The keys of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectKeys {
    pub organization: OrganizationId,
    pub project: ProjectId,
    /// The project's name.
    pub name: String,
    /// Oldest first.
    pub keys: Vec<DataKeyInfo>,
    /// The last one, be it over.
    pub rotation: Option<Rotation>,
}

/// The master key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyInfo {
    /// What people may call the key that new things are sealed with.
    pub name: String,
    /// What the key before is called, while things may still be sealed with it.
    pub retiring: Option<String>,
    /// The last one, be it over.
    pub rotation: Option<Rotation>,
}
