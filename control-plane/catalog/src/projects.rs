//! Projects, each with the data key that its secrets are sealed under.

use outrigger_protocol::id::{KeyId, OrganizationId, ProjectId};
use outrigger_secrets::{DataKey, ENCRYPTIONS_PER_KEY, MasterKey, OpenSealedError};
use outrigger_store::Revision;

use crate::catalog::{Catalog, random};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Project, Role};
use crate::mutation::{Decided, Draft};
use crate::page::{Listing, Page};
use crate::record::{DataKeyRow, Empty, ProjectRow, Record, Uses};
use crate::validate::{DESCRIPTION_BYTES, Problems};

pub(crate) const PROJECT: &str = "project";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewProject {
    pub name: String,
    pub description: String,
}

/// What is to be different; absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectUpdate {
    pub name: Option<String>,
    pub description: Option<String>,
}

impl Catalog {
    /// Makes a project and its data key. Admin.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] with every problem.
    pub async fn create_project(&self, actor: &Actor, new: NewProject) -> Result<Project, CatalogError> {
        check(&new.name, &new.description)?;
        let new = &new;
        self.mutate(actor, Role::Admin, "create project", async |mut draft| {
            let project = Project {
                id: ProjectId::new(draft.now, random()),
                organization: actor.organization,
                name: new.name.clone(),
                description: new.description.clone(),
                created_at: draft.now,
                updated_at: draft.now,
            };
            let data_key = self.add_data_key(&mut draft, actor.organization, project.id)?;
            let key = keys::project(actor.organization, project.id);
            draft.put(key, &ProjectRow { project: project.clone(), data_key });
            draft.concerns(project.id);
            draft.audit(AuditAction::Create, project.id, &format!("project {}", project.name));
            draft.then(project)
        })
        .await
    }

    pub(crate) fn add_data_key(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        project: ProjectId,
    ) -> Result<KeyId, CatalogError> {
        let key = DataKey::generate(KeyId::new(draft.now, random()));
        let wrapped = key
            .wrap(draft.keyring(self).sealing(), organization, project)
            .map_err(|source| CatalogError::Seal { row: DataKeyRow::ROW, source })?;
        let row = DataKeyRow { id: key.id(), wrapped, created_at: draft.now };
        draft.put(keys::data_key(organization, project, key.id()), &row);
        Ok(key.id())
    }

    /// The projects of the actor's organisation, oldest first.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] for a bad page.
    pub async fn list_projects(&self, actor: &Actor, page: Page) -> Result<Listing<Project>, CatalogError> {
        actor.require(Role::Viewer)?;
        let Listing { items, next } =
            self.page_of_rows::<ProjectRow>(&keys::projects(actor.organization), &page).await?;
        Ok(Listing { items: items.into_iter().map(|row| row.project).collect(), next })
    }

    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn project(&self, actor: &Actor, id: ProjectId) -> Result<Project, CatalogError> {
        actor.require(Role::Viewer)?;
        let row = self.expect_row::<ProjectRow>(keys::project(actor.organization, id), PROJECT).await?;
        Ok(row.value.project)
    }

    /// Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], [`CatalogError::Validation`].
    pub async fn update_project(
        &self,
        actor: &Actor,
        id: ProjectId,
        update: ProjectUpdate,
    ) -> Result<Project, CatalogError> {
        let update = &update;
        self.mutate(actor, Role::Admin, "update project", async |mut draft| {
            let row = self.expect_row::<ProjectRow>(keys::project(actor.organization, id), PROJECT).await?;
            let present = &row.value.project;
            let mut project = Project {
                name: update.name.clone().unwrap_or_else(|| present.name.clone()),
                description: update.description.clone().unwrap_or_else(|| present.description.clone()),
                ..present.clone()
            };
            check(&project.name, &project.description)?;
            if project == *present {
                return Ok(Decided::Already(project));
            }
            project.updated_at = draft.now;
            draft.replace(&row, &ProjectRow { project: project.clone(), data_key: row.value.data_key });
            draft.concerns(id);
            draft.audit(AuditAction::Update, id, &format!("project {}", project.name));
            draft.then(project)
        })
        .await
    }

    /// Deletes a project with its environments and destroys its data key: nothing that was sealed under it can be read
    /// again, wherever a copy may be. Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] while a deployment of it is not destroyed.
    pub async fn delete_project(&self, actor: &Actor, id: ProjectId) -> Result<(), CatalogError> {
        let organization = actor.organization;
        self.mutate(actor, Role::Admin, "delete project", async |mut draft| {
            let row = self.expect_row::<ProjectRow>(keys::project(organization, id), PROJECT).await?;
            let fence = keys::fence(organization, id.to_bytes());
            let children = self.row::<Empty>(fence.clone()).await?;
            if self.any(&keys::deployments_of_project(organization, id)).await? {
                return Err(CatalogError::conflict("the project has deployments that are not destroyed"));
            }
            draft.relies_on(&row);
            draft.relies_on_or_absence(fence.clone(), children.as_ref());
            for environment in self.environments_of(organization, id).await? {
                Self::erase_environment(&mut draft, organization, environment);
            }
            draft.delete_below(&keys::environments_of(organization, id));
            draft.delete_below(&keys::environment_names(organization, id));
            draft.delete_below(&keys::dependents_of_project(organization, id));
            draft.delete(keys::environment_graph(organization, id));
            draft.delete_below(&keys::data_keys(organization, id));
            draft.delete_below(&keys::data_key_uses_of_project(organization, id));
            draft.delete(keys::rotation(organization, id));
            draft.delete(fence);
            draft.delete(row.key.clone());
            draft.concerns(id);
            draft.audit(AuditAction::Delete, id, &format!("project {} and its data key", row.value.project.name));
            draft.then(())
        })
        .await?;
        self.finish_erasures_soon(organization).await;
        Ok(())
    }

    /// How many values have been sealed under a project's present data key, of the [`ENCRYPTIONS_PER_KEY`] that it is good
    /// for.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn encryptions(&self, actor: &Actor, id: ProjectId) -> Result<u64, CatalogError> {
        actor.require(Role::Viewer)?;
        let row = self.expect_row::<ProjectRow>(keys::project(actor.organization, id), PROJECT).await?;
        self.data_key_uses(actor.organization, id, row.value.data_key).await
    }

    pub(crate) async fn data_key_uses(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        key: KeyId,
    ) -> Result<u64, CatalogError> {
        let rows = self.rows::<Uses>(&keys::data_key_uses(organization, project, key), None).await?;
        Ok(rows.iter().fold(0, |sum, row| sum.saturating_add(row.value.0)))
    }

    /// The key that a project's values are sealed under now, with room for `more` encryptions.
    pub(crate) async fn data_key_for(
        &self,
        organization: OrganizationId,
        project: &ProjectRow,
        more: u64,
    ) -> Result<DataKey, CatalogError> {
        let uses = self.data_key_uses(organization, project.project.id, project.data_key).await?;
        if uses.saturating_add(more) > ENCRYPTIONS_PER_KEY {
            return Err(CatalogError::KeyExhausted { limit: ENCRYPTIONS_PER_KEY });
        }
        self.data_key(organization, project.project.id, project.data_key).await
    }

    /// A data key by its id.
    pub(crate) async fn data_key(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        id: KeyId,
    ) -> Result<DataKey, CatalogError> {
        loop {
            let keyring = self.keyring();
            let row = self.expect_row::<DataKeyRow>(keys::data_key(organization, project, id), DataKeyRow::ROW).await?;
            match keyring.open(|master| unwrap(master, organization, project, &row.value)) {
                Ok(key) => return Ok(key),
                Err(_) if self.renew_keyring(&keyring).await? => {}
                Err(source) => return Err(CatalogError::Open { row: DataKeyRow::ROW, source }),
            }
        }
    }

    /// A data key by its id, of now or of when something was read: one that was retired in between opens what was read
    /// under it.
    pub(crate) async fn data_key_since(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        id: KeyId,
        read_at: Revision,
    ) -> Result<DataKey, CatalogError> {
        match self.data_key(organization, project, id).await {
            Err(CatalogError::NotFound { .. }) => {}
            present => return present,
        }
        let gone = self.row_at::<DataKeyRow>(&keys::data_key(organization, project, id), read_at).await?;
        let row = gone.ok_or(CatalogError::NotFound { what: DataKeyRow::ROW })?.value;
        let opened = self.keyring().open(|master| unwrap(master, organization, project, &row));
        opened.map_err(|source| CatalogError::Open { row: DataKeyRow::ROW, source })
    }
}

fn unwrap(
    master: &MasterKey,
    organization: OrganizationId,
    project: ProjectId,
    row: &DataKeyRow,
) -> Result<DataKey, OpenSealedError> {
    DataKey::unwrap(master, organization, project, row.id, &row.wrapped)
}

fn check(name: &str, description: &str) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.name("name", name);
    problems.text("description", description, DESCRIPTION_BYTES);
    problems.into_result()
}
