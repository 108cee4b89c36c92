use std::fmt;

use outrigger_protocol::time::UnixMillis;
use outrigger_templates::{Origin, Template};

use super::{Record, RecordError, v1};
use crate::model::{AppliedTemplate, Environment, Generation, TemplateEdition, TemplateSummary};

/// An organisation's own template without its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) variables: usize,
    pub(crate) edition: TemplateEdition,
}

impl TemplateRow {
    pub(crate) fn new(template: &Template, edition: TemplateEdition) -> Self {
        Self {
            id: template.id().to_owned(),
            name: template.name().to_owned(),
            category: template.category().to_owned(),
            version: template.version().to_owned(),
            description: template.description().to_owned(),
            variables: template.variables().len(),
            edition,
        }
    }

    pub(crate) fn summary(self, uses: u64) -> TemplateSummary {
        let Self { id, name, category, version, description, variables, edition } = self;
        TemplateSummary { id, name, category, version, description, variables, uses, edition: Some(edition) }
    }
}

impl Record for TemplateRow {
    const ROW: &'static str = "template";
    type Stored = v1::Template;

    fn to_stored(&self) -> v1::Template {
        v1::Template {
            id: self.id.clone(),
            name: self.name.clone(),
            category: self.category.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            variables: self.variables,
            edition: self.edition.to_stored(),
        }
    }

    fn from_stored(stored: v1::Template) -> Result<Self, RecordError> {
        let v1::Template { id, name, category, version, description, variables, edition } = stored;
        let edition = TemplateEdition::from_stored(edition)?;
        Ok(Self { id, name, category, version, description, variables, edition })
    }
}

/// Also what creating and changing a template keep of their result: the caller has the rest.
impl Record for TemplateEdition {
    const ROW: &'static str = "template edition";
    type Stored = v1::TemplateEdition;

    fn to_stored(&self) -> v1::TemplateEdition {
        v1::TemplateEdition {
            revision: self.revision,
            author: self.author.clone(),
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
        }
    }

    fn from_stored(stored: v1::TemplateEdition) -> Result<Self, RecordError> {
        let v1::TemplateEdition { revision, author, created_at, updated_at } = stored;
        let [created_at, updated_at] = [created_at, updated_at].map(UnixMillis::from_millis);
        Ok(Self { revision, author, created_at, updated_at })
    }
}

/// The whole template, as its canonical YAML: that format is documented, and read by every later release.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TemplateDocument(pub(crate) Template);

impl fmt::Debug for TemplateDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TemplateDocument").field(&self.0.id()).finish()
    }
}

impl Record for TemplateDocument {
    const ROW: &'static str = "template document";
    type Stored = v1::TemplateDocument;

    fn to_stored(&self) -> v1::TemplateDocument {
        v1::TemplateDocument { yaml: self.0.to_yaml() }
    }

    fn from_stored(stored: v1::TemplateDocument) -> Result<Self, RecordError> {
        Template::parse(&stored.yaml).map(Self).map_err(|_| RecordError::Unknown { field: "template" })
    }
}

/// How often a template was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TemplateUses(pub(crate) u64);

impl Record for TemplateUses {
    const ROW: &'static str = "template use";
    type Stored = v1::TemplateUses;

    fn to_stored(&self) -> v1::TemplateUses {
        v1::TemplateUses { applications: self.0 }
    }

    fn from_stored(stored: v1::TemplateUses) -> Result<Self, RecordError> {
        Ok(Self(stored.applications))
    }
}

/// What `apply_template` keeps of its result.
impl Record for AppliedTemplate {
    const ROW: &'static str = "template application";
    type Stored = v1::AppliedTemplate;

    fn to_stored(&self) -> v1::AppliedTemplate {
        v1::AppliedTemplate {
            environment: self.environment.to_stored(),
            new: self.is_new,
            generation: self.generation.to_stored(),
            changed: self.is_changed,
            written: self.written.iter().map(|(key, origin)| (key.clone(), (*origin).into())).collect(),
            kept: self.kept.clone(),
            unset: self.unset.clone(),
        }
    }

    fn from_stored(stored: v1::AppliedTemplate) -> Result<Self, RecordError> {
        let v1::AppliedTemplate { environment, new, generation, changed, written, kept, unset } = stored;
        Ok(Self {
            environment: Environment::from_stored(environment)?,
            is_new: new,
            generation: Generation::from_stored(generation)?,
            is_changed: changed,
            written: written.into_iter().map(|(key, origin)| (key, origin.into())).collect(),
            kept,
            unset,
        })
    }
}

impl From<Origin> for v1::TemplateOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Override => Self::Override,
            Origin::Default => Self::Default,
            Origin::Generated => Self::Generated,
        }
    }
}

impl From<v1::TemplateOrigin> for Origin {
    fn from(origin: v1::TemplateOrigin) -> Self {
        match origin {
            v1::TemplateOrigin::Override => Self::Override,
            v1::TemplateOrigin::Default => Self::Default,
            v1::TemplateOrigin::Generated => Self::Generated,
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::{EnvironmentId, ProjectId};

    use super::super::{decode, encode};
    use super::*;
    use crate::model::Stage;

    fn edition() -> TemplateEdition {
        let [created_at, updated_at] = [7, 9].map(UnixMillis::from_millis);
        TemplateEdition { revision: 3, author: "operator".to_owned(), created_at, updated_at }
    }

    #[test]
    fn every_official_template_survives_being_kept() {
        for template in outrigger_templates::official() {
            let document = TemplateDocument(template.clone());
            assert_eq!(decode::<TemplateDocument>(&encode(&document)).unwrap(), document);
            let row = TemplateRow::new(template, edition());
            assert_eq!(decode::<TemplateRow>(&encode(&row)).unwrap(), row);
        }
        assert_eq!(decode::<TemplateUses>(&encode(&TemplateUses(u64::MAX))).unwrap(), TemplateUses(u64::MAX));
    }

    #[test]
    fn a_document_that_is_no_template_is_a_typed_error() {
        let row = b"\x01{\"yaml\":\"id: t\"}";
        assert!(matches!(decode::<TemplateDocument>(row), Err(RecordError::Unknown { field: "template" })));
    }

    #[test]
    fn an_application_survives_being_kept() {
        let (id, at) = (EnvironmentId::generate(), UnixMillis::from_millis(7));
        let environment = Environment {
            id,
            project: ProjectId::generate(),
            stage: Stage::Staging,
            name: "eu".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
            generation: 2,
            approval: None,
            created_at: at,
            updated_at: at,
        };
        let generation = Generation {
            environment: id,
            number: 2,
            author: "operator".to_owned(),
            approver: None,
            message: "template".to_owned(),
            created_at: at,
            content_hash: [7; 32],
        };
        let origins = [Origin::Override, Origin::Default, Origin::Generated];
        let applied = AppliedTemplate {
            environment,
            is_new: true,
            generation,
            is_changed: true,
            written: origins.map(|origin| (origin.name().to_owned(), origin)).to_vec(),
            kept: vec!["KEPT".to_owned()],
            unset: vec!["UNSET".to_owned()],
        };
        assert_eq!(decode::<AppliedTemplate>(&encode(&applied)).unwrap(), applied);
    }
}
