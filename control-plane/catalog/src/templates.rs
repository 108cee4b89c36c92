//! Templates: the official ones, which are compiled in, and those that organisations write.
//!
//! All are found by their id, the slug that their document gives them. An organisation's own go first: one that was
//! there before an official one of the same id came with a newer release stays what it is. Nobody takes the id or the
//! name of an official one on purpose. A list reads rows without variables; the documents lie beside them.
//!
//! Applying one is [`Catalog::apply_template`].

use std::collections::BTreeMap;

use outrigger_protocol::id::OrganizationId;
use outrigger_store::{Compare, Revision};
use outrigger_templates::{Template, limits, official, official_by_id};

use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Role, StoredTemplate, TemplateEdition, TemplateSummary};
use crate::mutation::{Decided, Draft};
use crate::page::{Listing, Page};
use crate::record::{Empty, Record, RecordError, TemplateDocument, TemplateRow, TemplateUses};

const TEMPLATE: &str = "template";

/// Templates of one organisation, beside the official ones.
pub const MAX_TEMPLATES: usize = 200;

impl Catalog {
    /// The official templates and the organisation's own, by id; all, or those of one category. Viewer.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for a bad page.
    pub async fn templates(
        &self,
        actor: &Actor,
        category: Option<&str>,
        page: &Page,
    ) -> Result<Listing<TemplateSummary>, CatalogError> {
        actor.require(Role::Viewer)?;
        let (limit, position) = (page.size()?, page.position::<{ limits::SLUG_BYTES }>()?);
        let organization = actor.organization;
        let at = self.store().revision();
        let uses = self.template_uses(organization, at).await?;
        let uses_of = |id: &str| uses.get(id).copied().unwrap_or_default();
        let mut all: BTreeMap<[u8; limits::SLUG_BYTES], TemplateSummary> = BTreeMap::new();
        for template in official() {
            all.insert(place(template.id()), summary(template, uses_of(template.id())));
        }
        for row in self.rows::<TemplateRow>(&keys::templates(organization), Some(at)).await? {
            let uses = uses_of(&row.value.id);
            all.insert(place(&row.value.id), row.value.summary(uses));
        }
        let is_asked_for = |place: &[u8; limits::SLUG_BYTES], summary: &TemplateSummary| {
            position.is_none_or(|position| *place > position)
                && category.is_none_or(|category| summary.category == category)
        };
        let mut found = all.into_iter().filter(|(place, summary)| is_asked_for(place, summary));
        let (mut items, mut last) = (Vec::new(), None);
        for (place, summary) in found.by_ref().take(limit) {
            items.push(summary);
            last = Some(place);
        }
        let last = last.filter(|_| found.next().is_some());
        Ok(Listing::new(items, last.as_ref().map(<[u8; limits::SLUG_BYTES]>::as_slice)))
    }

    /// A template with its variables. Viewer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn template(&self, actor: &Actor, id: &str) -> Result<StoredTemplate, CatalogError> {
        actor.require(Role::Viewer)?;
        let at = self.store().revision();
        let (template, row) = self.template_at(actor.organization, id, at).await?;
        let uses = self.row_at::<TemplateUses>(&keys::template_use(actor.organization, id), at).await?;
        let uses = uses.map_or(0, |row| row.value.0);
        Ok(StoredTemplate { template, uses, edition: row.map(|row| row.value.edition) })
    }

    /// Keeps a template of the organisation's own. Developer.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when its id or its name is taken, or when the organisation has as many as it may;
    /// [`CatalogError::Validation`] when it is too large.
    pub async fn create_template(&self, actor: &Actor, template: Template) -> Result<StoredTemplate, CatalogError> {
        check_size(&template)?;
        let (kept, organization) = (&template, actor.organization);
        let edition = self
            .mutate(actor, Role::Developer, "create template", async |mut draft| {
                let key = keys::template(organization, kept.id());
                if official_by_id(kept.id()).is_some() || self.row::<TemplateRow>(key.clone()).await?.is_some() {
                    return Err(CatalogError::conflict(format!("there is a template with the id {}", kept.id())));
                }
                if self.rows::<TemplateRow>(&keys::templates(organization), None).await?.len() >= MAX_TEMPLATES {
                    let what = format!("the organisation has {MAX_TEMPLATES} templates, which is the most");
                    return Err(CatalogError::conflict(what));
                }
                draft.when(Compare::Absent(key));
                self.take_name(&mut draft, organization, kept.name()).await?;
                let author = actor.subject.to_string();
                let edition = TemplateEdition { revision: 1, author, created_at: draft.now, updated_at: draft.now };
                put(&mut draft, organization, kept, &edition);
                draft.audit(AuditAction::Create, target(kept.id()), &described(kept));
                draft.then(edition)
            })
            .await?;
        Ok(StoredTemplate { template, uses: 0, edition: Some(edition) })
    }

    /// Replaces a template of the organisation's own by another of the same id. One that is equal keeps its revision.
    /// With `if_match`, only if that is still the revision. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] for an official one, when its name is taken, or naming the
    /// revision when it is not `if_match`; [`CatalogError::Validation`] when it is too large or has another id.
    pub async fn update_template(
        &self,
        actor: &Actor,
        id: &str,
        template: Template,
        if_match: Option<u64>,
    ) -> Result<StoredTemplate, CatalogError> {
        check_size(&template)?;
        if template.id() != id {
            return Err(CatalogError::invalid("id", "is not that of the template to change, and an id stays as it is"));
        }
        let (kept, organization) = (&template, actor.organization);
        let edition = self
            .mutate(actor, Role::Developer, "update template", async |mut draft| {
                let row = self.own_template(organization, id, if_match).await?;
                let document = keys::template_document(organization, id);
                let present = self.expect_row::<TemplateDocument>(document, TEMPLATE).await?;
                if present.value.0 == *kept {
                    return Ok(Decided::Already(row.value.edition));
                }
                draft.relies_on(&row);
                if row.value.name != kept.name() {
                    draft.delete(keys::template_name(organization, &row.value.name));
                    self.take_name(&mut draft, organization, kept.name()).await?;
                }
                let TemplateEdition { revision, created_at, .. } = row.value.edition;
                let author = actor.subject.to_string();
                let edition = TemplateEdition { revision: revision + 1, author, created_at, updated_at: draft.now };
                put(&mut draft, organization, kept, &edition);
                let detail = format!("{}, revision {}", described(kept), edition.revision);
                draft.audit(AuditAction::Update, target(id), &detail);
                draft.then(edition)
            })
            .await?;
        let uses = self.row::<TemplateUses>(keys::template_use(organization, id)).await?;
        Ok(StoredTemplate { template, uses: uses.map_or(0, |row| row.value.0), edition: Some(edition) })
    }

    /// Deletes a template of the organisation's own; what it was applied to stays as it is. Developer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] for an official one, or naming the revision when it is not
    /// `if_match`.
    pub async fn delete_template(&self, actor: &Actor, id: &str, if_match: Option<u64>) -> Result<(), CatalogError> {
        let organization = actor.organization;
        self.mutate(actor, Role::Developer, "delete template", async |mut draft| {
            let row = self.own_template(organization, id, if_match).await?;
            draft.relies_on(&row);
            draft.delete(row.key.clone());
            draft.delete(keys::template_document(organization, id));
            draft.delete(keys::template_name(organization, &row.value.name));
            draft.delete(keys::template_use(organization, id));
            let detail = format!("template {} {}", row.value.name, row.value.version);
            draft.audit(AuditAction::Delete, target(id), &detail);
            draft.then(())
        })
        .await
    }

    /// A template that is to be applied, the draft relying on its staying as it is.
    pub(crate) async fn template_to_apply(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Template, CatalogError> {
        let (template, row) = self.template_at(organization, id, self.store().revision()).await?;
        draft.relies_on_or_absence(keys::template(organization, id), row.as_ref());
        Ok(template)
    }

    /// Adds to a draft that a template was applied once more.
    pub(crate) async fn count_template_use(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        id: &str,
    ) -> Result<(), CatalogError> {
        let key = keys::template_use(organization, id);
        let row = self.row::<TemplateUses>(key.clone()).await?;
        draft.relies_on_or_absence(key.clone(), row.as_ref());
        let before = row.map_or(0, |row| row.value.0);
        draft.put(key, &TemplateUses(before.saturating_add(1)));
        Ok(())
    }

    /// The organisation's own template of an id, with its row, or else the official one.
    async fn template_at(
        &self,
        organization: OrganizationId,
        id: &str,
        at: Revision,
    ) -> Result<(Template, Option<Row<TemplateRow>>), CatalogError> {
        let not_found = || CatalogError::NotFound { what: TEMPLATE };
        // Longer than any id, maybe longer than any key.
        if id.len() > limits::SLUG_BYTES {
            return Err(not_found());
        }
        if let Some(row) = self.row_at::<TemplateRow>(&keys::template(organization, id), at).await? {
            let document = keys::template_document(organization, id);
            let document = self.row_at::<TemplateDocument>(&document, at).await?.ok_or_else(not_found)?;
            return Ok((document.value.0, Some(row)));
        }
        official_by_id(id).cloned().map(|template| (template, None)).ok_or_else(not_found)
    }

    /// A template that its organisation may change.
    async fn own_template(
        &self,
        organization: OrganizationId,
        id: &str,
        if_match: Option<u64>,
    ) -> Result<Row<TemplateRow>, CatalogError> {
        let not_found = CatalogError::NotFound { what: TEMPLATE };
        if id.len() > limits::SLUG_BYTES {
            return Err(not_found);
        }
        let Some(row) = self.row::<TemplateRow>(keys::template(organization, id)).await? else {
            let what = "an official template stays as it is: keep one of your own under another id";
            return Err(if official_by_id(id).is_some() { CatalogError::conflict(what) } else { not_found });
        };
        let revision = row.value.edition.revision;
        if if_match.is_some_and(|expected| expected != revision) {
            return Err(CatalogError::conflict(format!("the template is at revision {revision}")));
        }
        Ok(row)
    }

    /// Adds to a draft that a name is taken.
    async fn take_name(&self, draft: &mut Draft, organization: OrganizationId, name: &str) -> Result<(), CatalogError> {
        let key = keys::template_name(organization, name);
        let is_official = official().iter().any(|template| template.name() == name);
        if is_official || self.row::<Empty>(key.clone()).await?.is_some() {
            return Err(CatalogError::conflict(format!("there is a template with the name {name}")));
        }
        draft.when(Compare::Absent(key.clone()));
        draft.mark(key);
        Ok(())
    }

    async fn template_uses(
        &self,
        organization: OrganizationId,
        at: Revision,
    ) -> Result<BTreeMap<String, u64>, CatalogError> {
        let prefix = keys::template_uses(organization);
        let mut uses = BTreeMap::new();
        for row in self.rows::<TemplateUses>(&prefix, Some(at)).await? {
            let id = row.key.reader_after(&prefix).and_then(|mut reader| Some(reader.text().ok()?.into_owned()));
            let source = RecordError::Unknown { field: "id" };
            uses.insert(id.ok_or(CatalogError::Record { row: TemplateUses::ROW, source })?, row.value.0);
        }
        Ok(uses)
    }
}

fn summary(template: &Template, uses: u64) -> TemplateSummary {
    TemplateSummary {
        id: template.id().to_owned(),
        name: template.name().to_owned(),
        category: template.category().to_owned(),
        version: template.version().to_owned(),
        description: template.description().to_owned(),
        variables: template.variables().len(),
        uses,
        edition: None,
    }
}

fn put(draft: &mut Draft, organization: OrganizationId, template: &Template, edition: &TemplateEdition) {
    let (row, id) = (TemplateRow::new(template, edition.clone()), template.id());
    draft.put(keys::template(organization, id), &row);
    draft.put(keys::template_document(organization, id), &TemplateDocument(template.clone()));
}

/// It is kept in its canonical form, which may be longer than what was sent, and has to be readable.
fn check_size(template: &Template) -> Result<(), CatalogError> {
    let (bytes, limit) = (template.to_yaml().len(), limits::FILE_BYTES);
    if bytes <= limit {
        return Ok(());
    }
    Err(CatalogError::invalid(TEMPLATE, format!("has {bytes} bytes as canonical YAML; at most {limit} are kept")))
}

/// Where a template stands in a list: its id, filled up so that all are of one length.
fn place(id: &str) -> [u8; limits::SLUG_BYTES] {
    let mut place = [0; limits::SLUG_BYTES];
    for (to, from) in place.iter_mut().zip(id.bytes()) {
        *to = from;
    }
    place
}

/// What the audit log calls a template: ids of other things have a prefix that says what they are.
fn target(id: &str) -> String {
    format!("template/{id}")
}

fn described(template: &Template) -> String {
    format!("template {} {}", template.name(), template.version())
}
