use outrigger_protocol::time::UnixMillis;
use outrigger_templates::{Origin, Template};

use super::{Environment, Generation};

/// A template that an organisation may apply: an official one, or one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTemplate {
    pub template: Template,
    /// How often the organisation has applied it, or asked to where that has to be approved.
    pub uses: u64,
    /// Absent for an official one, which nobody changes.
    pub edition: Option<TemplateEdition>,
}

/// What a list tells of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSummary {
    pub id: String,
    pub name: String,
    pub category: String,
    pub version: String,
    pub description: String,
    /// How many variables it has.
    pub variables: usize,
    /// As of [`StoredTemplate`].
    pub uses: u64,
    /// As of [`StoredTemplate`].
    pub edition: Option<TemplateEdition>,
}

/// Which state of an organisation's own template it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateEdition {
    /// 1 for the first, and one more with every change.
    pub revision: u64,
    /// Who made this state.
    pub author: String,
    pub created_at: UnixMillis,
    pub updated_at: UnixMillis,
}

/// What the application of a template did, or would do. Never with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedTemplate {
    /// As it is now.
    pub environment: Environment,
    /// The environment was made for it. Of a dry run, its id is nobody's.
    pub is_new: bool,
    /// The newest generation: the one that the application made, unless nothing was different.
    pub generation: Generation,
    pub is_changed: bool,
    /// The variables that got a value, and from where; in the template's order.
    pub written: Vec<(String, Origin)>,
    /// Had a value, and keep it.
    pub kept: Vec<String>,
    /// Optional, and nobody says what they should be.
    pub unset: Vec<String>,
}
