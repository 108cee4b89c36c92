//! Environments: the named configurations of a project.

use outrigger_protocol::id::{EnvironmentId, OrganizationId, ProjectId};
use outrigger_store::{Compare, Revision};

use crate::catalog::{Catalog, Row, random};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, ChangeKind, Environment, Risk, Role, Stage};
use crate::mutation::{Decided, Draft};
use crate::page::{Listing, Page};
use crate::projects::PROJECT;
use crate::record::{Empty, Outcome, ProjectRow};
use crate::validate::{DESCRIPTION_BYTES, Problems};
use crate::variables::{Cause, Publication, Published};

pub(crate) const ENVIRONMENT: &str = "environment";

/// Most environments of one project: they are deleted with it in one transaction.
const MAX_ENVIRONMENTS: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnvironment {
    pub project: ProjectId,
    pub stage: Stage,
    /// Unique among the project's environments of the same stage.
    pub name: String,
    pub description: String,
    pub is_active: bool,
    /// The environment of the same project whose variables this one begins with.
    pub extends: Option<EnvironmentId>,
}

/// What is to be different; absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentUpdate {
    pub stage: Option<Stage>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub is_active: Option<bool>,
    /// `Some(None)`: it extends none any more.
    pub extends: Option<Option<EnvironmentId>>,
    /// `Some(None)`: no change has to be approved any more.
    pub approval: Option<Option<Risk>>,
}

impl Catalog {
    /// Makes an environment without variables of its own. Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the project; [`CatalogError::Conflict`] when the project has an environment of
    /// that stage and name; [`CatalogError::Validation`] when it extends one that the project does not have, or when a
    /// reference of another environment would not be clear any more.
    pub async fn create_environment(&self, actor: &Actor, new: NewEnvironment) -> Result<Environment, CatalogError> {
        check(new.stage, &new.name, &new.description)?;
        let new = &new;
        self.mutate(actor, Role::Admin, "create environment", async |mut draft| {
            let mut environment = self.begin_environment(&mut draft, new).await?;
            let publication = Publication::of(actor, environment.id, "", ChangeKind::Environment);
            let publication = Publication { cause: Cause::Everything, ..publication };
            match self.publish_environment(&mut draft, None, &environment, &publication).await? {
                Published::Generation(generation) => environment.generation = generation.number,
                // A new one is not protected, and what it would change elsewhere was refused.
                Published::Nothing | Published::Held(_) => {}
            }
            draft.then(environment)
        })
        .await
    }

    /// Adds to a draft that a project has one more environment, and tells of it. What is left is to publish it.
    pub(crate) async fn begin_environment(
        &self,
        draft: &mut Draft,
        new: &NewEnvironment,
    ) -> Result<Environment, CatalogError> {
        let organization = draft.organization();
        let parent = keys::project(organization, new.project);
        self.expect_row::<ProjectRow>(parent.clone(), PROJECT).await?;
        let name = keys::environment_name(organization, new.project, new.stage, &new.name);
        if self.row::<Empty>(name.clone()).await?.is_some() {
            return Err(taken());
        }
        if self.environments_of(organization, new.project).await?.len() >= MAX_ENVIRONMENTS {
            let what = format!("the project has {MAX_ENVIRONMENTS} environments, which is the most");
            return Err(CatalogError::conflict(what));
        }
        let environment = Environment {
            id: EnvironmentId::new(draft.now, random()),
            project: new.project,
            stage: new.stage,
            name: new.name.clone(),
            description: new.description.clone(),
            is_active: new.is_active,
            extends: new.extends,
            generation: 0,
            approval: None,
            created_at: draft.now,
            updated_at: draft.now,
        };
        draft.when(Compare::Present(parent));
        draft.when(Compare::Absent(name.clone()));
        draft.mark(keys::fence(organization, new.project.to_bytes()));
        draft.mark(name);
        draft.mark(keys::environment_of(organization, new.project, environment.id));
        draft.concerns(environment.project);
        let detail = format!("{} environment {}", new.stage.name(), new.name);
        draft.audit(AuditAction::Create, environment.id, &detail);
        Ok(environment)
    }

    /// The environments of a project, oldest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the project.
    pub async fn list_environments(
        &self,
        actor: &Actor,
        project: ProjectId,
        page: Page,
    ) -> Result<Listing<Environment>, CatalogError> {
        self.project(actor, project).await?;
        let organization = actor.organization;
        let ids = self.page_of_keys(&keys::environments_of(organization, project), &page).await?;
        let mut items = Vec::with_capacity(ids.items.len());
        for id in ids.items.iter().filter_map(|entry| keys::last_id(&entry.key)) {
            let key = keys::environment(organization, EnvironmentId::from_bytes(id));
            // One that was deleted since is not listed.
            items.extend(self.row::<Environment>(key).await?.map(|row| row.value));
        }
        Ok(Listing { items, next: ids.next })
    }

    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn environment(&self, actor: &Actor, id: EnvironmentId) -> Result<Environment, CatalogError> {
        actor.require(Role::Viewer)?;
        Ok(self.environment_row(actor.organization, id).await?.value)
    }

    pub(crate) async fn environment_row(
        &self,
        organization: OrganizationId,
        id: EnvironmentId,
    ) -> Result<Row<Environment>, CatalogError> {
        self.expect_row(keys::environment(organization, id), ENVIRONMENT).await
    }

    /// Changes what an environment is called, is for, and extends, and which changes of it have to be approved; its
    /// variables are another matter. Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] when the new stage and name are taken;
    /// [`CatalogError::Validation`] when it, or an environment that extends or refers to it, could not be put together
    /// any more; [`CatalogError::AwaitsApproval`] when nothing was changed yet, because somebody else has to approve it.
    pub async fn update_environment(
        &self,
        actor: &Actor,
        id: EnvironmentId,
        update: EnvironmentUpdate,
    ) -> Result<Environment, CatalogError> {
        let (update, organization) = (&update, actor.organization);
        let outcome = self.mutate(actor, Role::Admin, "update environment", async |mut draft| {
            let row = self.environment_row(organization, id).await?;
            let present = &row.value;
            let mut environment = Environment {
                stage: update.stage.unwrap_or(present.stage),
                name: update.name.clone().unwrap_or_else(|| present.name.clone()),
                description: update.description.clone().unwrap_or_else(|| present.description.clone()),
                is_active: update.is_active.unwrap_or(present.is_active),
                extends: update.extends.unwrap_or(present.extends),
                approval: update.approval.unwrap_or(present.approval),
                ..present.clone()
            };
            check(environment.stage, &environment.name, &environment.description)?;
            if environment == *present {
                return Ok(Decided::Already(Outcome::Done(environment)));
            }
            let publication = Publication::of(actor, id, "", ChangeKind::Environment);
            match self.publish_environment_as(&mut draft, &row, &environment, publication).await? {
                Published::Held(id) => return draft.then(Outcome::Held(id)),
                Published::Generation(generation) => environment.generation = generation.number,
                Published::Nothing => {}
            }
            environment.updated_at = draft.now;
            draft.then(Outcome::Done(environment))
        });
        let outcome = outcome.await?;
        self.settle(actor, outcome).await
    }

    /// Adds to a draft that an environment is another now, and tells of it. What of it is different says what is published.
    pub(crate) async fn publish_environment_as(
        &self,
        draft: &mut Draft,
        row: &Row<Environment>,
        environment: &Environment,
        publication: Publication<'_>,
    ) -> Result<Published, CatalogError> {
        let (organization, present) = (draft.organization(), &row.value);
        let name = |of: &Environment| keys::environment_name(organization, of.project, of.stage, &of.name);
        let (old, new) = (name(present), name(environment));
        if old != new {
            if self.row::<Empty>(new.clone()).await?.is_some() {
                return Err(taken());
            }
            draft.when(Compare::Absent(new.clone()));
            draft.delete(old);
            draft.mark(new);
        }
        let names = |of: &Environment| (of.stage, of.is_active, of.name.clone());
        let cause = match (names(present) != names(environment), environment.extends != present.extends) {
            (true, true) => Cause::Everything,
            (true, false) => Cause::Name,
            (false, _) => Cause::Content,
        };
        let publication = Publication { cause, ..publication };
        let published = self.publish_environment(draft, Some(row), environment, &publication).await?;
        if !matches!(published, Published::Held(_)) {
            let detail = format!("{} environment {}", environment.stage.name(), environment.name);
            draft.concerns(environment.project);
            draft.audit(AuditAction::Update, environment.id, &detail);
        }
        Ok(published)
    }

    /// Deletes an environment with all its generations. Admin.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] while a deployment that is not destroyed uses it, or an
    /// environment extends or refers to it, which is named, and while it is protected.
    pub async fn delete_environment(&self, actor: &Actor, id: EnvironmentId) -> Result<(), CatalogError> {
        let organization = actor.organization;
        self.mutate(actor, Role::Admin, "delete environment", async |mut draft| {
            let row = self.environment_row(organization, id).await?;
            if row.value.approval.is_some() {
                let what = "changes of the environment have to be approved: to delete it, have that ended first";
                return Err(CatalogError::conflict(what));
            }
            self.detach_environment(&mut draft, &row.value).await?;
            let fence = keys::fence(organization, id.to_bytes());
            let users = self.row::<Empty>(fence.clone()).await?;
            if self.any(&keys::deployments_of_environment(organization, id)).await? {
                return Err(CatalogError::conflict("deployments that are not destroyed use the environment"));
            }
            let Environment { project, stage, name, .. } = &row.value;
            draft.relies_on(&row);
            draft.relies_on_or_absence(fence, users.as_ref());
            draft.delete(keys::environment_of(organization, *project, id));
            draft.delete(keys::environment_name(organization, *project, *stage, name));
            Self::erase_environment(&mut draft, organization, id);
            draft.concerns(*project);
            draft.audit(AuditAction::Delete, id, &format!("{} environment {name}", stage.name()));
            draft.then(())
        })
        .await?;
        self.finish_erasures_soon(organization).await;
        Ok(())
    }

    pub(crate) async fn environments_of(
        &self,
        organization: OrganizationId,
        project: ProjectId,
    ) -> Result<Vec<EnvironmentId>, CatalogError> {
        self.environments_of_at(organization, project, self.store().revision()).await
    }

    /// The environments of a project at a revision.
    pub(crate) async fn environments_of_at(
        &self,
        organization: OrganizationId,
        project: ProjectId,
        at: Revision,
    ) -> Result<Vec<EnvironmentId>, CatalogError> {
        let rows = self.rows::<Empty>(&keys::environments_of(organization, project), Some(at)).await?;
        Ok(rows.iter().filter_map(|row| keys::last_id(&row.key)).map(EnvironmentId::from_bytes).collect())
    }
}

fn taken() -> CatalogError {
    CatalogError::conflict("the project has an environment of this stage and name")
}

/// A name has to be one that references and people can use: `${env:production/eu/KEY}`, `--environment staging`.
fn check(stage: Stage, name: &str, description: &str) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.name("name", name);
    problems.require(!name.contains(['/', '{', '}']), "name", || "must not contain `/`, `{` or `}`".to_owned());
    let other = Stage::ALL.into_iter().find(|other| *other != stage && other.name() == name);
    problems.require(other.is_none(), "name", || format!("must not be that of another stage, `{name}`"));
    problems.text("description", description, DESCRIPTION_BYTES);
    problems.into_result()
}
